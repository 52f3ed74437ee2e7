"""A small strict update server (hawkBit's DDI), for what no honest server does.

Requests and its own answers have the form that hawkBit documents (`ddi_schema`): a request that has
another one is refused, and the test that sent it fails at its end. Honest behaviour is tested with
goosebit (tests/system/deploy).
"""

from __future__ import annotations

import json
import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.programs.deploy.ddi_schema import REPORTS, answer_faults, request_faults
from tests.unit.signing_keys import Pair

_CONFIRMATION = "/t/controller/v1/pi/confirmationBase"
_FEEDBACK = re.compile(r"/t/controller/v1/pi/(deploymentBase|cancelAction)/(\d+)/feedback")


@dataclass
class Ddi:
    """What the server offers, how it behaves, and what it was told."""

    bundle: Path | None = None
    action: int = 7
    sleep: str = "00:05:00"
    cancel: bool = False
    cancel_after: int = 0
    """After how many reports the action is cancelled, if not 0."""
    gone: bool = False
    """Whether the server has forgotten all actions."""
    deployment: dict[str, str] = field(default_factory=dict)
    token: str = ""
    manner: str = "honest"
    """How it sends the bundle: honest, whole, cut, endless, shifted, longer, redirect, elsewhere,
    or a status."""
    fails: list[int] = field(default_factory=list)
    """Statuses of the next answers, before all else."""
    headers: dict[str, str] = field(default_factory=dict)
    """Headers of those answers."""
    room: int = REPORTS
    """How many reports that end nothing it takes; it refuses more, as hawkBit does."""
    lost_reports: int = 0
    """How many of the next reports of an end are lost."""
    cut_answers: int = 0
    """How many of the next answers end after their head."""
    reports: list[tuple[str, str, str]] = field(default_factory=list)
    """What was reported: execution, finished, details."""
    attributes: dict[str, str] = field(default_factory=dict)
    sent: int = 0
    """Bytes of the bundle that were sent."""
    requests: list[str] = field(default_factory=list)
    url: str = ""
    asks: bool = False
    """Whether an action waits until it is confirmed."""
    auto: bool | None = False
    """Whether it confirms by itself; None for a server that knows no confirmations."""
    confirmations: list[tuple[str, str]] = field(default_factory=list)
    """What the Pi has answered: confirmed or denied, and why."""
    raw: str = ""
    """What every answer is instead, if it is not empty."""
    faults: list[str] = field(default_factory=list)
    """What hawkBit would not take of the requests, or not answer."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    ddi: Ddi

    def log_message(self, *_: object) -> None:
        return

    def do_GET(self) -> None:
        ddi = self.ddi
        ddi.requests.append(f"GET {self.path} {self.headers.get('Range', '')}".strip())
        if self.path != "/file" and self._is_faulty(None):
            return
        if self._refuses():
            return
        if self.path == "/t/controller/v1/pi":
            self._json({"config": {"polling": {"sleep": ddi.sleep}}, "_links": self._links()})
        elif self.path == f"/t/controller/v1/pi/deploymentBase/{ddi.action}?c=1" and ddi.bundle:
            self._json({"id": str(ddi.action), "deployment": self._deployment(ddi.bundle)})
        elif self.path == f"/t/controller/v1/pi/cancelAction/{ddi.action}":
            self._json({"id": str(ddi.action), "cancelAction": {"stopId": str(ddi.action)}})
        elif self.path == _CONFIRMATION and ddi.auto is not None:
            self._json({"autoConfirm": {"active": ddi.auto}, "_links": {}})
        elif self.path == f"{_CONFIRMATION}/{ddi.action}?c=1" and ddi.bundle and self._waits:
            self._json({"id": str(ddi.action), "confirmation": self._deployment(ddi.bundle)})
        elif self.path == "/file" and ddi.bundle:
            self._file(ddi.bundle.read_bytes())
        else:
            self._status(404)

    def _links(self) -> dict[str, dict[str, str]]:
        ddi = self.ddi
        base = f"{ddi.url}/t/controller/v1/pi"
        if ddi.cancel:
            return {"cancelAction": {"href": f"{base}/cancelAction/{ddi.action}"}}
        if ddi.bundle and self._waits:
            return {"confirmationBase": {"href": f"{base}/confirmationBase/{ddi.action}?c=1"}}
        if ddi.bundle:
            return {"deploymentBase": {"href": f"{base}/deploymentBase/{ddi.action}?c=1"}}
        return {}

    @property
    def _waits(self) -> bool:
        """Whether the action waits until it is confirmed: a denied one goes on waiting."""
        confirmed = any(word == "confirmed" for word, _ in self.ddi.confirmations)
        return self.ddi.asks and not self.ddi.auto and not confirmed

    def _deployment(self, bundle: Path) -> dict[str, object]:
        href = f"{self.ddi.url}/file"
        if self.ddi.manner == "elsewhere":
            href = "http://203.0.113.1/file"
        artifact = {
            "filename": bundle.name, "size": bundle.stat().st_size, "hashes": {"sha1": "0" * 40},
            "_links": {"download-http": {"href": href}},
        }  # fmt: skip
        chunk = {"part": "os", "version": "1", "name": "greenhouse", "artifacts": [artifact]}
        return {"download": "forced", "update": "forced", **self.ddi.deployment, "chunks": [chunk]}

    def _file(self, data: bytes) -> None:
        ddi, found = self.ddi, re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if ddi.manner == "redirect":
            self._status(302, {"Location": "http://203.0.113.1/file"})
            return
        if not found or ddi.manner in ("whole", "endless"):
            self._send(200, data, {})
            return
        start, end = int(found[1]), int(found[2]) + 1
        shown = f"bytes {start}-{end - 1}/{len(data)}"
        piece = data[start:end]
        if ddi.manner == "shifted":
            piece, shown = data[start + 1 : end + 1], f"bytes {start + 1}-{end}/{len(data)}"
        elif ddi.manner == "lying":
            piece = bytes(len(piece))
        elif ddi.manner == "longer":
            piece = data[start : end + 9]
        self._send(206, piece, {"Content-Range": shown})

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        endless = self.ddi.manner == "endless"
        if not endless:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        whole = data
        if self.ddi.manner == "cut" and len(data) > 50_000:
            data = data[:30_000]
        if self.ddi.manner == "slow":
            for at in range(0, len(data), 4):
                time.sleep(0.2)
                self._write(data[at : at + 4])
            return
        self._write(data)
        if endless or len(data) < len(whole):
            self.close_connection = True
        end = time.monotonic() + 20
        while endless and time.monotonic() < end:
            if not self._write(bytes(1 << 16)):
                break

    def _write(self, data: bytes) -> bool:
        try:
            self.wfile.write(data)
        except OSError:
            return False
        self.ddi.sent += len(data)
        return True

    def do_PUT(self) -> None:
        body = self._body()
        if self._is_faulty(body) or self._refuses():
            return
        if self.path != "/t/controller/v1/pi/configData":
            self._status(404)
            return
        self.ddi.attributes = body["data"]
        self._json({})

    def do_POST(self) -> None:
        body = self._body()
        if self._is_faulty(body) or self._refuses():
            return
        if self.path.startswith(f"{_CONFIRMATION}/"):
            self._status(self._confirm(self.path.removeprefix(f"{_CONFIRMATION}/"), body))
            return
        known = _FEEDBACK.fullmatch(self.path)
        if self.ddi.gone or not known or known[2] != str(self.ddi.action):
            self._status(410 if self.ddi.gone else 404)
            return
        status = body["status"]
        execution, finished = status["execution"], status["result"]["finished"]
        if execution != "closed" and len(self.ddi.reports) >= self.ddi.room:
            self._status(403)
            return
        if execution == "closed" and self.ddi.lost_reports:
            self.ddi.lost_reports -= 1
            self._status(503)
            return
        self.ddi.reports.append((execution, finished, " ".join(status["details"])))
        if len(self.ddi.reports) == self.ddi.cancel_after:
            self.ddi.cancel = True
        if known[1] == "cancelAction":
            self.ddi.cancel, self.ddi.bundle = False, None
        elif execution == "closed":
            self.ddi.bundle = None
        self._json({})

    def _confirm(self, place: str, body: Any) -> int:
        """Take an answer, or what turns auto-confirm on or off; return the status."""
        ddi = self.ddi
        if ddi.auto is None:
            return 404
        if place == "activateAutoConfirm":
            status, ddi.auto = (409 if ddi.auto else 200), True
            return status
        if place == "deactivateAutoConfirm":
            ddi.auto = False
            return 200
        if place != f"{ddi.action}/feedback":
            return 404
        if not self._waits:
            return 410
        ddi.confirmations.append((body["confirmation"], " ".join(body["details"])))
        return 200

    def _refuses(self) -> bool:
        if self.ddi.token and self.headers.get("Authorization") != self.ddi.token:
            self._status(401)
            return True
        if self.ddi.fails:
            self._status(self.ddi.fails.pop(0), self.ddi.headers)
            return True
        return False

    def _body(self) -> Any:
        """Return what the request brings; None if that is nothing."""
        content = self.rfile.read(int(self.headers["Content-Length"]))
        return json.loads(content) if content else None

    def _is_faulty(self, body: object) -> bool:
        found = list(request_faults(self.command, self.path, dict(self.headers), body))
        self.ddi.faults += found
        if found:
            self._status(400)
        return bool(found)

    def _json(self, value: object) -> None:
        self.ddi.faults += answer_faults(self.command, self.path, value)
        data = (self.ddi.raw or json.dumps(value)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.ddi.cut_answers:
            self.ddi.cut_answers -= 1
            self.close_connection = True
            return
        self.wfile.write(data)

    def _status(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def ddi_server(keys: Pair | None = None) -> Iterator[Ddi]:
    """Run the server in a thread of its own; with https if it has keys."""
    ddi = Ddi()
    handler = type("Handler", (_Handler,), {"ddi": ddi})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    ddi.url = f"http://127.0.0.1:{server.server_address[1]}"
    if keys is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(keys.certificate, keys.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        ddi.url = ddi.url.replace("http", "https")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield ddi
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert not ddi.faults, ddi.faults
