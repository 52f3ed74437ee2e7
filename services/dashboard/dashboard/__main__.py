"""``python3 -m dashboard``: the page of a Pi, until SIGTERM."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Mapping

from sensorkit.outputs.server import WebServer

from dashboard import sensors
from dashboard.app import App
from dashboard.control import SHORTEST_TOKEN, Control
from dashboard.host import host
from dashboard.root import Root
from dashboard.samples import PERIOD_SECONDS, Samples
from dashboard.services import services

_HERE = os.path.dirname(__file__)  # noqa: PTH120 -- pathlib is dear in memory
_DYGRAPHS = "/usr/share/javascript/dygraphs"
FILES = {
    "/": f"{_HERE}/page.html",
    "/page.css": f"{_HERE}/page.css",
    "/page.js": f"{_HERE}/page.js",
    "/dygraph.css": f"{_DYGRAPHS}/dygraph.min.css",
    "/dygraph.js": f"{_DYGRAPHS}/dygraph.min.js",
}


def options(environment: Mapping[str, str]) -> tuple[str, int, str, dict[str, int]]:
    """Return address, port, token and sensors; raises ValueError that says what is wrong."""
    address, _, port = environment.get("DASHBOARD_LISTEN", "0.0.0.0:8088").rpartition(":")
    if not address or not port.isdigit() or int(port) > 65535:
        raise ValueError("DASHBOARD_LISTEN is not ADDRESS:PORT")
    token = environment.get("DASHBOARD_TOKEN", "")
    if token and (len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable()):
        raise ValueError(f"DASHBOARD_TOKEN needs at least {SHORTEST_TOKEN} ASCII characters")
    try:
        found = sensors.ports(environment.get("DASHBOARD_SENSORS", ""))
    except ValueError as error:
        raise ValueError(f"DASHBOARD_SENSORS: {error}") from None
    return address, int(port), token, found


def serve(environment: Mapping[str, str], stop: threading.Event) -> None:
    """Serve until `stop` is set; raises ValueError as `options`, OSError if the port is taken."""
    address, port, token, found = options(environment)
    root = Root(environment.get("DASHBOARD_ROOT", "/"))
    samples = Samples()
    app = App(root, samples, Control(root, token), found, FILES)
    web = WebServer(address, port, app.respond)
    web.start()
    print(f"dashboard: listening on {address}:{web.address[1]}", flush=True)  # noqa: T201
    try:
        while not stop.is_set():
            state = host(root)
            samples.add(time.time(), state.uptime_seconds, state, services(root))
            stop.wait(PERIOD_SECONDS)
    finally:
        web.stop()


def main() -> int:
    """Run until SIGTERM; return the exit code."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        serve(os.environ, stop)
    except (ValueError, OSError) as error:
        print(f"dashboard: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
