"""What the sensor services on this Pi measure, asked from their own web servers."""

from __future__ import annotations

import re
import socket
import time

import h11

_SECONDS = 3.0
_LIMIT = 1 << 20
_SENSOR = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]*)=([1-9][0-9]{0,4})")
_HIGHEST_PORT = 65535


def ports(text: str) -> dict[str, int]:
    """Parse ``NAME=PORT NAME=PORT``; raises ValueError that says what is wrong."""
    found: dict[str, int] = {}
    for word in text.split():
        match = _SENSOR.fullmatch(word)
        if not match or int(match[2]) > _HIGHEST_PORT:
            raise ValueError(f"{word} is not NAME=PORT")
        found[match[1]] = int(match[2])
    return found


def ask(port: int, path: str) -> bytes:
    """Return the JSON at `path` of the service on `port`; raises OSError without a good answer."""
    http = h11.Connection(h11.CLIENT)
    end = time.monotonic() + _SECONDS
    with socket.create_connection(("127.0.0.1", port), timeout=_SECONDS) as connection:
        headers = [("Host", "127.0.0.1"), ("Connection", "close")]
        connection.sendall(
            http.send(h11.Request(method="GET", target=path, headers=headers)) or b""
        )
        connection.sendall(http.send(h11.EndOfMessage()) or b"")
        try:
            return _body(http, connection, end)
        except h11.ProtocolError as error:
            raise OSError(str(error)) from None


def _body(http: h11.Connection, connection: socket.socket, end: float) -> bytes:
    body = b""
    while time.monotonic() < end and len(body) < _LIMIT:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(connection.recv(1 << 16))
        elif isinstance(event, h11.Response) and event.status_code != 200:
            raise OSError(f"it answered with status {event.status_code}")
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return body
    raise OSError("it answers too slowly, or too much")
