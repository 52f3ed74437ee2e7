"""The web server: ``/metrics``, ``/healthz``, ``/api/current``, ``/api/history``, and a page.

It is read-only and meant for the local network. It holds few connections at a time, each with a
time limit, so that neither a sleeping phone nor a hundred slow clients can block the service.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from sensorkit.outputs.connections import Connections
from sensorkit.outputs.documents import Documents
from sensorkit.outputs.prometheus import CONTENT_TYPE, Exposition

_REQUEST_SECONDS = 10.0
_POLL_SECONDS = 0.5
_COMPRESS_FROM_BYTES = 1024


@dataclass(frozen=True)
class Response:
    """An HTTP response."""

    body: bytes
    content_type: str = "application/json"
    status: int = 200
    policy: str = "default-src 'none'"


Routes = dict[str, Callable[[], Response]]


def routes(documents: Documents, exposition: Exposition) -> Routes:
    """Return the response of each path."""
    page = _page()
    return {
        "/": lambda: page,
        "/metrics": lambda: Response(exposition.text(), CONTENT_TYPE),
        "/healthz": lambda: _health(documents),
        "/api/current": lambda: Response(_json(documents.current())),
        "/api/history": lambda: Response(_json(documents.plots())),
    }


def _page() -> Response:
    """Return the page, which may use only its own script and style, and only this service."""
    body = Path(__file__).with_name("page.html").read_bytes()
    script, style = (_hash(body, rb"<%b>(.*?)</%b>" % (tag, tag)) for tag in (b"script", b"style"))
    policy = f"default-src 'none'; script-src '{script}'; style-src '{style}'; connect-src 'self'"
    return Response(body, "text/html; charset=utf-8", policy=policy)


def _hash(body: bytes, pattern: bytes) -> str:
    match = re.search(pattern, body, re.DOTALL)
    digest = hashlib.sha256(match[1] if match else b"").digest()
    return "sha256-" + base64.b64encode(digest).decode()


def _health(documents: Documents) -> Response:
    healthy, document = documents.health()
    return Response(_json(document), status=200 if healthy else 503)


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


class WebServer:
    """Serves routes in a thread of its own until it is stopped.

    With `port` 0 the kernel chooses one, which `address` returns. A connection may take `seconds`
    from its acceptance to the last byte of the response. Raises OSError if the port is taken.
    """

    def __init__(
        self, host: str, port: int, paths: Routes, seconds: float = _REQUEST_SECONDS
    ) -> None:
        connections = Connections(seconds, time.monotonic)
        self._server = _Server((host, port), _handler(paths), connections)
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": min(_POLL_SECONDS, seconds)},
            name="http",
            daemon=True,
        )

    @property
    def address(self) -> tuple[str, int]:
        """The host and the port that the server listens on."""
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    def start(self) -> None:
        """Start to respond."""
        self._thread.start()

    def stop(self) -> None:
        """Stop responding, and release the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        handler: type[BaseHTTPRequestHandler],
        connections: Connections,
    ) -> None:
        self._connections = connections
        super().__init__(address, handler)

    def service_actions(self) -> None:
        """Close overdue connections; called between connections and every half second."""
        self._connections.end_overdue()

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 -- a socket
        """Start a thread for the connection."""
        self._connections.admit(request, client_address[0])
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401
        """Note the end of a connection."""
        self._connections.leave(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Ignore errors of a connection: the client is gone."""


def _handler(paths: Routes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version = "sensorkit"
        sys_version = ""

        def do_GET(self) -> None:
            self._respond(with_body=True)

        def do_HEAD(self) -> None:
            self._respond(with_body=False)

        def _respond(self, *, with_body: bool) -> None:
            route = paths.get(self.path.partition("?")[0])
            response = route() if route else Response(b'{"error":"no such path"}', status=404)
            body, is_compressed = self._compressed(response.body)
            self.send_response(response.status)
            self.send_header("Content-Type", response.content_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Security-Policy", response.policy)
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Cache-Control", "no-store")
            if is_compressed:
                self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def _compressed(self, body: bytes) -> tuple[bytes, bool]:
            wanted = "gzip" in self.headers.get("Accept-Encoding", "")
            if not wanted or len(body) < _COMPRESS_FROM_BYTES:
                return body, False
            return gzip.compress(body, 1, mtime=0), True

        def log_message(self, format: str, *args: object) -> None:
            """Do not log: standard output is for measurements."""

    return Handler
