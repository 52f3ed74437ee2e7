"""The session in a guest, where a pytest runs the requested tests."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import chipmodels
from chipmodels.testing.channel import ChannelClosed
from chipmodels.testing.engine import Engine
from chipmodels.testing.machine import Machine

_READY_SECONDS = 240.0
_END_SECONDS = 10.0


class GuestDied(Exception):
    """The guest ended or hangs; the message has the last lines of its console."""


@dataclass(frozen=True)
class Job:
    """The work of the guest: arguments and options of pytest, its folder, and extra modules.

    `modules` are files of modules that the kernel of the guest lacks.
    """

    arguments: list[str]
    options: dict[str, Any]
    folder: str
    environment: dict[str, str]
    path: list[str]
    argv: list[str]
    modules: list[str]


class Guest:
    """A running guest whose pytest waits for tests. Always close it."""

    def __init__(
        self, engine: Engine, job: Job, memory_mib: int, echo: IO[str] | None = None
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="chipmodels-guest-")
        try:
            folder = Path(self._folder.name)
            init = _written(folder, engine, job)
            self._machine = Machine(engine, folder, init, memory_mib, echo=echo)
        except BaseException:
            self._folder.cleanup()
            raise

    def wait_ready(self) -> dict[str, Any]:
        """Wait until its pytest has collected, and return its message. Raises `GuestDied`."""
        return self._receive(_READY_SECONDS, "the guest did not start")

    def run(self, name: str, following: str, seconds: float) -> dict[str, Any]:
        """Run one test in the guest and return its answer. Raises `GuestDied`."""
        try:
            self._machine.channel.send({"run": name, "next": following})
        except ChannelClosed:
            raise GuestDied(self._machine.obituary("the guest is gone")) from None
        return self._receive(seconds, f"no answer from the guest within {seconds:g} s")

    def _receive(self, seconds: float, late: str) -> dict[str, Any]:
        try:
            return self._machine.channel.receive(seconds)
        except TimeoutError:
            raise GuestDied(self._machine.obituary(late)) from None
        except ChannelClosed:
            raise GuestDied(self._machine.obituary("the guest ended")) from None

    def close(self) -> None:
        """End the guest: first by request, so that fixtures are torn down, then by force."""
        with contextlib.suppress(ChannelClosed):
            self._machine.channel.send({"end": True})
        self._machine.wait(_END_SECONDS)
        self._machine.close()
        self._folder.cleanup()


def _written(folder: Path, engine: Engine, job: Job) -> Path:
    """Write the job and the program of process 1, which the guest reads; return the program."""
    file = folder / "job.json"
    guest = {"kernel_modules": str(engine.modules), "line": engine.line}
    file.write_text(json.dumps(asdict(job) | guest))
    init = folder / "init"
    package = Path(chipmodels.__file__).parents[1]
    init.write_text(
        f"#!/bin/sh\nexport PYTHONPATH='{package}' PYTHONDONTWRITEBYTECODE=1\n"
        f"exec '{sys.executable}' -P -m chipmodels.testing.guest_init '{file}'\n"
    )
    init.chmod(0o755)
    return init
