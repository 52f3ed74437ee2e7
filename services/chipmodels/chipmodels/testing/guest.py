"""The guest: user-mode Linux, an ordinary program that is a kernel with i2c-stub and CUSE.

It needs no root, no virtual machine support and no image: its root is the host's, so the same
interpreter and packages run there. One boot takes about a second.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import chipmodels
from chipmodels.testing.channel import Channel, ChannelClosed

_PROGRAMS = ("linux.uml", "linux")
MODULES = Path("/usr/lib/uml/modules")
_READY_SECONDS = 120.0
_TAIL = 40
_INSTALL = "install it: apt-get install user-mode-linux (Debian, amd64)"


class GuestUnavailable(Exception):
    """There is no guest here; the message says what to install."""


class GuestDied(Exception):
    """The guest ended or hangs; the message holds its console's last lines."""


@dataclass(frozen=True)
class Kernel:
    """A user-mode Linux and its modules."""

    program: Path
    modules: Path


def find_kernel(programs: Sequence[str] = _PROGRAMS, modules: Path = MODULES) -> Kernel:
    """The installed user-mode Linux. Raises `GuestUnavailable` with the fix."""
    found = next(filter(None, map(shutil.which, programs)), None)
    if found is None:
        raise GuestUnavailable(f"user-mode Linux is not installed; {_INSTALL}")
    version = _version(found)
    if not (modules / version / "modules.dep").is_file():
        raise GuestUnavailable(f"{found} has no modules in {modules / version}; {_INSTALL}")
    return Kernel(Path(found), modules / version)


def _version(program: str) -> str:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


@dataclass(frozen=True)
class Job:
    """What the guest does: pytest's arguments and options, and where it runs."""

    arguments: list[str]
    options: dict[str, Any]
    folder: str
    environment: dict[str, str]
    path: list[str]
    argv: list[str]


class Guest:
    """A running guest whose pytest waits for tests. Close it in every case."""

    def __init__(
        self, kernel: Kernel, job: Job, memory_mib: int, echo: IO[str] | None = None
    ) -> None:
        self._echo = echo
        self._console: deque[str] = deque(maxlen=_TAIL)
        self._folder = tempfile.TemporaryDirectory(prefix="chipmodels-guest-")
        init = self._written(kernel, job)
        to_guest, from_host = os.pipe()
        from_guest, to_host = os.pipe()
        root = ("root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", f"init={init}")
        line = f"ssl0=fd:{to_guest},fd:{to_host}"
        self._process = subprocess.Popen(
            [kernel.program, f"mem={memory_mib}M", *root, "con=null", "con0=null,fd:1", line,
             f"uml_dir={self._folder.name}", "quiet", "loglevel=3"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", pass_fds=(to_guest, to_host), start_new_session=True,
            env=os.environ | {"TMPDIR": _scratch()},
        )  # fmt: skip
        os.close(to_guest)
        os.close(to_host)
        self._fds = (from_host, from_guest)
        self._channel = Channel(from_guest, from_host)
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    def _written(self, kernel: Kernel, job: Job) -> Path:
        """The job and the program that process 1 is; the guest reads both where they are."""
        folder = Path(self._folder.name)
        file = folder / "job.json"
        file.write_text(json.dumps(asdict(job) | {"modules": str(kernel.modules)}))
        init = folder / "init"
        package = Path(chipmodels.__file__).parents[1]
        command = f"exec '{sys.executable}' -m chipmodels.testing.guest_init '{file}'"
        init.write_text(f"#!/bin/sh\nexport PYTHONPATH='{package}' PYTHONDONTWRITEBYTECODE=1\n"
                        f"{command}\n")  # fmt: skip
        init.chmod(0o755)
        return init

    def _listen(self) -> None:
        for text in self._process.stdout or ():
            self._console.append(text.rstrip())
            if self._echo is not None:
                self._echo.write(text)

    def wait_ready(self) -> dict[str, Any]:
        """Wait until its pytest has collected; what it says then. Raises `GuestDied`."""
        return self._receive(_READY_SECONDS, "the guest did not start")

    def run(self, name: str, following: str, seconds: float) -> dict[str, Any]:
        """Run one test there and give its answer. Raises `GuestDied`."""
        try:
            self._channel.send({"run": name, "next": following})
        except ChannelClosed:
            raise GuestDied(self._obituary("the guest is gone")) from None
        return self._receive(seconds, f"no answer from the guest within {seconds:g} s")

    def _receive(self, seconds: float, late: str) -> dict[str, Any]:
        try:
            return self._channel.receive(seconds)
        except TimeoutError:
            raise GuestDied(self._obituary(late)) from None
        except ChannelClosed:
            raise GuestDied(self._obituary("the guest ended")) from None

    def _obituary(self, what: str) -> str:
        """What happened, and the console's last lines."""
        self._kill()
        self._reader.join(2)
        lines = "\n".join(f"  {line}" for line in self._console) or "  (nothing)"
        return f"{what}; its console's last lines:\n{lines}"

    def close(self) -> None:
        """End it: kindly, so that fixtures are torn down, and then surely."""
        with contextlib.suppress(ChannelClosed):
            self._channel.send({"end": True})
        end = time.monotonic() + 10
        while self._process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        self._kill()
        for fd in self._fds:
            os.close(fd)
        self._folder.cleanup()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _scratch() -> str:
    """A folder for the guest's memory, which is a file that is mapped executable."""
    shared = Path("/dev/shm")  # noqa: S108 -- by its kernel's own choice
    options = next(
        (line.split()[3] for line in _mounts() if line.split()[1] == str(shared)), "noexec"
    )
    return tempfile.gettempdir() if "noexec" in options.split(",") else str(shared)


def _mounts() -> list[str]:
    with contextlib.suppress(OSError):
        return Path("/proc/self/mounts").read_text().splitlines()
    return []
