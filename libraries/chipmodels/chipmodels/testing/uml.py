"""User-mode Linux: a kernel that is an ordinary program, with i2c-stub and CUSE.

It needs no root, no virtualisation and no image. A boot takes about a second. It does not start on
every processor: Linux 6.1 has too little space for the registers of AMX.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chipmodels.testing.engine import Boot, GuestUnavailable

_PROGRAMS = ("linux.uml", "linux")
_MODULES = Path("/usr/lib/uml/modules")
_INSTALL = "install it: apt-get install user-mode-linux (Debian, amd64)"
_VERSION_SECONDS = 30


@dataclass(frozen=True)
class UserModeLinux:
    """An installed user-mode Linux and its modules; an `Engine`."""

    program: Path
    modules: Path
    name: str = "uml"
    line: str = "/dev/ttyS0"

    @property
    def title(self) -> str:
        """The name for people, with the version of its kernel."""
        return f"user-mode Linux {self.modules.name}"

    def disk(self, index: int) -> str:
        """Return the name of a UBD disk."""
        return f"ubd{chr(ord('a') + index)}"

    def command(self, boot: Boot) -> list[str]:
        """Return the command of the kernel, whose root is the host's by hostfs."""
        root = ("root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", f"init={boot.init}")
        disks = (f"{self.disk(index)}={disk}" for index, disk in enumerate(boot.disks))
        line = f"ssl0=fd:{boot.line},fd:{boot.line}"
        console = ("con=null", "con0=null,fd:1", "quiet", "loglevel=3")
        settings = (f"mem={boot.memory_mib}M", f"uml_dir={boot.folder}", line)
        return [str(self.program), *settings, *disks, *root, *console, *boot.parameters]

    def environment(self) -> dict[str, str]:
        """Return the folder for its memory."""
        return {"TMPDIR": _scratch()}


def find(programs: Sequence[str] = _PROGRAMS, modules: Path = _MODULES) -> UserModeLinux:
    """Return the installed user-mode Linux. Raises `GuestUnavailable`, with the package."""
    program = next(filter(None, map(shutil.which, programs)), None)
    if program is None:
        raise GuestUnavailable(f"user-mode Linux is not installed; {_INSTALL}")
    version = _version(program)
    if not (modules / version / "modules.dep").is_file():
        raise GuestUnavailable(f"{program} has no modules in {modules / version}; {_INSTALL}")
    return UserModeLinux(Path(program), modules / version)


def _version(program: str) -> str:
    try:
        done = subprocess.run(
            [program, "--version"],
            capture_output=True, text=True, check=False, timeout=_VERSION_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GuestUnavailable(f"{program} --version: {error}; {_INSTALL}") from None
    version = done.stdout.strip()
    if not version:
        raise GuestUnavailable(f"{program} --version: {done.stderr.strip()}; {_INSTALL}")
    return version


def _scratch() -> str:
    """Return a folder for the guest's memory, a file that must be mapped as executable."""
    shared = Path("/dev/shm")  # noqa: S108 -- the kernel uses it as well
    options = next(
        (line.split()[3] for line in _mounts() if line.split()[1] == str(shared)), "noexec"
    )
    return tempfile.gettempdir() if "noexec" in options.split(",") else str(shared)


def _mounts() -> list[str]:
    with contextlib.suppress(OSError):
        return Path("/proc/self/mounts").read_text().splitlines()
    return []
