"""What holds for a container: LinuxKit's rules of precedence, and piimage's defaults."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from piimage.config.container import (
    CONFIG_KEYS,
    ContainerConfig,
    linuxkit_defaults,
    merge,
    secure_defaults,
    to_label,
    with_user,
)
from piimage.config.load import parse_label

# Every field of LinuxKit's image configuration (its schema.go), with a value that it allows.
LINUXKIT: dict[str, Any] = {
    "capabilities": ["CAP_NET_ADMIN"],
    "capabilities.add": ["CAP_CHOWN"],
    "ambient": ["CAP_KILL"],
    "mounts": [{"destination": "/a", "type": "tmpfs", "source": "tmpfs", "options": ["ro"]}],
    "binds": ["/a:/b", "/a:/b:ro"],
    "binds.add": ["/c:/d"],
    "devices": [{"path": "/dev/a", "type": "c", "major": 1, "minor": 2, "mode": "0600"},
                {"path": "all", "type": "b"}],
    "tmpfs": ["/tmp", "/run:size=1m,ro"],
    "command": ["/bin/a", "b"],
    "env": ["A=1", "B="],
    "cwd": "/",
    "net": "new",
    "pid": "host",
    "ipc": "new",
    "cgroupns": "host",
    "apparmor": "unconfined",
    "uts": "/run/uts",
    "userns": "new",
    "readonly": True,
    "maskedPaths": ["/proc/kcore"],
    "readonlyPaths": ["/proc/sys"],
    "uid": 1,
    "gid": "other",
    "additionalGids": [5, "other"],
    "noNewPrivileges": True,
    "hostname": "a",
    "oomScoreAdj": -800,
    "rootfsPropagation": "shared",
    "cgroupsPath": "a/b",
    "resources": {
        "devices": [{"allow": True, "type": "c", "major": 1, "minor": 2, "access": "rwm"}],
        "memory": {"limit": 16777216, "reservation": 1, "swap": -1, "kernel": 1, "kernelTCP": 1,
                   "swappiness": 1, "disableOOMKiller": True},
        "cpu": {"shares": 2, "quota": 1000, "period": 1000, "realtimeRuntime": 1,
                "realtimePeriod": 1, "cpus": "0-1", "mems": "0"},
        "pids": {"limit": 1},
        "blockio": {
            "weight": 10, "leafWeight": 10,
            "weightDevice": [{"major": 1, "minor": 1, "weight": 10, "leafWeight": 10}],
            "throttleReadBpsDevice": [{"major": 1, "minor": 1, "rate": 1}],
            "throttleWriteBpsDevice": [{"major": 1, "minor": 1, "rate": 1}],
            "throttleReadIOPSDevice": [{"major": 1, "minor": 1, "rate": 1}],
            "throttleWriteIOPSDevice": [{"major": 1, "minor": 1, "rate": 1}],
        },
        "hugepageLimits": [{"pageSize": "2MB", "limit": 1}],
        "network": {"classID": 1, "priorities": [{"name": "a", "priority": 1}]},
    },
    "sysctl": {"net.ipv4.ip_forward": "1"},
    "rlimits": ["nofile,100,200", "RLIMIT_NPROC, 1, unlimited"],
    "uidMappings": [{"hostID": 1, "containerID": 0, "size": 10}],
    "gidMappings": [{"hostID": 1, "containerID": 0, "size": 10}],
    "annotations": {"a": "b"},
    "runtime": {
        "cgroups": ["a"],
        "mounts": [{"type": "bind", "source": "/a", "destination": "/b", "options": ["bind"]}],
        "mkdir": ["/a"],
        "interfaces": [{"name": "a", "add": "veth", "peer": "b", "createInRoot": True}],
        "bindNS": {"cgroup": "/a", "ipc": "/a", "mnt": "/a", "net": "/a", "pid": "/a",
                   "user": "/a", "uts": "/a"},
        "namespace": "a",
    },
}  # fmt: skip


def config(**keys: Any) -> ContainerConfig:
    return ContainerConfig.model_validate(keys, by_alias=True, by_name=False)


@pytest.mark.parametrize("key", LINUXKIT)
def test_each_field_of_linuxkit_is_read_and_written(key: str) -> None:
    parts = {key: LINUXKIT[key]}
    label = json.loads(to_label(config(**parts)))
    assert list(label) == [key]
    assert json.loads(to_label(parse_label(json.dumps(label), "x"))) == label


def test_the_whole_of_linuxkit_s_label_comes_back_the_same() -> None:
    label = to_label(config(**LINUXKIT))
    assert json.loads(label) == LINUXKIT
    assert to_label(parse_label(label, "x")) == label


def test_python_s_names_are_no_keys() -> None:
    with pytest.raises(ValidationError):
        config(no_new_privileges=True)


# (below, above, what holds): LinuxKit's assign functions, case by case.
RULES: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"cwd": "/a"}, {}, {"cwd": "/a"}),
    ({"cwd": "/a"}, {"cwd": "/b"}, {"cwd": "/b"}),
    ({"env": ["A=1"]}, {"env": ["B=2"]}, {"env": ["B=2"]}),
    ({"env": ["A=1"]}, {"env": []}, {"env": []}),
    ({"readonly": True}, {"readonly": False}, {"readonly": False}),
    ({"capabilities": ["CAP_KILL"]}, {"capabilities": ["CAP_CHOWN"]},
     {"capabilities": ["CAP_CHOWN"]}),
    ({"capabilities": ["CAP_KILL"]}, {"capabilities": ["none"]}, {"capabilities": []}),
    ({"capabilities": ["CAP_KILL"]}, {"capabilities": ["ALL"]}, {"capabilities": ["all"]}),
    ({"capabilities": ["CAP_KILL"]}, {"capabilities.add": ["CAP_CHOWN", "CAP_KILL"]},
     {"capabilities": ["CAP_KILL", "CAP_CHOWN"]}),
    ({"capabilities": ["all"]}, {"capabilities.add": ["CAP_CHOWN"]}, {"capabilities": ["all"]}),
    ({"capabilities": ["none"]}, {"capabilities.add": ["CAP_CHOWN"]},
     {"capabilities": ["CAP_CHOWN"]}),
    ({"capabilities.add": ["CAP_KILL"]}, {"capabilities": ["CAP_CHOWN"]},
     {"capabilities": ["CAP_CHOWN"]}),
    ({"capabilities": ["CAP_KILL"]},
     {"capabilities": ["CAP_CHOWN"], "capabilities.add": ["CAP_BPF"]},
     {"capabilities": ["CAP_CHOWN", "CAP_BPF"]}),
    ({"binds": ["/a:/a"]}, {"binds.add": ["/b:/b"]}, {"binds": ["/a:/a", "/b:/b"]}),
    ({}, {"binds.add": ["/b:/b"]}, {"binds": ["/b:/b"]}),
    ({"sysctl": {"a": "1"}}, {"sysctl": {"b": "2"}}, {"sysctl": {"b": "2"}}),
    ({"resources": {"pids": {"limit": 1}}}, {"resources": {"cpu": {"shares": 2}}},
     {"resources": {"cpu": {"shares": 2}}}),
    ({"runtime": {"mkdir": ["/a"], "cgroups": ["c"]}}, {"runtime": {"mkdir": ["/b"]}},
     {"runtime": {"mkdir": ["/b"], "cgroups": ["c"]}}),
    ({"runtime": {"bindNS": {"net": "/a", "ipc": "/b"}}}, {"runtime": {"bindNS": {"net": "/c"}}},
     {"runtime": {"bindNS": {"net": "/c", "ipc": "/b"}}}),
    ({"uid": 1, "gid": 2}, {"user": "a"}, {"user": "a"}),
    ({"user": "a"}, {"uid": 1}, {"uid": 1}),
    ({"health": {"tcp": "a:1", "retries": 9}}, {"health": {"http": "http://a"}},
     {"health": {"http": "http://a"}}),
]  # fmt: skip


@pytest.mark.parametrize(("lower", "upper", "holds"), RULES)
def test_the_upper_settings_win_by_linuxkit_s_rules(
    lower: dict[str, Any], upper: dict[str, Any], holds: dict[str, Any]
) -> None:
    assert json.loads(to_label(merge(config(**lower), config(**upper)))) == holds


def test_places_that_say_nothing_are_left_out() -> None:
    assert merge(None, config(cwd="/a"), None) == config(cwd="/a")


def test_a_container_that_says_nothing_can_do_nothing() -> None:
    held = merge(secure_defaults())
    assert (held.capabilities, held.seccomp) == ((), "default")
    assert (held.no_new_privileges, held.readonly) == (True, True)
    assert (held.ipc, held.cgroupns) == ("new", "new")
    assert (held.net, held.uts, held.pid) == (None, None, None)


def test_an_image_made_for_linuxkit_keeps_its_writable_root() -> None:
    held = merge(linuxkit_defaults(), config(capabilities=["CAP_KILL"]))
    assert (held.readonly, held.no_new_privileges, held.seccomp) == (False, True, "default")
    assert (held.ipc, held.cgroupns) == (None, None)
    assert held.capabilities == ("CAP_KILL",)


def test_the_short_forms_mean_the_long_ones() -> None:
    assert config(devices=["/dev/i2c-1"]) == config(devices=[{"path": "/dev/i2c-1"}])
    assert config(restart="no") == config(restart={"policy": "no"})


def test_durations_and_sizes_become_numbers() -> None:
    held = config(
        health={"tcp": "a:1", "every": "1m30s", "start": 5},
        restart={"backoff": "2s..1m"},
        resources={"memory": {"limit": "64M"}},
        timeout="1h",
    )
    assert held.health
    assert (held.health.every, held.health.start, held.timeout) == (90, 5, 3600)
    assert held.restart
    assert (held.restart.backoff.least, held.restart.backoff.most) == (2, 60)
    assert held.resources
    assert held.resources.memory
    assert held.resources.memory.limit == 64 * 1024**2


def test_a_label_may_be_yaml_as_linuxkit_s_may() -> None:
    assert parse_label("binds:\n - /a:/b\n", "x") == config(binds=["/a:/b"])


KEYS = st.sampled_from(sorted(LINUXKIT))


@settings(deadline=None)
@given(st.lists(st.sets(KEYS), max_size=4))
def test_merging_is_associative_from_below(places: list[set[str]]) -> None:
    parts = [config(**{key: LINUXKIT[key] for key in sorted(place)}) for place in places]
    step = ContainerConfig()
    for place in parts:
        step = merge(step, place)
    assert to_label(step) == to_label(merge(*parts))


def test_every_key_of_linuxkit_is_a_key_here() -> None:
    assert set(LINUXKIT) <= set(CONFIG_KEYS)


def test_the_label_of_an_image_carries_its_user_unless_another_is_given() -> None:
    assert with_user(ContainerConfig(), "sensor").user == "sensor"
    assert with_user(ContainerConfig(), None).user is None
    assert with_user(ContainerConfig(user="other"), "sensor").user == "other"
    assert with_user(ContainerConfig(uid=3), "sensor").user is None
    assert '"user":"sensor"' in to_label(with_user(ContainerConfig(), "sensor"))
