"""Fetching over HTTP with connections kept alive, retries, and resumption of what broke off."""

from __future__ import annotations

import base64
import http.client
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from piimage.debian.mirror import shown
from piimage.errors import PiimageError
from piimage.store import CHUNK

_TIMEOUT: Final = 30.0
_REDIRECTS: Final = 5
_ATTEMPTS: Final = 5
_BLOCK: Final = 1 << 18
_GONE: Final = (404, 410)
_REDIRECTED: Final = (301, 302, 303, 307, 308)
_PASSING: Final = (408, 425, 429, 500, 502, 503, 504)


class Absent(PiimageError):
    """What was asked for is not there, though the server is."""


class _Broken(Exception):
    """A failure that may pass: worth another attempt."""


@dataclass
class Transport:
    """A client for several threads; each keeps its own connections.

    `pause` waits for so many seconds (time.sleep, but for tests).
    """

    pause: Callable[[float], None] = time.sleep
    proxies: Mapping[str, str] = field(default_factory=getproxies)
    _own: threading.local = field(default_factory=threading.local, repr=False)

    def read(self, url: str, most: int) -> bytes:
        """Return what is at `url`; refuse more than `most` bytes. Errors as `chunks`."""
        parts: list[bytes] = []
        size = 0
        for chunk in self.chunks(url):
            size += len(chunk)
            if size > most:
                raise PiimageError(
                    "debian.too-big",
                    f"more than {most} bytes, where an index was expected",
                    place=shown(url),
                    hint="check the mirror's address",
                )
            parts.append(chunk)
        return b"".join(parts)

    def chunks(self, url: str) -> Iterator[bytes]:
        """Give the bytes at `url` in turn; go on from where a connection broke.

        Raises Absent (``debian.not-found``) when the server does not have it, and PiimageError
        ``debian.unreachable`` when five attempts failed or the server refuses.
        """
        got = 0
        failures = 0
        while True:
            try:
                for chunk in self._attempt(url, got):
                    got += len(chunk)
                    failures = 0
                    yield chunk
                return
            except (_Broken, OSError, http.client.HTTPException) as error:
                self._forget(url)
                failures += 1
                if failures >= _ATTEMPTS:
                    raise _unreachable(url, error) from error
                self.pause(0.25 * 2**failures * (1 + random.random() / 4))  # noqa: S311

    def close(self) -> None:
        """Close the connections of this thread."""
        for connection in self._connections().values():
            connection.close()
        self._connections().clear()

    def _attempt(self, url: str, start: int) -> Iterator[bytes]:
        if urlsplit(url).scheme == "file":
            yield from _local(url, start)
            return
        with self._response(url, start) as response:
            skip = start if response.status == 200 else 0
            length = response.length
            got = 0
            while chunk := response.read(_BLOCK):
                got += len(chunk)
                if skip < len(chunk):
                    yield chunk[skip:] if skip else chunk
                skip = max(0, skip - len(chunk))
            if length is not None and got < length:
                raise _Broken(f"the connection ended after {got} of {length} bytes")

    @contextmanager
    def _response(self, url: str, start: int) -> Iterator[http.client.HTTPResponse]:
        for _ in range(_REDIRECTS):
            response = self._ask(url, start)
            try:
                if response.status not in _REDIRECTED:
                    _check(response, url)
                    yield response
                    return
                url = _next(url, response)
                response.read()
            finally:
                if not response.isclosed():
                    # The rest is not wanted, and would be in the way of the next request.
                    self._forget(url)
        raise _unreachable(url, "too many redirections")

    def _ask(self, url: str, start: int) -> http.client.HTTPResponse:
        parts = urlsplit(url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        proxy = self._proxy(parts)
        if proxy and parts.scheme == "http":
            target = shown(url)
        headers = {"User-Agent": "piimage", "Accept": "*/*"} | _authorization(
            parts, "Authorization"
        )
        if proxy and parts.scheme == "http":
            headers |= _authorization(proxy, "Proxy-Authorization")
        if start:
            headers["Range"] = f"bytes={start}-"
        connection = self._connection(parts, proxy)
        fresh = connection.sock is None
        try:
            connection.request("GET", target, headers=headers)
            return connection.getresponse()
        except (OSError, http.client.HTTPException):
            connection.close()
            if fresh:
                raise
        # A kept connection that the server has closed meanwhile is no failure.
        connection.request("GET", target, headers=headers)
        return connection.getresponse()

    def _proxy(self, parts: SplitResult) -> SplitResult | None:
        address = self.proxies.get(parts.scheme)
        if not address or proxy_bypass(parts.hostname or ""):
            return None
        return urlsplit(address if "://" in address else f"http://{address}")

    def _connections(self) -> dict[tuple[str, str], http.client.HTTPConnection]:
        if not hasattr(self._own, "connections"):
            self._own.connections = {}
        connections: dict[tuple[str, str], http.client.HTTPConnection] = self._own.connections
        return connections

    def _connection(
        self, parts: SplitResult, proxy: SplitResult | None
    ) -> http.client.HTTPConnection:
        connections = self._connections()
        key = (parts.scheme, parts.netloc)
        if key not in connections:
            connections[key] = _connect(parts, proxy)
        return connections[key]

    def _forget(self, url: str) -> None:
        parts = urlsplit(url)
        connection = self._connections().pop((parts.scheme, parts.netloc), None)
        if connection is not None:
            connection.close()


def _connect(parts: SplitResult, proxy: SplitResult | None) -> http.client.HTTPConnection:
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    if proxy is None:
        return kind(parts.hostname or "", parts.port, timeout=_TIMEOUT)
    connection = kind(proxy.hostname or "", proxy.port, timeout=_TIMEOUT)
    if parts.scheme == "https":
        headers = _authorization(proxy, "Proxy-Authorization")
        connection.set_tunnel(parts.hostname or "", parts.port, headers=headers)
    return connection


def _authorization(parts: SplitResult, header: str) -> dict[str, str]:
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {header: f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _next(url: str, response: http.client.HTTPResponse) -> str:
    target = urljoin(url, response.getheader("Location", ""))
    if urlsplit(target).scheme not in ("http", "https"):
        raise _unreachable(url, "it redirects to something that is not HTTP")
    return target


def _check(response: http.client.HTTPResponse, url: str) -> None:
    if response.status in (200, 206):
        return
    said = f"the server says {response.status} {response.reason}"
    if response.status in _GONE:
        raise _absent(url, said)
    if response.status in _PASSING:
        raise _Broken(said)
    raise _unreachable(url, said)


def _local(url: str, start: int) -> Iterator[bytes]:
    path = Path(unquote(urlsplit(url).path))
    try:
        with path.open("rb") as file:
            file.seek(start, os.SEEK_SET)
            while chunk := file.read(CHUNK):
                yield chunk
    except (FileNotFoundError, NotADirectoryError):
        raise _absent(url, "there is no such file") from None


def _absent(url: str, why: str) -> Absent:
    return Absent(
        "debian.not-found",
        f"not in the archive: {why}",
        place=shown(url),
        hint="check the mirror's address, and that it carries this suite and architecture",
    )


def _unreachable(url: str, why: object) -> PiimageError:
    return PiimageError(
        "debian.unreachable",
        f"cannot be fetched: {why}",
        place=shown(url),
        hint="check the network and the mirror's address (--mirror), or use what the store has "
        "(--offline)",
    )
