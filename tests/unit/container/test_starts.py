"""What keeps a container from starting, told before anything is built, with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from piimage.cli import main as cli
from piimage.config.container import ContainerConfig
from piimage.config.load import load
from piimage.container.starts import faults, refuse_unstartable
from piimage.errors import ErrorGroup, PiimageError
from tests.unit.container.test_ids import twins

RANGE = {"containerID": 0, "hostID": 100000, "size": 1000}
MAPPED = {"uidMappings": [RANGE], "gidMappings": [RANGE]}
BEYOND = [{"containerID": 0, "hostID": 4294967000, "size": 1000}]

GOOD = [
    {"hostname": "box"},
    {"hostname": "box", "uts": "/run/uts"},
    {"sysctl": {"net.ipv4.ip_forward": "1"}, "net": "new"},
    {"sysctl": {"net/ipv4/conf/eth0.100/rp_filter": "1"}, "net": "none"},
    {"sysctl": {"kernel.shmmax": "1", "fs.mqueue.msg_max": "1"}, "ipc": "new"},
    {"sysctl": {"kernel.domainname": "x"}, "uts": "new"},
    {**MAPPED, "uid": 999, "gid": 0, "additionalGids": [5, "name"]},
    {**MAPPED, "user": "999:999"},
    {"userns": "/run/userns"},
    {"cgroupsPath": "greenhouse/services"},
    {"runtime": {"namespace": "services.linuxkit"}},
    {"secrets": ["a"], "tmpfs": ["/run"], "binds": ["/run/x:/run/x", "/data:/run/secretsx"]},
    {"binds": ["/run:/run", "/data/x:/run/secrets"]},
]
# (fields, code, keys of what asks for it)
BAD: list[tuple[dict[str, Any], str, tuple[str | int, ...]]] = [
    ({"hostname": "box", "uts": "host"}, "oci.hostname", ("hostname",)),
    ({"sysctl": {"net.ipv4.ip_forward": "1"}}, "oci.sysctl", ("sysctl", "net.ipv4.ip_forward")),
    ({"sysctl": {"net/ipv4/ip_forward": "1"}}, "oci.sysctl", ("sysctl", "net/ipv4/ip_forward")),
    ({"sysctl": {"kernel.shmmax": "1"}, "net": "new"}, "oci.sysctl", ("sysctl", "kernel.shmmax")),
    (
        {"sysctl": {"vm.swappiness": "1"}, "net": "new", "ipc": "new", "uts": "new"},
        "oci.sysctl",
        ("sysctl", "vm.swappiness"),
    ),
    ({"sysctl": {"kernel.domainname": "x"}}, "oci.sysctl", ("sysctl", "kernel.domainname")),
    ({"uidMappings": [RANGE]}, "oci.userns", ("userns",)),
    ({**MAPPED, "userns": "host"}, "oci.userns", ("uidMappings",)),
    ({**MAPPED, "uidMappings": [{**RANGE, "containerID": 1}]}, "oci.userns", ("uidMappings",)),
    ({**MAPPED, "gidMappings": [RANGE, {**RANGE, "hostID": 5}]}, "oci.userns", ("gidMappings",)),
    ({**MAPPED, "gidMappings": BEYOND}, "oci.userns", ("gidMappings",)),
    ({**MAPPED, "uid": 1000}, "oci.userns", ("uid",)),
    ({**MAPPED, "additionalGids": [5, 1000]}, "oci.userns", ("additionalGids", 1)),
    ({**MAPPED, "user": "5:1000"}, "oci.userns", ("user",)),
    ({"cgroupsPath": "/services/other"}, "oci.unsupported", ("cgroupsPath",)),
    ({"secrets": ["a"], "binds": ["/x:/x", "/run:/run"]}, "oci.unsupported", ("binds", 1)),
    ({"secrets": ["a"], "tmpfs": ["/run/secrets/b"]}, "oci.unsupported", ("tmpfs", 0)),
    (
        {"secrets": ["a"], "mounts": [{"type": "tmpfs", "destination": "/run/secrets"}]},
        "oci.unsupported",
        ("mounts", 0),
    ),
    ({"runtime": {"namespace": "k8s.io"}}, "oci.unsupported", ("runtime", "namespace")),
]


@pytest.mark.parametrize("fields", GOOD)
def test_what_starts_has_no_fault(fields: dict[str, Any]) -> None:
    assert list(faults(ContainerConfig.model_validate(fields))) == []


@pytest.mark.parametrize(("fields", "code", "keys"), BAD)
def test_what_the_runtime_refuses_is_a_fault(
    fields: dict[str, Any], code: str, keys: tuple[str | int, ...]
) -> None:
    problems = list(faults(ContainerConfig.model_validate(fields)))
    assert (problems[0].code, problems[0].keys) == (code, keys)


def refused(file: Path, text: str) -> PiimageError:
    file.write_text(f"board: pi4\n{text}")
    with pytest.raises(PiimageError) as caught:
        refuse_unstartable([file], [], {}, load([file]))
    return caught.value


def test_check_and_build_tell_the_line_and_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.yml"
    file.write_text(
        "board: pi4\nservices:\n  - name: a\n    use: hello_world\n"
        "    sysctl:\n      net.ipv4.ip_forward: 1\n"
    )
    for verb in (["check"], ["build", "-o", str(tmp_path / "out")]):
        assert cli.execute([*verb, str(file)]) == 2
        assert f"{file}:6:28: 'net.ipv4.ip_forward' would apply" in capsys.readouterr().err


@pytest.mark.provokes("oci.sysctl")
def test_what_a_folder_says_is_told_at_the_entry_that_uses_it(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "service.yml").write_text("name: mine\nconfig: {sysctl: {vm.swappiness: 1}}\n")
    error = refused(tmp_path / "a.yml", "services: [{name: a, build: mine}]")
    assert (error.code, error.place) == ("oci.sysctl", f"{tmp_path / 'a.yml'}:2:12")


# Docker's default profile begins like this (moby/profiles).
DOCKERS = {"defaultAction": "SCMP_ACT_ERRNO", "archMap": [], "syscalls": []}


@pytest.mark.parametrize(
    ("profile", "fault"),
    [
        ({"defaultAction": "ALLOW"}, "defaultAction"),
        ({"defaultAction": "SCMP_ACT_NOTIFY"}, "defaultAction"),
        ({"defaultAction": "SCMP_ACT_LOG", "architectures": ["arm64"]}, "architectures.0"),
        ({"defaultAction": "SCMP_ACT_LOG", "syscalls": [{"names": []}]}, "syscalls.0.names"),
        ({"defaultAction": "SCMP_ACT_LOG",
          "syscalls": [{"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": -1}]},
         "syscalls.0.errnoRet"),
        ({"defaultAction": "SCMP_ACT_LOG",
          "syscalls": [{"names": ["kill"], "action": "SCMP_ACT_ALLOW",
                        "args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]}]},
         "syscalls.0.args.0.index"),
        ({"defaultAction": "SCMP_ACT_LOG", "flags": ["SECCOMP_FILTER_FLAG_LOG"]}, "flags"),
        (DOCKERS, "archMap"),
    ],
)  # fmt: skip
def test_a_profile_that_the_runtime_would_refuse_or_misread_is_refused(
    tmp_path: Path, profile: dict[str, Any], fault: str
) -> None:
    (tmp_path / "own.json").write_text(json.dumps(profile))
    error = refused(tmp_path / "a.yml", "services: [{name: a, image: x, seccomp: own.json}]")
    assert (error.code, error.place) == ("oci.seccomp", f"{tmp_path / 'a.yml'}:2:41")
    assert f"profile: {fault}: " in error.message


@pytest.mark.provokes("oci.apparmor")
def test_an_apparmor_profile_that_cannot_be_compiled_alone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("include <tunables/global>\nprofile own {\n}\n")
    error = refused(tmp_path / "a.yml", "services: [{name: a, image: x, apparmor: ./own}]")
    assert (error.code, error.place) == ("oci.apparmor", f"{tmp_path / 'a.yml'}:2:42")
    assert "line 1 includes another file" in error.message


def test_a_profile_of_the_specification_passes(tmp_path: Path) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_AARCH64"],
        "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW",
             "args": [{"index": 0, "value": 2, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}]},
        ],
    }  # fmt: skip
    (tmp_path / "own.json").write_text(json.dumps(profile))
    file = tmp_path / "a.yml"
    file.write_text("board: pi4\nservices: [{name: a, image: x, seccomp: own.json}]")
    refuse_unstartable([file], [], {}, load([file]))


BRIDGED = "  - {name: one, image: x, net: bridge, ports: ['8080:80', '53:53/udp']}\n"


def found(file: Path, text: str) -> list[str]:
    """The faults of a file, each as LINE MESSAGE."""
    file.write_text(f"board: pi4\n{text}")
    try:
        refuse_unstartable([file], [], {}, load([file]))
    except ErrorGroup as group:
        errors: list[PiimageError] = list(group.errors)
    except PiimageError as error:
        errors = [error]
    else:
        return []
    assert {error.code for error in errors} <= {"oci.ports", "oci.userns"}
    return [f"{str(error.place).split(':')[1]} {error.message}" for error in errors]


@pytest.mark.provokes("oci.ports")
def test_all_faults_of_ports_are_told_at_once_with_their_places(tmp_path: Path) -> None:
    text = (
        f"network: {{ethernet: {{address: 10.213.9.9/24}}}}\nservices:\n{BRIDGED}"
        "  - {name: two, image: x, net: internal, ports: ['127.0.0.1:8080:1', '9:9', '9:8']}\n"
        "  - {name: three, image: x, ports: ['81:81']}\n"
        "  - {name: four, image: x, net: bridge, ports: ['22:22', '127.0.0.1:22:1', '22:1/udp']}\n"
        "  - {name: sshd, use: sshd}\n"
        "onboot:\n  - {name: five, image: x, net: bridge}\n"
    )
    assert found(tmp_path / "a.yml", text) == [
        "6 ports with net: host",
        "10 net: bridge has no effect in onboot",
        "5 tcp port 8080 of the Pi is published by one as well",
        "5 tcp port 9 of the Pi is published twice",
        "7 tcp port 22 of the Pi is published twice",
        "7 port 22 of the Pi is that of 'sshd'",
        "10 the bridge's addresses 10.213.0.0/20 are in the Pi's network",
    ]


def test_another_port_of_sshd_and_another_range_are_seen(tmp_path: Path) -> None:
    text = (
        "network: {bridge: 172.28.0.0/20, ethernet: {address: 10.213.9.9/24}}\nservices:\n"
        "  - {name: one, image: x, net: bridge, ports: ['22:22']}\n"
        "  - {name: sshd, use: sshd, env: [SSH_PORT=2222]}\n"
    )
    assert found(tmp_path / "a.yml", text) == []
    with_port = text.replace("22:22", "2222:22")
    assert found(tmp_path / "a.yml", with_port) == ["4 port 2222 of the Pi is that of 'sshd'"]


def test_a_folder_that_publishes_a_port_is_seen(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    text = "name: mine\nconfig: {net: bridge, ports: ['8080:80']}\n"
    (folder / "service.yml").write_text(text)
    services = f"services:\n{BRIDGED}  - {{name: a, build: mine}}\n"
    assert found(tmp_path / "a.yml", services) == [
        "4 tcp port 8080 of the Pi is published by one as well"
    ]
    host = f"services:\n{BRIDGED}  - {{name: a, build: mine, net: host}}\n"
    assert found(tmp_path / "a.yml", host) == ["4 ports with net: host"]


def test_auto_has_no_mappings_beside_it_and_each_name_its_own_ids(tmp_path: Path) -> None:
    ids = "[{containerID: 0, hostID: 5, size: 9}]"
    first, second = twins()
    text = (
        f"services:\n  - {{name: a, image: x, userns: auto, uidMappings: {ids}}}\n"
        f"  - {{name: {first}, image: x, userns: auto, uid: 65535}}\n"
        f"  - {{name: {second}, image: x, userns: auto, uid: 65536}}\n"
    )
    assert [line.partition(" ")[2] for line in found(tmp_path / "a.yml", text)] == [
        "userns: auto beside mappings of one's own",
        "the id 65536 is not mapped",
        f"{second} would have the same user ids as {first}",
    ]
