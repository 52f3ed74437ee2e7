"""HTTP/2 (RFC 9113) and gRPC over a Unix socket, one call after another."""

import socket
import struct

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GO_AWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_ACK = _END_STREAM = 1
_END_HEADERS = 4
_HEADER_TABLE_SIZE, _INITIAL_WINDOW = 1, 4
_FRAME = 16384
"""Bytes of a frame that every server takes (section 4.2)."""
_WINDOW_SIZE = 65535
"""Bytes that may be sent before the server allows more (section 6.9.2)."""
_LARGEST_WINDOW = 2**31 - 1
"""What the server may send, so that it never waits: no answer is larger than config.json."""
_UNKNOWN = 2


class CallError(Exception):
    """The server refused a call; `code` is gRPC's."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Connection:
    """A connection to a server that speaks gRPC."""

    def __init__(self, path: str, namespace: str, seconds: int) -> None:
        """Connect to the socket `path`; each answer may take `seconds`.

        Raises OSError if nobody listens.
        """
        self._namespace = namespace
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(seconds)
        self._socket.connect(_address(path))
        self._stream = -1
        self._room = _WINDOW_SIZE
        self._initial_room = _WINDOW_SIZE
        self._stream_room = 0
        settings = struct.pack(">HIHI", _HEADER_TABLE_SIZE, 0, _INITIAL_WINDOW, _LARGEST_WINDOW)
        more = struct.pack(">I", _LARGEST_WINDOW - _WINDOW_SIZE)
        self._send(_PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW, 0, 0, more))

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def call(self, method: str, request: bytes) -> bytes:
        """Return the answer to `request` (protobuf) of a method such as /package.Service/Method.

        Raises CallError if it refuses, OSError if it has gone.
        """
        self._stream += 2
        self._stream_room = self._initial_room
        self._send(_frame(_HEADERS, _END_HEADERS, self._stream, self._headers(method)))
        self._send_data(b"\0" + struct.pack(">I", len(request)) + request)
        return self._answer()

    def _headers(self, method: str) -> bytes:
        headers = (
            (":method", "POST"),
            (":scheme", "http"),
            (":path", method),
            (":authority", "localhost"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("containerd-namespace", self._namespace),
        )
        return b"".join([_literal(name, value) for name, value in headers])

    def _send_data(self, data: bytes) -> None:
        sent = 0
        while sent < len(data):
            room = min(_FRAME, self._room, self._stream_room, len(data) - sent)
            if room <= 0:
                self._receive()
                continue
            part = data[sent : sent + room]
            sent += room
            self._room -= room
            self._stream_room -= room
            flags = _END_STREAM if sent == len(data) else 0
            self._send(_frame(_DATA, flags, self._stream, part))

    def _answer(self) -> bytes:
        body = b""
        while True:
            kind, flags, stream, payload = self._receive()
            if stream != self._stream:
                continue
            if kind == _DATA:
                body += payload
            elif kind == _RESET:
                raise CallError(_UNKNOWN, "the call was broken off")
            if kind in (_DATA, _HEADERS) and flags & _END_STREAM:
                # There is either a message or a refusal, which is all in these headers.
                if not body:
                    raise _refusal(payload)
                return body[5:]

    def _receive(self) -> tuple[int, int, int, bytes]:
        """Return the next frame; what concerns the connection is dealt with."""
        head = self._read(9)
        length = head[0] << 16 | head[1] << 8 | head[2]
        kind, flags = head[3], head[4]
        stream = struct.unpack(">I", head[5:])[0] & 0x7FFFFFFF
        payload = self._read(length)
        if kind == _SETTINGS and not flags & _ACK:
            self._take_settings(payload)
            self._send(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            self._send(_frame(_PING, _ACK, 0, payload))
        elif kind == _WINDOW:
            more = struct.unpack(">I", payload)[0]
            if stream == 0:
                self._room += more
            elif stream == self._stream:
                self._stream_room += more
        elif kind == _GO_AWAY:
            raise OSError("containerd ends the connection")
        return kind, flags, stream, payload

    def _take_settings(self, payload: bytes) -> None:
        for at in range(0, len(payload), 6):
            key, value = struct.unpack(">HI", payload[at : at + 6])
            if key == _INITIAL_WINDOW:
                self._stream_room += value - self._initial_room
                self._initial_room = value

    def _read(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            part = self._socket.recv(length - len(data))
            if not part:
                raise OSError("containerd has closed the connection")
            data += part
        return data

    def _send(self, data: bytes) -> None:
        sent = 0
        while sent < len(data):
            sent += self._socket.send(data[sent:])


def _address(path: str) -> str | bytes:
    """Return the socket's path as `connect` wants it: MicroPython takes a struct sockaddr_un."""
    if hasattr(socket, "sockaddr"):
        return struct.pack("H", socket.AF_UNIX) + path.encode() + b"\0"
    return path


def _literal(name: str, value: str) -> bytes:
    """Return a header as HPACK's plain literal that is not indexed (RFC 7541, section 6.2.2)."""
    data = b"\0"
    for text in (name, value):
        assert len(text) < 127  # noqa: S101  # longer ones are written in another way
        data += bytes([len(text)]) + text.encode()
    return data


def _refusal(block: bytes) -> CallError:
    """Return what the headers of a refused call say."""
    from piimage_task import hpack  # noqa: PLC0415  # it takes time, and calls are rarely refused

    headers = hpack.decode(block)
    code = int(headers.get("grpc-status", _UNKNOWN))
    return CallError(code, _unquoted(headers.get("grpc-message", "")))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    length = len(payload)
    return bytes([length >> 16, length >> 8 & 255, length & 255, kind, flags]) + (
        struct.pack(">I", stream) + payload
    )


def _unquoted(text: str) -> str:
    """Return a message without gRPC's %XX."""
    parts = text.split("%")
    plain = parts[0].encode()
    for part in parts[1:]:
        plain += bytes([int(part[:2], 16)]) + part[2:].encode()
    return plain.decode()
