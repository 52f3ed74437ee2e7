"""Process 1 of the guest: mounts and modules, then pytest in a process of its own.

The guest's root is the host's, below an overlay in memory: the tests see all files of the host and
change none. Only the interpreter of the host is used, but not its mount, insmod or poweroff.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import socket
import struct
import sys
import traceback
from pathlib import Path
from typing import Any

from chipmodels.testing.modules import Modules

_MOVE = 8192  # MS_MOVE of linux/mount.h
_POWER_OFF = 0x4321FEDC  # LINUX_REBOOT_CMD_POWER_OFF of linux/reboot.h
_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 1  # SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP
_LIBC = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    """Call mount(2). Raises OSError."""
    arguments = (source.encode(), target.encode(), kind.encode())
    if _LIBC.mount(*arguments, ctypes.c_ulong(flags), options.encode()):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)


def prepare(modules: Modules) -> None:
    """Set up mounts, a writable root, the loopback interface, and modules for all tests."""
    mount("proc", "/proc", "proc")
    mount("sysfs", "/sys", "sysfs")
    mount("tmpfs", "/run", "tmpfs")
    modules.load("overlay")
    for name in ("upper", "work", "root"):
        Path("/run", name).mkdir()
    root = "/run/root"
    mount("overlay", root, "overlay", 0, "lowerdir=/,upperdir=/run/upper,workdir=/run/work")
    for name in ("/dev", "/proc", "/sys"):
        mount(name, root + name, "", _MOVE)
    os.chroot(root)
    os.chdir("/")
    mount("tmpfs", "/run", "tmpfs")
    for kind, name in (("tmpfs", "shm"), ("devpts", "pts")):
        Path("/dev", name).mkdir(exist_ok=True)
        mount(kind, f"/dev/{name}", kind)
    _loopback_up()
    for module in ("i2c-dev", "cuse"):
        modules.load(module)


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack_from("H", fcntl.ioctl(s, _FLAGS, request), 16)[0]
        fcntl.ioctl(s, _SET_FLAGS, struct.pack("16sH14x", b"lo", flags | _UP))


def run(job: dict[str, Any]) -> int:
    """Run the pytest of the job and return its exit code."""
    os.environ.clear()
    os.environ.update(job["environment"])
    sys.path[:] = job["path"]
    sys.argv = job["argv"]
    os.chdir(job["folder"])
    from chipmodels.testing.guest_loop import main  # noqa: PLC0415 -- from the path just set

    return main(job)


def main(path: str) -> None:
    """Boot, run the job in `path`, and switch the guest off."""
    try:
        job = json.loads(Path(path).read_text())
        prepare(Modules(Path(job["kernel_modules"])))
        child = os.fork()
        if not child:
            _child(job)
        while os.wait()[0] != child:
            pass  # processes that tests left behind
    except BaseException:  # noqa: BLE001 -- process 1 must not end; the console shows the error
        traceback.print_exc()
    sys.stdout.flush()
    os.sync()
    _LIBC.reboot(ctypes.c_uint(_POWER_OFF))


def _child(job: dict[str, Any]) -> None:
    status = 1
    try:
        os.setsid()
        status = run(job)
    except BaseException:  # noqa: BLE001 -- the host shows the console
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main(sys.argv[1])
