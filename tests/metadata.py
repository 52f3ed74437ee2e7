"""A cloud's metadata service on this host, for tests: Amazon's IMDSv2, or one without tokens."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "AQAEAHQ7x=="  # a test's


@dataclass
class Cloud:
    """What the service says, and what it was asked."""

    content: Mapping[str, bytes]
    """By path below /latest/."""
    tokens: bool = True
    refusal: int = 0
    """The status of every answer, if it is not 0."""
    port: int = 0
    requests: list[str] = field(default_factory=list)
    """The requests as METHOD PATH, with the status of the answer."""

    @property
    def address(self) -> str:
        """Where this host reaches the service."""
        return f"127.0.0.1:{self.port}"


@contextmanager
def serving(cloud: Cloud) -> Iterator[Cloud]:
    """Serve `cloud` on a free port of the loopback interface until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:  # http.server's name
            seconds = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
            allowed = self.path == "/latest/api/token" and seconds.isdigit()
            self._answer(200 if cloud.tokens and allowed else 405, TOKEN.encode())

        def do_GET(self) -> None:
            if cloud.tokens and self.headers.get("X-aws-ec2-metadata-token") != TOKEN:
                self._answer(401, b"")
                return
            found = cloud.content.get(self.path.removeprefix("/latest/"))
            self._answer(404 if found is None else 200, found or b"")

        def _answer(self, status: int, content: bytes) -> None:
            status = cloud.refusal or status
            cloud.requests.append(f"{self.command} {self.path} {status}")
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *words: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    cloud.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield cloud
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
