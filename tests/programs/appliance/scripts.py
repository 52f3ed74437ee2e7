"""Runs the appliance's scripts here: under busybox ash, with the Pi's paths led into a folder."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from piimage import resources

APPLIANCE = resources.path("appliance")
# Where a path begins: not behind a variable or a folder.
_ABSOLUTE = re.compile(
    r"(?<![\w}])/(usr/lib/piimage|run/piimage|run/containerd|var/log|containers|data|etc/"
    r"|sys/bus/i2c|sys/bus/spi|sys/bus/iio|sys/kernel/config|dev/iio|dev/console|dev/tty0"
    r"|dev/watchdog|dev/[vms][dm]"
    r"|sys/class/graphics|sys/class/tty|sys/class/net|sys/devices|sys/fs/cgroup|sys/kernel/security)"
)
_SOURCED = re.compile(r'^\. "\$PARTS/(.*)"$', re.MULTILINE)
_LONG_ENOUGH_S = 60.0


@dataclass(frozen=True)
class Pi:
    """A folder that stands for the Pi's root."""

    root: Path

    def install(self, name: str) -> Path:
        """Copy a script of usr/lib/piimage with its absolute paths led into the folder."""
        return self._copy(APPLIANCE / "rootfs/usr/lib/piimage" / name, f"usr/lib/piimage/{name}")

    def install_functions(self, name: str) -> Path:
        """Copy a script that ends with a call of its function `main`, without that call."""
        script = self.install(name)
        functions, call, _ = script.read_text().partition("\nmain\n")
        assert call, f"{name} has no main"
        script.write_text(f"{functions}\n")
        return script

    def install_library(self) -> Path:
        """Copy the libraries with mounts that do nothing; `unmounted` lists what is unmounted.

        Returns lib.sh.
        """
        self.install("container.sh")
        self.install("confine.sh")
        self.install("schedule.sh")
        self.install("try-flag.sh")
        library = self.install("lib.sh")
        noting = f'umount() {{ echo "$1" >>{self.root}/unmounted; }}'
        library.write_text(f"{library.read_text()}\nmount() {{ :; }}\n{noting}\n")
        return library

    def install_client(self, python: str) -> None:
        """Copy the client of containerd; `python` stands for MicroPython."""
        library = APPLIANCE / "rootfs/usr/lib/piimage"
        for path in sorted((library / "task").rglob("*.py")):
            self._copy(path, f"usr/lib/piimage/{path.relative_to(library)}")
        self.program("micropython", f'exec {python} -B "$@"')

    def run(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a script that was installed, to its end."""
        return subprocess.run(
            ["busybox", "sh", self.root / "usr/lib/piimage" / name, *words],
            capture_output=True, text=True, env=environment(), timeout=60, check=False,
        )  # fmt: skip

    def initramfs_functions(self) -> Path:
        """Copy the functions of the initramfs's scripts; what they do at once is left out."""
        target = self._copy(APPLIANCE / "initramfs/init", "init")
        whole = _SOURCED.sub(lambda match: self._part(match[1]), target.read_text())
        functions, call, _ = whole.partition("\nmain\n")
        assert call, "init has no main"
        target.write_text(functions)
        return target

    def _part(self, name: str) -> str:
        own = APPLIANCE / "initramfs/lib" / name
        shared = APPLIANCE / "rootfs/usr/lib/piimage" / name
        source = own if own.exists() else shared
        return self._copy(source, f"initramfs/{name}").read_text()

    def grow_gpt(self) -> Path:
        """Copy the functions with which the initramfs makes a partition of a GPT grow."""
        return self._copy(APPLIANCE / "initramfs/lib/gpt.sh", "gpt.sh")

    def program(self, name: str, text: str) -> None:
        """Put a stand-in for a program first on the scripts' PATH."""
        path = self.path(f"bin/{name}")
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def path(self, name: str) -> Path:
        """Return a path in the folder whose parent exists."""
        path = self.root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, name: str, text: str) -> Path:
        """Write a file."""
        path = self.path(name)
        path.write_text(text)
        return path

    def console(self) -> list[str]:
        """Return what was printed on the console."""
        path = self.path("dev/console")
        return path.read_text().splitlines() if path.exists() else []

    def sh(self, script: str) -> str:
        """Run a few lines of shell; return what they print."""
        done = subprocess.run(
            ["busybox", "sh", "-c", script],
            capture_output=True, text=True, check=True, timeout=_LONG_ENOUGH_S,
        )  # fmt: skip
        return done.stdout

    def _copy(self, source: Path, name: str) -> Path:
        text = source.read_text()
        text = _ABSOLUTE.sub(f"{self.root}\\g<0>", text)
        text = text.replace("PATH=/usr/sbin:/usr/bin", f"PATH={self.root}/bin:$PATH")
        # busybox prefers its own programs to those on PATH.
        text = text.replace("wget -q", f"{self.root}/bin/wget -q")
        self.path("dev/console")
        # The console is a file here: what is written to it must not replace what is there.
        text = text.replace('>"$CONSOLE"', '>>"$CONSOLE"').replace("/bin/busybox", "busybox")
        target = self.path(name)
        target.write_text(text)
        target.chmod(0o755)
        return target


def wait_until(true: Callable[[], bool], event: str) -> None:
    """Wait for something that a script does by itself."""
    deadline = time.monotonic() + _LONG_ENOUGH_S
    while not true():
        assert time.monotonic() < deadline, f"waited in vain for {event}"
        time.sleep(0.02)


def end(process: subprocess.Popen[bytes]) -> int:
    """Ask a script to end as process 1 does; return its exit code."""
    process.send_signal(signal.SIGTERM)
    return process.wait(timeout=_LONG_ENOUGH_S)


def environment() -> dict[str, str]:
    """Return an environment that does not depend on who runs the tests."""
    return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
