"""A small strict stand-in for hawkBit's Management API; it is not hawkBit.

It has the resources that `piimage.deploy.servers` reads, with the fields that hawkBit's
documentation gives them, and refuses every other request.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

NOW = 1_800_000_000.0
LOGIN = ("shed", "tomato")
_TARGET = re.compile(r"/rest/v1/targets/([A-Za-z0-9-]+)/(attributes|assignedDS)")


def target(name: str, status: str = "in_sync", seconds: int | None = 42) -> dict[str, Any]:
    """A target; `seconds` have passed since its last call."""
    called = None if seconds is None else round((NOW - seconds) * 1000)
    return {
        "controllerId": name, "name": name, "updateStatus": status, "securityToken": "secret",
        "lastControllerRequestAt": called, "pollStatus": {"overdue": False}, "_links": {},
    }  # fmt: skip


@dataclass
class Hawkbit:
    """What the server has, and what it answers instead."""

    targets: list[dict[str, Any]] = field(default_factory=list)
    attributes: dict[str, dict[str, str]] = field(default_factory=dict)
    assigned: dict[str, str] = field(default_factory=dict)
    page: int = 500
    """The most targets of one answer."""
    status: int = 0
    """The status of every answer, if not 0."""
    raw: str = ""
    """What every answer is instead, if it is not empty."""
    requests: list[str] = field(default_factory=list)
    port: int = 0


class _Handler(BaseHTTPRequestHandler):
    hawkbit: Hawkbit

    def log_message(self, *_: object) -> None:
        return

    def do_GET(self) -> None:
        found, parts = self.hawkbit, urlsplit(self.path)
        found.requests.append(self.path)
        pair = base64.b64encode(":".join(LOGIN).encode()).decode()
        if self.headers["Authorization"] != f"Basic {pair}":
            self._answer(401, {})
        elif found.status:
            self._answer(found.status, {})
        elif found.raw:
            self._answer(200, None)
        elif parts.path == "/rest/v1/targets":
            self._list({key: values[0] for key, values in parse_qs(parts.query).items()})
        elif (match := _TARGET.fullmatch(parts.path)) and match[2] == "attributes":
            self._answer(200, found.attributes.get(match[1], {}))
        elif match and match[1] in found.assigned:
            self._answer(200, {"name": "greenhouse", "version": found.assigned[match[1]]})
        else:
            self._answer(204 if match else 404, {})

    def _list(self, words: dict[str, str]) -> None:
        if words.keys() != {"limit", "offset", "sort"} or not 0 < int(words["limit"]) <= 500:
            self._answer(400, {})
            return
        start = int(words["offset"])
        content = self.hawkbit.targets[start : start + min(int(words["limit"]), self.hawkbit.page)]
        every = len(self.hawkbit.targets)
        self._answer(200, {"content": content, "total": every, "size": len(content)})

    def _answer(self, status: int, value: object) -> None:
        data = b"" if status == 204 else (self.hawkbit.raw or json.dumps(value)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/hal+json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def hawkbit_server() -> Iterator[Hawkbit]:
    """Run the server in a thread of its own."""
    hawkbit = Hawkbit()
    handler = type("Handler", (_Handler,), {"hawkbit": hawkbit})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hawkbit.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hawkbit
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
