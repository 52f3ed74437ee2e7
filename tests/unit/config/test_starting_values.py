"""Values that have the right form, and that runc or the kernel refuses when a container starts.

Sources: runc 1.1 (libcontainer), Linux (Documentation/admin-guide/cgroup-v2.rst, kernel/sched),
setrlimit(2), containerd (pkg/identifiers).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from piimage.config.container import ContainerConfig
from piimage.config.load import load
from piimage.errors import InputError

M = 1 << 20


def resources(**fields: Any) -> dict[str, Any]:
    return {"resources": fields}


GOOD = [
    {"devices": ["/dev/i2c-1", "/dev/input/by-path/platform-3f980000.usb-usb-0:1.2:1.0-event-kbd"]},
    {"devices": [{"path": "/dev/x", "type": "u", "major": 4095, "minor": 1048575, "mode": "0660"}]},
    {"devices": [{"path": "all", "type": "a", "major": -1, "minor": -1, "mode": "rwm"}]},
    {"rlimits": ["nofile,1048576,1048576", "core,unlimited,unlimited", "nproc,5,unlimited"]},
    {"uid": 2147483647, "additionalGids": [0]},
    {"user": "2147483647:2147483647"},
    {"health": {"tcp": "127.0.0.1:65535"}},
    {"health": {"http": "http://[::1]:8080/x:99999"}},
    {"health": {"command": ["true", ""]}},
    resources(cpu={"shares": 2, "quota": -1, "period": 1000, "cpus": "0-2,3", "mems": 0}),
    resources(cpu={"shares": 262144, "quota": 10000, "period": 1000000}),
    resources(cpu={"shares": 0, "quota": 0, "period": 0}),
    resources(memory={"limit": 16 * M, "swap": 16 * M, "reservation": 1}),
    resources(memory={"limit": -1, "swap": -1}),
    resources(pids={"limit": -1}),
    resources(pids={"limit": 4194304}),
    resources(unified={"memory.high": "1G", "cpu.weight": 100}),
    resources(hugepageLimits=[{"pageSize": "2MB", "limit": 0}]),
]
BAD = [
    ({"devices": ["/dev/i2c-1:/dev/i2c-1"]}, "'/dev/i2c-1:/dev/i2c-1' is a device in Compose"),
    ({"devices": ["/dev/i2c-1:/dev/i2c-1:rwm"]}, "instead: /dev/i2c-1; the container"),
    ({"devices": ["/dev/ttyUSB0:rw"]}, "instead: /dev/ttyUSB0; the container"),
    ({"devices": [{"path": "/dev/a", "type": "a"}]}, "type: a is only allowed with path: all"),
    ({"devices": [{"path": "/dev/a", "type": "p"}]}, "type"),
    ({"devices": [{"path": "/dev/a", "mode": "rw"}]}, "'rw' is not a valid mode of a device node"),
    ({"devices": [{"path": "/dev/a", "major": -1, "minor": 0}]}, "major -1 is not a valid device"),
    ({"devices": [{"path": "/dev/a", "major": 4096, "minor": 0}]}, "major 4096 is not a valid"),
    ({"devices": [{"path": "/dev/a", "major": 1, "minor": 1048576}]}, "minor 1048576 is no"),
    ({"devices": [{"path": "all", "major": -2}]}, "major -2 is not a valid device number"),
    ({"rlimits": ["nofile,200,100"]}, "the soft limit of 'nofile,200,100' is above its hard limit"),
    ({"rlimits": ["core,unlimited,1"]}, "is above its hard limit"),
    ({"rlimits": ["core,1,18446744073709551616"]}, "is above its hard limit"),
    ({"rlimits": ["nofile,31,100"]}, "32 or more"),
    ({"rlimits": ["as,536870912,unlimited"]}, "2147483648 or more"),
    ({"rlimits": ["cpu,0,0"]}, "1 or more"),
    ({"rlimits": ["stack,8192,8192"]}, "65536 or more"),
    ({"rlimits": ["data,67108864,67108864"]}, "268435456 or more"),
    ({"rlimits": ["nofile,1024,unlimited"]}, "at most 1048576 open files"),
    ({"rlimits": ["nofile,1024,1048577"]}, "at most 1048576 open files"),
    ({"rlimits": ["nofile,99,99", "RLIMIT_NOFILE,88,88"]}, "two limits of nofile"),
    ({"rootfsPropagation": "unbindable"}, "rootfsPropagation"),
    ({"uid": 2147483648}, "a number from 0 to 2147483647"),
    ({"additionalGids": [2147483648]}, "a number from 0 to 2147483647"),
    ({"user": "2147483648"}, "has an ID that is too high"),
    ({"user": "a:2147483648"}, "has an ID that is too high"),
    ({"command": [""]}, "a program without a name"),
    ({"command": ["a", "b\0c"]}, "a zero byte in an argument"),
    ({"health": {"command": [" "]}}, "a program without a name"),
    ({"health": {"tcp": "a:0"}}, "a port from 1 to 65535"),
    ({"health": {"tcp": "a:65536"}}, "a port from 1 to 65535"),
    ({"health": {"http": "http://a:65536/x"}}, "a port from 1 to 65535"),
    ({"maskedPaths": ["proc/kcore"]}, "'proc/kcore' is not a valid absolute path"),
    ({"readonlyPaths": [""]}, "'' is not a valid absolute path"),
    (resources(cpu={"shares": 1}), "2 to 262144"),
    (resources(cpu={"shares": 262145}), "2 to 262144"),
    (resources(cpu={"period": 999}), "1000 to 1000000 microseconds"),
    (resources(cpu={"period": 1000001}), "1000 to 1000000 microseconds"),
    (resources(cpu={"quota": 999}), "1000 to 17592186044415 microseconds"),
    (resources(cpu={"quota": -2}), "-2 microseconds is not a valid quota"),
    (resources(cpu={"cpus": "0-4"}), "'0-4' is not a valid list of processors"),
    (resources(cpu={"cpus": "2-1"}), "'2-1' is not a valid list of processors"),
    (resources(cpu={"cpus": "all"}), "'all' is not a valid processor list"),
    (resources(cpu={"mems": "1"}), "'1' is not a valid memory node list"),
    (resources(memory={"limit": 16 * M - 1}), "16M or more"),
    (resources(cpu={"quota": 9999, "period": 1000000}), "too little to start; instead: 1 %"),
    (resources(memory={"limit": -2}), "-1 for no limit"),
    (resources(memory={"limit": 2**63}), "-1 for no limit"),
    (resources(memory={"swap": "64M"}), "swap without limit"),
    (resources(memory={"limit": "64M", "swap": "63M"}), "swap >= limit"),
    (resources(pids={"limit": -2}), "-2 is not a valid number of processes"),
    (resources(pids={"limit": 4194305}), "4194305 is not a valid number of processes"),
    (resources(blockio={"weight": 9}), "10 to 1000"),
    (resources(blockio={"weight": 1001}), "10 to 1000"),
    (resources(blockio={"throttleReadBpsDevice": [{"major": 179, "minor": 0, "rate": 0}]}), "rate"),
    (resources(hugepageLimits=[{"pageSize": "2M", "limit": 1}]), "pageSize"),
    (resources(unified={"memory.hgih": "1G"}), "'memory.hgih' is not a file of cgroup v2"),
    (resources(unified={"../memory.high": "1G"}), "is not a file of cgroup v2"),
    ({"runtime": {"interfaces": [{"name": "a-name-of-16-char"}]}}, "at most 15 characters"),
]  # fmt: skip


@pytest.mark.parametrize("fields", GOOD)
def test_what_starts_passes(fields: dict[str, Any]) -> None:
    ContainerConfig.model_validate(fields)


@pytest.mark.parametrize(("fields", "message"), BAD)
def test_what_would_not_start_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ContainerConfig.model_validate(fields)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["a", "a-b.c_d", "0", "A9"])
def test_a_name_that_containerd_takes_passes(tmp_path: Path, name: str) -> None:
    file = tmp_path / "a.yml"
    file.write_text(f"board: pi4\nservices:\n  - {{name: {name!r}, image: x}}\n")
    assert load([file]).services[0].name == name


@pytest.mark.parametrize("name", ["a--b", "a_", "a.", "a-", "a._b"])
def test_a_service_has_a_name_that_containerd_takes(tmp_path: Path, name: str) -> None:
    file = tmp_path / "a.yml"
    text = f"board: pi4\nservices:\n  - {{name: {name!r}, image: x}}\n"
    file.write_text(text)
    with pytest.raises(InputError, match="not a name that containerd accepts") as caught:
        load([file])
    assert caught.value.place == f"{file}:3:12"
    file.write_text(text.replace("services", "onboot"))
    assert load([file]).onboot[0].name == name
