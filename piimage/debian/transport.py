"""Fetching over HTTP with keep-alive connections, retries, and resumed downloads."""

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

from piimage.debian.mirror import without_credentials
from piimage.errors import PiimageError
from piimage.store import CHUNK

_TIMEOUT: Final = 30.0
_REDIRECTS: Final = 5
_ATTEMPTS: Final = 5
_BLOCK: Final = 1 << 18
_GONE: Final = (404, 410)
_REDIRECTED: Final = (301, 302, 303, 307, 308)
_TEMPORARY: Final = (408, 425, 429, 500, 502, 503, 504)


class Absent(PiimageError):
    """The server answers, but does not have the file."""


class _TemporaryError(Exception):
    """A failure that is worth a retry."""


@dataclass
class Transport:
    """A client for several threads; each keeps its own connections.

    `pause` waits for the given number of seconds (time.sleep, except in tests).
    """

    pause: Callable[[float], None] = time.sleep
    proxies: Mapping[str, str] = field(default_factory=getproxies)
    _own: threading.local = field(default_factory=threading.local, repr=False)

    def read(self, url: str, maximum: int) -> bytes:
        """Return the content of `url`, at most `maximum` bytes.

        Raises PiimageError ``debian.too-big``, and the errors of `chunks`.
        """
        parts: list[bytes] = []
        size = 0
        for chunk in self.chunks(url):
            size += len(chunk)
            if size > maximum:
                raise PiimageError(
                    "debian.too-big",
                    f"the file has more than {maximum} bytes, too many for an index",
                    place=without_credentials(url),
                    hint="check the mirror's URL",
                )
            parts.append(chunk)
        return b"".join(parts)

    def chunks(self, url: str) -> Iterator[bytes]:
        """Yield the content of `url`; resume the download if the connection breaks.

        Raises Absent (``debian.not-found``) if the server does not have the file, and PiimageError
        ``debian.unreachable`` if five attempts in a row fail or the server refuses.
        """
        received = 0
        failures = 0
        while True:
            try:
                for chunk in self._attempt(url, received):
                    received += len(chunk)
                    failures = 0
                    yield chunk
                return
            except (_TemporaryError, OSError, http.client.HTTPException) as error:
                self._forget(url)
                failures += 1
                if failures >= _ATTEMPTS:
                    raise _unreachable(url, error) from error
                self.pause(0.25 * 2**failures * (1 + random.random() / 4))  # noqa: S311

    def close(self) -> None:
        """Close the connections of this thread."""
        for connection in self._connections().values():
            connection.close()

    def _attempt(self, url: str, start: int) -> Iterator[bytes]:
        if urlsplit(url).scheme == "file":
            yield from _local(url, start)
            return
        with self._response(url, start) as response:
            skip = start if response.status == 200 else 0
            length = response.length
            received = 0
            while chunk := response.read(_BLOCK):
                received += len(chunk)
                if skip < len(chunk):
                    yield chunk[skip:] if skip else chunk
                skip = max(0, skip - len(chunk))
            if length is not None and received < length:
                raise _TemporaryError(f"the connection ended after {received} of {length} bytes")

    @contextmanager
    def _response(self, url: str, start: int) -> Iterator[http.client.HTTPResponse]:
        for _ in range(_REDIRECTS):
            response = self._request(url, start)
            try:
                if response.status not in _REDIRECTED:
                    _check_status(response, url)
                    yield response
                    return
                url = _location(url, response)
                response.read()
            finally:
                if not response.isclosed():
                    # The unread rest of the response would disturb the next request.
                    self._forget(url)
        raise _unreachable(url, "too many redirections")

    def _request(self, url: str, start: int) -> http.client.HTTPResponse:
        parts = urlsplit(url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        proxy = self._proxy(parts)
        if proxy and parts.scheme == "http":
            target = without_credentials(url)
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
        # The server may have closed a kept connection meanwhile, which is not a failure.
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


def _location(url: str, response: http.client.HTTPResponse) -> str:
    target = urljoin(url, response.getheader("Location", ""))
    if urlsplit(target).scheme not in ("http", "https"):
        raise _unreachable(url, "it redirects to a URL that is not HTTP")
    return target


def _check_status(response: http.client.HTTPResponse, url: str) -> None:
    if response.status in (200, 206):
        return
    reason = f"the server answered {response.status} {response.reason}"
    if response.status in _GONE:
        raise _absent(url, reason)
    if response.status in _TEMPORARY:
        raise _TemporaryError(reason)
    raise _unreachable(url, reason)


def _local(url: str, start: int) -> Iterator[bytes]:
    path = Path(unquote(urlsplit(url).path))
    try:
        with path.open("rb") as file:
            file.seek(start, os.SEEK_SET)
            while chunk := file.read(CHUNK):
                yield chunk
    except (FileNotFoundError, NotADirectoryError):
        raise _absent(url, "there is no such file") from None


def _absent(url: str, reason: str) -> Absent:
    return Absent(
        "debian.not-found",
        f"the file is not in the archive: {reason}",
        place=without_credentials(url),
        hint="check the mirror's URL, and that the mirror has this suite and architecture",
    )


def _unreachable(url: str, reason: object) -> PiimageError:
    return PiimageError(
        "debian.unreachable",
        f"the file cannot be fetched: {reason}",
        place=without_credentials(url),
        hint="check the network and the mirror's URL (--mirror), or work from the store "
        "(--offline)",
    )
