"""The life of an emulated board: it is started, and started again after each reset."""

from __future__ import annotations

import os
import selectors
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Final, Literal, Protocol

from piimage.emulator.console import Console
from piimage.emulator.machine import Machine
from piimage.emulator.monitor import Monitor
from piimage.errors import PiimageError
from piimage.firmware.bootfiles import BootFiles
from piimage.run import Runner

_BYTES: Final = 65536

Cause = Literal["restart", "watchdog", "panic"]
"""Why a board was reset: by its system, by its watchdog, or after a panic of its kernel."""


@dataclass(frozen=True)
class Prepared:
    """A machine that is ready to start, and what its firmware loaded (without the large files)."""

    machine: Machine
    files: BootFiles


@dataclass(frozen=True)
class Restart:
    """A restart of the board: its cause, and what the boot loader started after it."""

    cause: Cause
    partition: int
    tryboot: bool
    """Whether the boot loader was told to try the other slot."""
    seconds: float
    """Wall seconds since QEMU's first start."""


class Restartable(Protocol):
    """What is told of the starts: the session."""

    console: Console

    @property
    def restarts(self) -> tuple[Restart, ...]:
        """All restarts so far."""
        ...

    def seconds(self) -> float:
        """Return the wall seconds since QEMU's first start."""
        ...

    def begin(self, prepared: Prepared, process: Popen[bytes]) -> bool:
        """Note a start; return False if the board is to be off."""
        ...

    def note_restart(self, restart: Restart) -> None:
        """Note why and from where the board starts again."""
        ...

    def end(self, failure: PiimageError | None) -> None:
        """Note that the board does not start again."""
        ...

    def panicked(self) -> bool:
        """Return whether the kernel has panicked since the last start."""
        ...


@dataclass(frozen=True)
class Life:
    """Starts QEMU for `session` until the board is switched off, or was restarted `limit` times.

    `again` reads the card as the boot loader does after a reset, with or without the flag of a try.
    QEMU's own messages are appended to the file `errors`.
    """

    session: Restartable
    runner: Runner
    listen: Callable[[bytes], None]
    errors: Path
    again: Callable[[bool], Prepared]
    limit: int

    def run(self, first: Prepared) -> None:
        """Start `first`, and what follows it; an error ends the session.

        The errors are ``emulator.restarts`` after `limit` restarts, and ``emulator.no-start`` if
        the boot loader finds nothing to start.
        """
        failure: PiimageError | None = None
        try:
            prepared: Prepared | None = first
            while prepared is not None:
                prepared = self._start(prepared)
        except PiimageError as error:
            failure = error
        finally:
            self.session.end(failure)

    def _start(self, prepared: Prepared) -> Prepared | None:
        """Start QEMU and wait for its end; return what the boot loader starts next, if anything."""
        machine = prepared.machine
        with closing(Monitor(machine.try_flag_at, self.errors.parent)) as monitor:
            number = monitor.remote.fileno()
            with (
                self.errors.open("ab") as log,
                self.runner.start(
                    machine.argv(number), stdin=PIPE, stdout=PIPE, stderr=log,
                    pass_fds=(number,), temporary=self.errors.parent,
                ) as process,
            ):  # fmt: skip
                monitor.remote.close()  # QEMU has its own copy, so that its end is seen
                on = self.session.begin(prepared, process)
                if on:
                    self._pump(process, monitor)
                    process.wait()
            return self._next(monitor) if on and monitor.reset else None

    def _pump(self, process: Popen[bytes], monitor: Monitor) -> None:
        """Pass on QEMU's output, and answer its monitor, until it closes its output."""
        assert process.stdout is not None  # noqa: S101  # started with a pipe
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            selector.register(monitor, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is not monitor:
                        if not (data := os.read(process.stdout.fileno(), _BYTES)):
                            return
                        self._show(data)
                    elif not monitor.receive():
                        selector.unregister(monitor)

    def _next(self, monitor: Monitor) -> Prepared:
        cause: Cause = "restart"
        if monitor.watchdog:
            cause = "watchdog"
        elif self.session.panicked():
            cause = "panic"
        number = len(self.session.restarts) + 1
        if number > self.limit:
            raise PiimageError(
                "emulator.restarts",
                f"the machine restarted {number} times; the last cause: {cause}",
                hint="look for the first error above, or allow more with --restarts",
            )
        prepared = self._read(cause, tryboot=monitor.try_flag)
        partition, tryboot = prepared.files.partition, prepared.files.tryboot
        self.session.note_restart(Restart(cause, partition, tryboot, self.session.seconds()))
        kind = ", as a try" if tryboot else ""
        text = f"\r\n[emulator] restart {number}: {cause}; partition {partition}{kind}\r\n"
        self._show(text.encode())
        return prepared

    def _read(self, cause: Cause, *, tryboot: bool) -> Prepared:
        try:
            return self.again(tryboot)
        except PiimageError as error:
            kind = "in a try" if tryboot else f"after a reset ({cause})"
            raise PiimageError(
                "emulator.no-start",
                f"{kind}, the boot loader starts nothing: {error.message}",
                place=error.place,
                hint=error.hint,
            ) from error

    def _show(self, data: bytes) -> None:
        self.session.console.feed(data)
        self.listen(data)
