"""The keys of the file, each with two files that differ in it."""

from __future__ import annotations

from collections.abc import Mapping

from .file_makers import (
    MAPPED,
    OTHER,
    A,
    Change,
    calling,
    chip,
    device,
    file,
    health,
    inside,
    kernel,
    line,
    mapped,
    mount,
    once,
    prepared,
    resources,
    service,
    signed,
    stick,
    wired,
)
from .keys_of_the_parts import NESTED

APPLIANCE: Mapping[str, Change] = {
    "board": ({"board": "pi4"}, {"board": "pi3"}),
    "hostname": ({}, {"hostname": "b"}),
    "variables": (
        {"sysctl": {"kernel.x": "${X}"}},
        {"sysctl": {"kernel.x": "${X}"}, "variables": ["X"]},
    ),
    "kernel": ({}, {"kernel": {"cmdline": "x"}}),
    "init": ({}, {"init": ["one"]}),
    "onboot": ({}, once()),
    "onshutdown": ({}, {"onshutdown": A["services"]}),
    "services": ({}, A),
    "volumes": (A, {**A, "volumes": [{"name": "v", "image": "one"}]}),
    "files": ({}, file()),
    "modules": ({}, {"modules": ["veth"]}),
    "sensors": ({}, chip()),
    "gpio": ({}, line()),
    "disks": ({}, stick()),
    "ssh": ({}, {"ssh": {"authorized_keys": ["ssh-ed25519 AAAA x"]}}),
    "network": ({}, wired()),
    "boot": ({}, {"boot": {"cmdline": "x"}}),
    "data": ({}, {"data": {"size": "32M"}}),
    "slots": ({}, {"slots": {"size": "256M"}}),
    "version": ({}, {"version": 5}),
    "signing": (service(use="sshd", packages=None, command=None, name="s"), signed()),
    "updates": (signed(), calling()),
    "console": ({}, {"console": "hdmi"}),
    "log": (A, {**A, "log": {"console": True}}),
    "runtime": ({}, {"runtime": "runc"}),
    "timezone": ({}, {"timezone": "Asia/Tokyo"}),
    "sysctl": ({}, {"sysctl": {"kernel.panic": "1"}}),
    "test": ({}, {"test": {"timeout": 5}}),
}


KERNEL: Mapping[str, Change] = {
    "image": ({}, kernel()),
    "cmdline": ({}, {"kernel": {"cmdline": "x"}}),
    "binary": (kernel(), kernel(binary="b")),
    "tar": (kernel(), kernel(tar="t")),
}


ENTRY: Mapping[str, Change] = {
    "name": (A, service(name="b")),
    "image": (service(packages=None, image="one"), service(packages=None, image="two")),
    "build": (service(packages=None, build="f"), service(packages=None, build="g")),
    "use": (service(packages=None, use="sshd"), service(packages=None, use="ntp")),
    "packages": (A, service(packages=["bash"])),
    "entrypoint": (
        service(command=None, entrypoint=["/bin/x"]),
        service(command=None, entrypoint=["/bin/y"]),
    ),
}


CONFIG: Mapping[str, Change] = {
    "capabilities": (A, service(capabilities=["CAP_CHOWN"])),
    "capabilities_add": (A, service(**{"capabilities.add": ["CAP_CHOWN"]})),
    "ambient": (
        service(capabilities=["CAP_CHOWN"]),
        service(capabilities=["CAP_CHOWN"], ambient=["CAP_CHOWN"]),
    ),
    "binds": (A, service(binds=["/x:/x"])),
    "binds_add": (A, service(**{"binds.add": ["/x:/x"]})),
    "mounts": (A, mount()),
    "tmpfs": (A, service(tmpfs=["/x"])),
    "devices": (A, device()),
    "command": (A, service(command=["/bin/y"])),
    "env": (A, service(env=["A=b"])),
    "settings": (A, service(settings=["A"])),
    "secrets": (A, service(secrets=["a"])),
    "schedule": (A, service(schedule="0 3 * * *")),
    "cwd": (A, service(cwd="/x")),
    "net": (A, service(net="new")),
    "ports": (service(net="bridge"), service(net="bridge", ports=["80:80"])),
    "ipc": (A, service(ipc="host")),
    "cgroupns": (A, service(cgroupns="host")),
    "uts": (A, service(uts="new")),
    "pid": (A, service(pid="host")),
    "userns": (mapped(), service(uidMappings=[{"hostID": 5, "containerID": 0, "size": 9}])),
    "uid_mappings": (mapped(), service(**{**MAPPED, "uidMappings": [OTHER]})),
    "gid_mappings": (mapped(), service(**{**MAPPED, "gidMappings": [OTHER]})),
    "readonly": (A, service(readonly=False)),
    "masked_paths": (A, service(maskedPaths=["/proc/x"])),
    "readonly_paths": (A, service(readonlyPaths=["/proc/x"])),
    "no_new_privileges": (A, service(noNewPrivileges=False)),
    "control": (A, service(control=True)),
    "hostname": (service(uts="new"), service(uts="new", hostname="b")),
    "oom_score_adj": (A, service(oomScoreAdj=5)),
    "annotations": (A, service(annotations={"a": "b"})),
    "sysctl": (service(net="new"), service(net="new", sysctl={"net.core.somaxconn": "5"})),
    "cgroups_path": (A, service(cgroupsPath="/piimage/x")),
    "rootfs_propagation": (A, service(rootfsPropagation="shared")),
    "uid": (A, service(uid=5)),
    "gid": (A, service(gid=5)),
    "additional_gids": (A, service(additionalGids=[5])),
    "rlimits": (A, service(rlimits=["nofile,5,5"])),
    "resources": (A, resources(pids={"limit": 5})),
    "runtime": (A, inside(mkdir=["/data/x"])),
    "restart": (A, service(restart="no")),
    "after": (
        {"services": [*A["services"], {**A["services"][0], "name": "b"}]},
        {"services": [*A["services"], {**A["services"][0], "name": "b", "after": ["a"]}]},
    ),
    "health": (A, health()),
    "seccomp": (A, service(seccomp="unconfined")),
    "apparmor": (A, service(apparmor="unconfined")),
    "user": (A, service(user="5:5")),
    "required": (once(), once(required=True)),
    "timeout": (once(), once(timeout=5)),
    "stop_timeout": (A, service(stop_timeout=5)),
    "before_update": (A, prepared()),
    "log": (A, service(log={"size": 8192})),
}


YAML: Mapping[str, Mapping[str, Change]] = {
    "Appliance": APPLIANCE, "Kernel": KERNEL, "Entry": {**CONFIG, **ENTRY}, **NESTED,
}  # fmt: skip


GRANTS = "images with labels: tests/unit/locking/test_grants.py"


VALUES = "the service sensors, which is Python: tests/unit/testing/test_sensors.py"


ELSEWHERE: Mapping[tuple[str, str], str] = {
    ("Appliance", "trust"): GRANTS,
    ("Trust", "image"): GRANTS,
    ("Trust", "org"): GRANTS,
    ("Kernel", "ucode"): "LinuxKit's; ARM has no microcode",
    ("Entry", "trust"): GRANTS,
    ("Check", "sensor"): VALUES,
    ("Check", "within"): VALUES,
    ("Entry", "context"): "what a folder may read: tests/unit/test_boundary.py",
    ("Entry", "system"): "other systems: tests/unit/deploy/test_workloads.py",
}
"""The keys whose work is elsewhere, or that are documented to do nothing."""
