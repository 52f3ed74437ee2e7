"""The paths of the dashboard."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sensorkit.outputs.server import Request, Response

from dashboard import logs, sensors
from dashboard.control import OPERATIONS, Control
from dashboard.host import host
from dashboard.metrics import CONTENT_TYPE, exposition
from dashboard.root import Root
from dashboard.samples import Samples
from dashboard.services import Service, is_service, services

# dygraphs writes style attributes.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
}
_PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class App:
    """Everything that the paths need; `files` are those of the page, by path."""

    root: Root
    samples: Samples
    control: Control
    sensors: Mapping[str, int]
    files: Mapping[str, str]
    pause: Callable[[float], None] = time.sleep

    def respond(self, request: Request) -> Response:
        """Return the response to a request."""
        parts = tuple(request.path.strip("/").split("/"))
        if request.method == "POST":
            return self._post(request, parts)
        if request.method not in ("GET", "HEAD"):
            return _refusal(405, "only GET, HEAD and POST")
        return self._get(request, parts)

    # --- reading

    def _get(self, request: Request, parts: tuple[str, ...]) -> Response:
        if request.path in self.files:
            return _file(self.files[request.path])
        plain: dict[str, Callable[[], Response]] = {
            "/metrics": self._metrics,
            "/healthz": lambda: Response(b"{}"),
            "/api/state": lambda: _json(self._state()),
            "/api/history": lambda: _json(self.samples.series()),
        }
        if request.path in plain:
            return plain[request.path]()
        match parts:
            case ("api", "logs", name):
                return self._log(name, request.query)
            case ("api", "sensors", name, "current" | "history" as kind):
                return self._sensor(name, f"/api/{kind}")
        return _refusal(404, "no such path")

    def _metrics(self) -> Response:
        return Response(exposition(host(self.root), services(self.root)), CONTENT_TYPE)

    def _state(self) -> dict[str, Any]:
        percent = self.samples.cpu_percent()
        return {
            "host": asdict(host(self.root)),
            "services": [_row(service, percent) for service in services(self.root)],
            "sensors": list(self.sensors),
            "control": self.control.is_open,
        }

    def _log(self, name: str, query: str) -> Response:
        if not is_service(self.root, name):
            return _refusal(404, "no such service")
        part = logs.read(self.root, name, query.removeprefix("after="))
        if part is None:
            return _refusal(404, "there is no log here; `piimage logs` shows a log that is kept")
        return _json(asdict(part))

    def _sensor(self, name: str, path: str) -> Response:
        if name not in self.sensors:
            return _refusal(404, "no such sensor")
        try:
            return Response(sensors.ask(self.sensors[name], path))
        except OSError as error:
            return _refusal(502, f"{name} does not answer: {error}")

    # --- changing

    def _post(self, request: Request, parts: tuple[str, ...]) -> Response:
        if not self.control.is_open:
            return _refusal(403, "this page is read-only: the Pi has no DASHBOARD_TOKEN")
        if not self.control.knows(request.headers.get("authorization", "")):
            self.pause(_PAUSE_SECONDS)  # whoever guesses tries few tokens a second
            return _refusal(401, "the token is wrong")
        match parts:
            case ("api", "token"):
                return Response(b"{}")
            case ("api", "services", name, operation) if operation in OPERATIONS:
                return self._change(operation, name)
        return _refusal(404, "no such path")

    def _change(self, operation: str, name: str) -> Response:
        if not is_service(self.root, name):
            return _refusal(404, "no such service")
        try:
            self.control.request(operation, name)
        except OSError as error:
            return _refusal(503, f"the request cannot be passed on: {error.strerror}")
        return Response(b"{}", status=202)


def _row(service: Service, percent: Mapping[str, float]) -> dict[str, Any]:
    cpu = percent.get(service.name)
    return {
        **asdict(service),
        "is_up": service.is_up,
        "cpu_percent": None if cpu is None else round(cpu, 1),
    }


def _file(path: str) -> Response:
    with open(path, "rb") as file:  # noqa: PTH123
        body = file.read()
    return Response(body, _TYPES[path.rpartition(".")[2]], policy=_POLICY, cache="no-cache")


def _json(document: dict[str, Any]) -> Response:
    return Response(json.dumps(document, separators=(",", ":")).encode())


def _refusal(status: int, text: str) -> Response:
    return Response(json.dumps({"error": text}).encode(), status=status)
