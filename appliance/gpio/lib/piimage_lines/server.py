"""The loop: edges, programs, and what is due: lines to be tried again, and counts to be saved."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from piimage_lines.counts import Counts
from piimage_lines.held import Hold, LineError
from piimage_lines.programs import Left, Program
from piimage_lines.state import Lines, Unknown

SAVE_SECONDS = 1.0
"""A power cut loses at most the pulses of this time."""
ALIVE_SECONDS = 30.0
"""A program that set an output and is silent for longer counts as gone."""
_TELL_SECONDS = 0.1  # between two reports of counts
_LEAST, _MOST = 5.0, 60.0  # seconds between two tries for lines that are not held

Say = Callable[[str], None]


class Server:
    """Holds the `lines`, and serves them on the socket `path` until it is stopped."""

    def __init__(
        self,
        lines: Lines,
        counts: Counts,
        hold: Hold,
        path: str,
        say: Say,
        alive: float = ALIVE_SECONDS,
    ) -> None:
        self._lines = lines
        self._counts = counts
        self._hold = hold
        self._say = say
        self._alive = alive
        self._selector = selectors.DefaultSelector()
        self._programs: list[Program] = []
        self._descriptors: dict[str, int] = {}
        self._pause = _LEAST
        self._try_at = self._tell_at = self._save_at = 0.0
        self._unsaved = ""
        self._stopping = False
        self._socket = _listening(path)
        self._selector.register(self._socket, selectors.EVENT_READ, self._accept)

    def stop(self) -> None:
        """Let `run` end; a signal's handler may call it."""
        self._stopping = True

    def run(self) -> None:
        """Serve. At the end, outputs have their state for a shutdown, and counts are saved."""
        while not self._stopping:
            self.step()
        self._lines.shut_down()
        self._save()
        self._socket.close()
        for program in self._programs:
            program.close()

    def step(self) -> None:
        """Do what is due, and wait for the next event, half a second at most."""
        now = time.monotonic()
        if self._try_at <= now:
            self._try_missing()
            self._try_at = now + self._pause
        if self._save_at <= now:
            self._save()
            self._save_at = now + SAVE_SECONDS
        for program in tuple(self._programs):
            if program.heard + self._alive < now and self._lines.sets(program):
                self._say("gpio: a program that set outputs does not answer any more")
                self._lines.left(program)
        if self._tell_at <= now:
            self._tell()
            self._flush()
            self._tell_at = now + _TELL_SECONDS
        for key, _ in self._selector.select(0.02 if self._lines.is_changed() else 0.5):
            key.data()

    def _try_missing(self) -> None:
        missing = self._lines.missing()
        for line in missing:
            before = self._lines.error(line.name)
            try:
                held = self._hold(line)
            except LineError as error:
                self._lines.lose(line.name, str(error))
                if str(error) != before:
                    self._say(f"gpio {line.name}: {error}; it will be tried again")
                continue
            self._lines.add(line.name, held)
            self._say(f"gpio {line.name}: {line.kind} on line {line.offset} of {line.chip}")
            if line.kind != "output":
                self._descriptors[line.name] = held.fileno()
                self._selector.register(
                    held.fileno(), selectors.EVENT_READ, self._reader(line.name)
                )
        self._pause = min(_MOST, self._pause * 2) if missing else _LEAST

    def _reader(self, name: str) -> Callable[[], None]:
        def read() -> None:
            self._lines.read(name)
            if self._lines.error(name):
                self._selector.unregister(self._descriptors.pop(name))
                self._say(f"gpio {name}: {self._lines.error(name)}")
                self._pause, self._try_at = _LEAST, 0.0
            if self._lines.error(name) or self._lines.settings[name].kind == "input":
                self._tell()

        return read

    def _accept(self) -> None:
        connection, _ = self._socket.accept()
        program = Program(connection, time.monotonic())
        self._programs.append(program)
        self._selector.register(program, selectors.EVENT_READ, lambda: self._hear(program))
        self._send(program, self._lines.document())

    def _hear(self, program: Program) -> None:
        try:
            for message in program.receive(time.monotonic()):
                self._obey(program, message.get("set", {}))
        except Left:
            self._leave(program)

    def _obey(self, program: Program, wanted: Mapping[str, object]) -> None:
        for name, value in wanted.items():
            try:
                if not isinstance(value, bool):
                    raise Unknown(f"the output {name} is true or false")
                self._lines.set(name, value, program)
            except Unknown as refused:
                program.send({"refused": str(refused)})
        self._tell()

    def _tell(self) -> None:
        if names := self._lines.changed():
            document = self._lines.document(names)
            for program in tuple(self._programs):
                self._send(program, document)

    def _send(self, program: Program, message: dict[str, Any]) -> None:
        try:
            program.send(message)
        except Left:
            self._leave(program)

    def _flush(self) -> None:
        """Send what a program that reads slowly has not yet."""
        for program in tuple(self._programs):
            try:
                program.flush()
            except Left:
                self._leave(program)

    def _leave(self, program: Program) -> None:
        if program not in self._programs:
            return
        self._programs.remove(program)
        self._selector.unregister(program)
        program.close()
        self._lines.left(program)

    def _save(self) -> None:
        try:
            self._counts.save(self._lines.counts)
        except OSError as error:
            if (reason := error.strerror or str(error)) != self._unsaved:
                self._say(f"gpio: the counts cannot be saved: {reason}")
            self._unsaved = reason
        else:
            self._unsaved = ""


def _listening(path: str) -> socket.socket:
    """Return a socket at `path`. Any program may connect that the file gives its folder to."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    found.bind(path)
    os.chmod(path, 0o666)  # noqa: S103  # containers have users of their own
    found.listen()
    return found
