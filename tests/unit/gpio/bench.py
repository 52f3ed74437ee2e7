"""A Pi's lines without a kernel: pipes are readable as lines are, and its programs connect."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from piimage_lines.counts import Counts
from piimage_lines.held import Held, LineError
from piimage_lines.server import Server
from piimage_lines.settings import Line
from piimage_lines.state import Lines

PATIENCE = 30.0


class Wire:
    """A line as the program holds it: a pipe is readable after an edge."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.active = line.at_boot
        self.history: list[bool] = []
        self.gone = False
        self._edges = 0
        self._read, self._write = os.pipe()
        self._ends: tuple[int, ...] = (self._read, self._write)

    def pulse(self, count: int = 1, active: bool = True) -> None:
        self._edges += count
        self.active = active
        os.write(self._write, b"!")

    def break_off(self) -> None:
        self.gone = True
        os.write(self._write, b"!")

    def fileno(self) -> int:
        return self._read

    def value(self) -> bool:
        return self.active

    def set(self, value: bool) -> None:
        if self.gone:
            raise OSError(19, "No such device")
        self.active = value
        self.history.append(value)

    def edges(self) -> tuple[int, bool]:
        os.read(self._read, 100)
        if self.gone:
            raise OSError(19, "No such device")
        count, self._edges = self._edges, 0
        return count, self.active

    def close(self) -> None:
        """Close the line; a second time does nothing."""
        for end in self._ends:
            os.close(end)
        self._ends = ()


class Bench:
    """The program on its wires, in a thread."""

    def __init__(self, folder: Path, *lines: Line, alive: float = 30.0) -> None:
        self.folder = folder
        self.lines = lines
        self.wires: dict[str, Wire] = {}
        self.missing: dict[str, str] = {}
        self.messages: list[str] = []
        self.counts = folder / "data/gpio/counts"
        self.alive = alive
        self.server: Server | None = None
        self.thread: threading.Thread | None = None

    @property
    def socket(self) -> Path:
        return self.folder / "run/socket"

    def hold(self, line: Line) -> Held:
        if line.name in self.missing:
            raise LineError(self.missing[line.name])
        self.wires[line.name] = Wire(line)
        return self.wires[line.name]

    def start(self) -> None:
        counts = Counts(str(self.counts))
        lines = Lines(self.lines, counts.saved)
        self.server = Server(
            lines, counts, self.hold, str(self.socket), self.messages.append, self.alive
        )
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        if self.server is not None and self.thread is not None:
            self.server.stop()
            self.thread.join(PATIENCE)
            self.server = None
            for wire in self.wires.values():
                wire.close()

    def saved(self) -> dict[str, int]:
        return dict(Counts(str(self.counts)).saved)


class Client:
    """A program that is connected."""

    def __init__(self, path: Path) -> None:
        self.connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.connection.settimeout(PATIENCE)
        self.connection.connect(str(path))
        self.file = self.connection.makefile("r")
        self.lines: dict[str, Any] = {}

    def read(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.file.readline())
        self.lines.update(message.get("lines", {}))
        return message

    def until(self, name: str, **wanted: object) -> None:
        """Read until the line `name` is like that."""
        while {key: self.lines.get(name, {}).get(key) for key in wanted} != wanted:
            self.read()

    def send(self, text: str) -> None:
        self.connection.sendall(text.encode() + b"\n")

    def set(self, name: str, value: object) -> None:
        self.send(json.dumps({"set": {name: value}}))

    def close(self) -> None:
        self.file.close()
        self.connection.close()


def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)
