"""The connection to the program that holds the Pi's GPIO lines (appliance/gpio).

It is kept in a thread of its own: a line's state is at hand at any time, and a change is told by
an event. The messages are described in piimage_lines/programs.py.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sensorkit.errors import BusError

SOCKET = Path("/run/piimage/gpio/socket")
_AGAIN_SECONDS = 1.0
_ALIVE_SECONDS = 5.0
"""Between two signs of life; after 30 s without one, outputs that we set are as for a failure."""
_ANSWER_SECONDS = 3.0
_BYTES = 65536


class LinesClient:
    """The state of the lines as they were told last. Any thread may call its methods."""

    def __init__(self, path: Path = SOCKET) -> None:
        self.changed = threading.Event()
        """Set whenever a line has changed."""
        self._path = path
        self._lock = threading.Lock()
        self._lines: dict[str, Mapping[str, Any]] = {}
        self._connection: socket.socket | None = None
        self._known = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Connect, if that was not done, and wait a little for the first answer."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="gpio", daemon=True)
                self._thread.start()
        self._known.wait(_ANSWER_SECONDS)

    def line(self, name: str) -> Mapping[str, Any]:
        """Return the state of a line. Raises `BusError` if there is none now, and says why."""
        with self._lock:
            if self._connection is None:
                raise BusError("the program of the Pi that holds GPIO lines does not answer")
            entry = self._lines.get(name)
        if entry is None:
            raise BusError(f"the Pi has no GPIO line {name}")
        if error := entry.get("error"):
            raise BusError(str(error))
        return entry

    def set(self, name: str, value: bool) -> None:
        """Ask for the state of an output. Without a connection, nothing happens."""
        self._send({"set": {name: value}})

    def _send(self, message: Mapping[str, Any]) -> None:
        with self._lock:
            connection = self._connection
        if connection is None:
            return
        try:
            connection.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return  # the thread that reads notices it too

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                try:
                    connection.settimeout(_ALIVE_SECONDS)
                    connection.connect(str(self._path))
                    self._listen(connection)
                except (OSError, ValueError):
                    pass  # it is tried again, and `line` says that there is no answer
                with self._lock:
                    self._connection = None
                self._known.clear()
            self.changed.set()
            pause.wait(_AGAIN_SECONDS)

    def _listen(self, connection: socket.socket) -> None:
        for message in self._messages(connection):
            if refused := message.get("refused"):
                sys.stderr.write(f"{refused}\n")
            with self._lock:
                self._lines.update(message.get("lines", {}))
                self._connection = connection
            self._known.set()
            self.changed.set()

    def _messages(self, connection: socket.socket) -> Iterator[Mapping[str, Any]]:
        received = b""
        while True:
            try:
                data = connection.recv(_BYTES)
            except TimeoutError:
                connection.sendall(b"{}\n")
                continue
            if not data:
                return
            *lines, received = (received + data).split(b"\n")
            yield from map(json.loads, lines)
