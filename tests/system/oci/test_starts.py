"""Random entries that look right: what `check` finds good, a real runc starts.

Limits by cgroup are left out: this host's may be of the first version, and those of the Pi are of
the second. What they may be stands in the unit tests, from the kernel's own sources. Sources of
binds are folders: what the Pi has at a path, nobody knows here.
"""

from __future__ import annotations

import random
import resource
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from piimage.config.container import ContainerConfig, merge, secure_defaults
from piimage.container.starts import faults
from tests.system.oci.test_runc import Host, host

__all__ = ["host"]

Choice = Callable[[random.Random], dict[str, Any]]
RANGES = [
    {"containerID": 0, "hostID": 100000, "size": 65536},
    {"containerID": 0, "hostID": 100000, "size": 10},
    {"containerID": 1, "hostID": 100000, "size": 10},
    {"containerID": 5, "hostID": 200000, "size": 10},
]
OPTIONS = (
    "ro", "rw", "nosuid", "nodev", "noexec", "bind", "rbind", "rshared", "private", "size=1M",
    "size=10%", "size=lots", "mode=755", "mode=rwx", "uid=1000", "gid=-1", "remount", "or",
    "strictatime", "hidepid=2", "nr_inodes=100", "tmpcopyup", "", "defaults", "noswaps",
)  # fmt: skip
PLACES = (
    "/tmp", "/tmp/x", "/data", "/", "/proc", "/proc/self", "/proc/driver", "/dev/x",
    "/sys/fs", "/etc/passwd/x/../../new", "/new/deep",
)  # fmt: skip
SOURCES = ("/etc", "/proc", "/proc/sys", "/usr/lib")
NUMBERS = (0, 1, 10, 11, 31, 32, 100, 1000, 65534, 65535, 1048576, 1048577, 2**31 - 1, 2**31, 2**40)


def options(pick: random.Random) -> list[str]:
    return pick.sample(OPTIONS, pick.randrange(3))


def rlimit(pick: random.Random) -> str:
    """A limit that is not above this host's own: its root may not be allowed to raise it."""
    name = pick.choice(("nofile", "core", "nproc", "stack", "cpu", "fsize", "memlock"))
    most = resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))[1]
    numbers = [number for number in NUMBERS if most == resource.RLIM_INFINITY or number <= most]
    values = [pick.choice(numbers) for _ in range(2)]
    return f"{name},{values[0]},{values[1]}"


def mount(pick: random.Random) -> dict[str, Any]:
    kind = pick.choice(("tmpfs", "bind", "proc", "sysfs", "mqueue", "tmfs", "devpts"))
    made = {"type": kind, "destination": pick.choice(PLACES), "options": options(pick)}
    return made | ({"source": pick.choice(SOURCES)} if pick.random() < 0.7 else {})


def device(pick: random.Random) -> Any:
    if pick.random() < 0.3:
        return pick.choice(("/dev/null", "/dev/zero:/dev/zero", "/dev/zero:rw", "/dev/zero"))
    made: dict[str, Any] = {"path": pick.choice(("/dev/x", "/dev/y", "all"))}
    made["type"] = pick.choice(("c", "b", "a", "u", "p"))
    made["major"], made["minor"] = pick.choice(((1, 3), (1, 5), (-1, -1), (4096, 0), (7, 2**20)))
    return made | {"mode": pick.choice(("0600", "0666", "rw", "7777"))}


CHOICES: tuple[Choice, ...] = (
    lambda pick: {"tmpfs": [f"{pick.choice(PLACES)}:{','.join(options(pick))}"]},
    lambda pick: {"binds": [f"{pick.choice(SOURCES)}:{pick.choice(PLACES)}:ro"]},
    lambda pick: {"binds": [f"/usr/lib:/data:{','.join(options(pick) or ['ro'])}"]},
    lambda pick: {"mounts": [mount(pick)]},
    lambda pick: {"devices": [device(pick)]},
    lambda pick: {"rlimits": [rlimit(pick) for _ in range(pick.randrange(1, 3))]},
    lambda pick: {"uid": pick.choice(NUMBERS), "gid": pick.choice(NUMBERS)},
    lambda pick: {"additionalGids": [pick.choice(NUMBERS), pick.choice(NUMBERS)]},
    lambda pick: {"user": f"{pick.choice(NUMBERS)}:{pick.choice(NUMBERS)}"},
    lambda pick: {"sysctl": {pick.choice(("net.ipv4.ip_forward", "kernel.shmmni", "vm.swappiness",
                                          "kernel.domainname")): "1"}},
    lambda pick: {"net": pick.choice(("new", "host", "none")), "ipc": pick.choice(("new", "host"))},
    lambda pick: {"hostname": "box", "uts": pick.choice(("new", "host"))},
    lambda pick: {"uidMappings": pick.sample(RANGES, pick.randrange(3)),
                  "gidMappings": pick.sample(RANGES, 1)},
    lambda pick: {"rootfsPropagation": pick.choice(("shared", "slave", "private", "unbindable"))},
    lambda pick: {"maskedPaths": [pick.choice(("/proc/kcore", "/nowhere", "x", ""))]},
    lambda pick: {"command": pick.choice((["/bin/sh", "-c", "exit 0"], [""], ["/bin/sh", "-c", ""],
                                          ["/bin/sh", "\0"]))},
    lambda pick: {"cwd": pick.choice(("/", "/etc", "/tmp"))},
    lambda pick: {"capabilities": pick.choice((["none"], ["CAP_SYS_ADMIN"], ["CAP_KILL"])),
                  "ambient": pick.choice(([], ["CAP_KILL"]))},
    lambda pick: {"readonly": pick.choice((True, False)), "cgroupsPath": "a/b"},
)  # fmt: skip


def is_good(fields: dict[str, Any]) -> bool:
    try:
        stated = ContainerConfig.model_validate(fields)
    except ValidationError:
        return False
    return not list(faults(merge(secure_defaults(), stated)))


def test_what_is_found_good_starts(host: Host) -> None:
    pick = random.Random(20)
    good, refused, wrong = 0, 0, []
    for _ in range(400):
        fields: dict[str, Any] = {"command": ["/bin/sh", "-c", "exit 0"]}
        for choice in pick.sample(CHOICES, pick.randrange(1, 4)):
            fields |= choice(pick)
        if not is_good(fields):
            refused += 1
            continue
        good += 1
        words = fields.pop("command")
        result = host.run_words(*words, **fields)
        if result.status != 0:
            wrong.append((fields, result.out[-300:]))
    assert wrong == [], "\n".join(map(repr, wrong))
    assert (good > 100, refused > 100) == (True, True)
