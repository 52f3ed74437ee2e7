"""Requests to an update server: hawkBit's Direct Device Integration (DDI) over HTTP.

Source: the documentation of Eclipse hawkBit, "DDI API". A server is not trusted: its answers are
limited in size and time, and it cannot lead a Pi to another host.
"""

from __future__ import annotations

import http.client
import json
import signal
import time
from urllib.parse import quote, urlsplit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType, TracebackType
    from typing import Any

    from piimage_agent.updates import Settings

_TIMEOUT_S = 60.0  # without a byte
_ANSWER_S = 120.0  # for a whole answer
_ANSWER_LIMIT = 1 << 20
_CHUNK = 1 << 16
_MOST_S = 86400
_PORTS = {"http": 80, "https": 443}


class Trouble(Exception):
    """The server cannot be used now. `after`: the seconds that it wants a Pi to wait, or 0."""

    def __init__(self, message: str, status: int = 0, after: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.after = after


class Server:
    """The update server, as one Pi sees it; `received` counts the bytes of contents."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        parts = urlsplit(settings.server)
        self._origin = _origin(settings.server)
        self._prefix = parts.path.rstrip("/")
        self._connection: http.client.HTTPConnection | None = None
        self.received = 0

    @property
    def rate(self) -> int:
        """The limit for bundles in bytes a second; 0 is none."""
        return self._settings.rate

    @property
    def confirm(self) -> str:
        """Who confirms an update; see `piimage_agent.consent`."""
        return self._settings.confirm

    def beside(self) -> Server:
        """Return the same server for a second connection: one for a file, one for reports of it."""
        return Server(self._settings)

    @property
    def base(self) -> str:
        """The path of this Pi's resources."""
        tenant, controller = (
            quote(text, safe="") for text in (self._settings.tenant, self._settings.controller)
        )
        return f"{self._prefix}/{tenant}/controller/v1/{controller}"

    def path_of(self, href: object) -> str:
        """Return the path of a link in an answer; raises Trouble if it leads to another host."""
        if not isinstance(href, str) or _origin(href) != self._origin:
            raise Trouble(f"the server names a file on another host: {str(href)[:100]!r}")
        parts = urlsplit(href)
        return f"{parts.path}?{parts.query}" if parts.query else parts.path

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the JSON object that answers a request; empty if there is no content."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "application/json, application/hal+json"}
        if data is not None:
            headers["Content-Type"] = "application/json"
        response = self.request(method, path, headers, data)
        content = self._content(response)
        if response.status not in (200, 201, 202, 204):
            raise refused(response)
        try:
            found = json.loads(content or b"{}")
        except (ValueError, RecursionError):
            raise Trouble("the server's answer is not JSON") from None
        return found if isinstance(found, dict) else {}

    def _content(self, response: http.client.HTTPResponse) -> bytes:
        end, content = time.monotonic() + _ANSWER_S, b""
        while data := read_some(response):
            content += data
            self.received += len(data)
            if len(content) > _ANSWER_LIMIT or time.monotonic() > end:
                self.close()
                raise Trouble("the server's answer does not end")
        if response.length:  # read1 does not tell a connection that broke from an answer's end
            self.close()
            raise Trouble("the connection broke")
        return content

    def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> http.client.HTTPResponse:
        """Send a request and return the response, whose content has to be read; raises Trouble."""
        if self._settings.authorization:
            headers = {**headers, "Authorization": self._settings.authorization}
        for fresh in (self._connection is None, True):
            try:
                with _Deadline(_ANSWER_S):
                    connection = self._connected()
                    connection.request(method, path, body, dict(headers))
                    return connection.getresponse()
            except Trouble:
                self.close()
                raise
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.close()
                if fresh:
                    raise Trouble(f"the server cannot be reached: {_reason(error)}") from None
        raise AssertionError

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> http.client.HTTPConnection:
        scheme, host, port = self._origin
        if scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
        import ssl  # noqa: PLC0415  # not needed for a server in one's own house

        context = ssl.create_default_context(cafile=self._settings.ca or None)
        return http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=context)

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Deadline:
    """Raises Trouble in the main thread if what is within takes more than some seconds.

    The time limit of a socket begins anew with each byte: a server that sends one in a while, of a
    TLS handshake, of a header or of a chunk's size, would hold a Pi for ever.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._before: Any = None
        self._left = 0.0  # of the alarm that was set before

    def __enter__(self) -> None:
        try:
            self._before = signal.signal(signal.SIGALRM, self._end)
        except ValueError:  # another thread, of a simulation
            return
        self._left, _ = signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if self._before is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._before)
            signal.setitimer(signal.ITIMER_REAL, self._left)

    @staticmethod
    def _end(number: int, frame: FrameType | None) -> None:
        raise Trouble("the server sends too slowly")


def read_some(response: http.client.HTTPResponse) -> bytes:
    """Return some bytes of a response, none at its end; raises Trouble if the connection breaks."""
    try:
        with _Deadline(_TIMEOUT_S):
            data = response.read1(_CHUNK)
        if response.length == 0:
            response.close()  # else the connection takes no other request: read1 forgets it
        return data
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Trouble(f"the connection broke: {_reason(error)}") from None


def _origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port; raises Trouble for what is no address of a server."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        raise Trouble(f"{url[:100]!r} is no address of a server") from None
    return parts.scheme, (parts.hostname or "").lower(), port


def refused(response: http.client.HTTPResponse) -> Trouble:
    """Return the trouble of a response that is no success."""
    status = response.status
    if 300 <= status < 400:
        return Trouble("the server leads to another address, which a Pi does not follow", status)
    if status in (401, 403):
        return Trouble("the server does not accept this Pi or its token", status)
    after = response.getheader("Retry-After", "")
    seconds = min(int(after), _MOST_S) if after.isdigit() and len(after) < 10 else 0
    return Trouble(f"the server answers with status {status}", status, seconds)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def seconds_of(text: object) -> int | None:
    """Return the seconds of HH:MM:SS; None for anything else."""
    parts = text.split(":") if isinstance(text, str) else []
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts):
        return None
    hours, minutes, seconds = (int(part[:6]) for part in parts)
    return min(hours * 3600 + minutes * 60 + seconds, _MOST_S)
