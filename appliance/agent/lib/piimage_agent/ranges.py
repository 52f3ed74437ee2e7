"""Reads pieces of a file on a server: by ranges, or all of it where the server knows no ranges."""

from __future__ import annotations

import time

from piimage_agent.ddi import Trouble, read_some, refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    import http.client
    from collections.abc import Iterator

    from piimage_agent.ddi import Server

_SLOW_S = 60.0
_SLOW = 8 << 10
"""Bytes that have to come in `_SLOW_S` at least: a server must not hold a Pi for ever."""


class Remote:
    """A file of `size` bytes. Pieces that are read in order cost one request without ranges."""

    def __init__(self, server: Server, path: str, size: int) -> None:
        self._server = server
        self._path = path
        self.size = size
        self._whole: http.client.HTTPResponse | None = None
        self._at = 0  # of the whole file
        self._spare = b""  # bytes of the whole file that have come and were not read yet
        self._pace = _Pace()
        self._limit = Limit(server.rate)

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes from `start` to `end`; raises Trouble."""
        if not 0 <= start <= end <= self.size:
            raise Trouble("the file on the server is shorter than what it describes")
        if start == end:
            return
        self._pace = _Pace()
        response = self._positioned(start, end)
        left = end - start
        while left:
            data = self._some(response)
            if len(data) > left and response is not self._whole:
                raise self._broken("the server sends more than the range")
            piece = data[:left]
            left -= len(piece)
            self._at += len(piece)
            self._spare = data[len(piece) :]
            yield piece

    def _some(self, response: http.client.HTTPResponse) -> bytes:
        if self._spare:
            data, self._spare = self._spare, b""
            return data
        data = read_some(response)
        if not data:
            raise self._broken("the connection broke")
        self._server.received += len(data)
        self._pace.note(len(data))
        self._limit.note(len(data))
        return data

    def _positioned(self, start: int, end: int) -> http.client.HTTPResponse:
        """Return a response whose next byte is the one at `start`."""
        if self._whole is None or self._at > start:
            self._whole, self._spare = None, b""
            response = self._server.request(
                "GET", self._path, {"Range": f"bytes={start}-{end - 1}"}
            )
            if response.status == 206:
                self._require_range(response, start, end)
                return response
            if response.status != 200:
                self._server.close()
                raise refused(response)
            self._whole, self._at = response, 0
        self._skip(self._whole, start)
        return self._whole

    def _skip(self, response: http.client.HTTPResponse, start: int) -> None:
        while self._at < start:
            data = self._some(response)
            piece = data[: start - self._at]
            self._at += len(piece)
            self._spare = data[len(piece) :]

    def _require_range(self, response: http.client.HTTPResponse, start: int, end: int) -> None:
        given = response.getheader("Content-Range", "")
        if given.partition("/")[0] != f"bytes {start}-{end - 1}":
            raise self._broken(f"the server sends another range: {given[:60]!r}")
        if response.length not in (None, end - start):
            raise self._broken("the server sends more or less than the range")

    def _broken(self, message: str) -> Trouble:
        self._server.close()
        self._whole = None
        return Trouble(message)


class _Pace:
    """Raises Trouble if bytes come too slowly."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._count = 0

    def note(self, count: int) -> None:
        self._count += count
        now = time.monotonic()
        if self._count >= _SLOW:
            self._since, self._count = now, 0
        elif now - self._since > _SLOW_S:
            raise Trouble("the server sends too slowly")


class Limit:
    """Sleeps so that no more than `rate` bytes a second come on average; 0 is no limit.

    What was not used is not saved up: a server that was slow is not fetched from faster afterwards.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._due = 0.0

    def note(self, count: int) -> None:
        """Wait as long as `count` bytes that have come may take."""
        if not self._rate:
            return
        now = time.monotonic()
        self._due = max(self._due, now) + count / self._rate
        time.sleep(self._due - now)
