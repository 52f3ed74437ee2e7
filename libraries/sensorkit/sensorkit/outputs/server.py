"""A small web server for pages on a local network: h11 reads and writes HTTP/1.1.

It answers one request for each connection. It holds few connections at a time, each with a time
limit, so that neither a sleeping phone nor a hundred slow clients can block the service.
"""

from __future__ import annotations

import socketserver
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import h11

from sensorkit.outputs.connections import Connections

_REQUEST_SECONDS = 10.0
_POLL_SECONDS = 0.5
_COMPRESS_FROM_BYTES = 1024
_HEADER_BYTES = 16 * 1024
_BODY_BYTES = 4 * 1024
_RECEIVE_BYTES = 4096
_GZIP = 31  # zlib's window bits for the format gzip (zlib.h, deflateInit2)


@dataclass(frozen=True)
class Request:
    """An HTTP request: its path without the query, and its headers by lower-case name."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Response:
    """An HTTP response."""

    body: bytes
    content_type: str = "application/json"
    status: int = 200
    policy: str = "default-src 'none'"
    cache: str = "no-store"


Respond = Callable[[Request], Response]
Routes = Mapping[str, Callable[[], Response]]


def answering(paths: Routes) -> Respond:
    """Return what responds to GET and HEAD by `paths`, and refuses everything else."""

    def respond(request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return Response(b'{"error":"only GET and HEAD"}', status=405)
        route = paths.get(request.path)
        return route() if route else Response(b'{"error":"no such path"}', status=404)

    return respond


class WebServer:
    """Serves responses in a thread of its own until it is stopped.

    With `port` 0 the kernel chooses one, which `address` returns. A connection may take `seconds`
    from its acceptance to the last byte of the response. Raises OSError if the port is taken.
    """

    def __init__(
        self, host: str, port: int, respond: Respond, seconds: float = _REQUEST_SECONDS
    ) -> None:
        connections = Connections(seconds, time.monotonic)
        self._server = _Server((host, port), _handler(respond), connections)
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


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        handler: type[socketserver.BaseRequestHandler],
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


def _handler(respond: Respond) -> type[socketserver.BaseRequestHandler]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            http = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEADER_BYTES)
            try:
                request = _receive(http, self.request)
            except h11.RemoteProtocolError as error:
                refusal = Response(b'{"error":"not HTTP"}', status=error.error_status_hint)
                self._send(http, Request("GET", ""), refusal)
                return
            if request is not None:
                self._send(http, request, respond(request))

        def _send(self, http: h11.Connection, request: Request, response: Response) -> None:
            if http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
                return
            body, encoding = _encoded(request, response.body)
            headers = [
                ("Content-Type", response.content_type),
                ("Content-Length", str(len(body))),
                ("Content-Security-Policy", response.policy),
                ("X-Content-Type-Options", "nosniff"),
                ("Cache-Control", response.cache),
                ("Connection", "close"),
                *encoding,
            ]
            head = h11.Response(status_code=response.status, headers=headers)
            self.request.sendall(http.send(head) or b"")
            if request.method != "HEAD":
                self.request.sendall(http.send(h11.Data(data=body)) or b"")
                self.request.sendall(http.send(h11.EndOfMessage()) or b"")

    return Handler


def _receive(http: h11.Connection, connection: Any) -> Request | None:  # noqa: ANN401 -- a socket
    """Return the request; None if the client leaves before its end.

    Raises h11.RemoteProtocolError for what is no request, and for a body that is too long.
    """
    head: h11.Request | None = None
    size = 0
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(connection.recv(_RECEIVE_BYTES))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            size += len(event.data)
            if size > _BODY_BYTES:
                raise h11.RemoteProtocolError("the body is too long", error_status_hint=413)
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            return _request(head)
        else:
            return None


def _request(head: h11.Request) -> Request:
    path, _, query = head.target.decode("ascii", "replace").partition("?")
    headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
    return Request(head.method.decode("ascii"), path, query, headers)


def _encoded(request: Request, body: bytes) -> tuple[bytes, list[tuple[str, str]]]:
    """Return the body, compressed if the client can read that, and the header that tells so."""
    if "gzip" not in request.headers.get("accept-encoding", "") or len(body) < _COMPRESS_FROM_BYTES:
        return body, []
    packer = zlib.compressobj(1, wbits=_GZIP)
    return packer.compress(body) + packer.flush(), [("Content-Encoding", "gzip")]
