"""The dashboard's paths: what everybody may see, and what needs the token."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dashboard.__main__ import FILES, options
from dashboard.app import App
from dashboard.control import Control
from dashboard.root import Root
from dashboard.samples import Samples
from dashboard.sensors import ask, ports
from prometheus_client.parser import text_string_to_metric_families
from sensorkit.outputs.server import Request, Response, WebServer

from tests.dashboard import DIGEST, ScratchPi

TOKEN = "correct horse battery"


class Bench:
    """The dashboard of a scratch Pi, and the pauses that it made."""

    def __init__(self, folder: Path, token: str = TOKEN) -> None:
        self.pi = ScratchPi(folder)
        self.pauses: list[float] = []
        root = Root(str(folder))
        files = {"/": str(Path(FILES["/"]))}
        control = Control(root, token)
        self.app = App(root, Samples(), control, {"bmp280": 1}, files, self.pauses.append)

    def get(self, path: str, query: str = "") -> Response:
        return self.app.respond(Request("GET", path, query))

    def json(self, path: str, query: str = "") -> Any:
        return json.loads(self.get(path, query).body)

    def post(self, path: str, token: str | None = TOKEN) -> int:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        return self.app.respond(Request("POST", path, headers=headers)).status


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "pi")


def test_the_page_runs_its_own_scripts_only(bench: Bench) -> None:
    page = bench.get("/")
    assert page.content_type == "text/html; charset=utf-8"
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in page.policy
    assert "frame-ancestors 'none'" in page.policy
    assert b"http://" not in page.body
    assert b"https://" not in page.body
    assert b" style=" not in page.body


def test_the_state_has_the_pi_its_services_and_its_sensors(bench: Bench) -> None:
    state = bench.json("/api/state")
    assert state["host"]["name"] == "greenhouse"
    assert state["sensors"] == ["bmp280"]
    assert state["control"] is True
    rows = {row["name"]: row for row in state["services"]}
    assert (rows["web"]["health"], rows["web"]["memory_bytes"]) == ("healthy", 23_500_000)
    assert TOKEN not in bench.get("/api/state").body.decode()


@pytest.mark.parametrize(
    "path",
    ["/x", "/api", "/api/logs", "/api/logs/", "/api/logs/..", "/api/logs/../../x",
     "/api/logs/nobody", "/api/sensors/nobody/current", "/api/sensors/bmp280/other",
     "/../etc/passwd", "/page.html"],
)  # fmt: skip
def test_paths_that_do_not_exist(bench: Bench, path: str) -> None:
    assert bench.get(path).status == 404


def test_a_log_and_what_comes_after_it(bench: Bench) -> None:
    part = bench.json("/api/logs/web")
    assert part["text"] == "web: first line\nweb: last line\n"
    assert bench.json("/api/logs/web", f"after={part['cursor']}")["text"] == ""


# --- metrics


def test_the_metrics_of_the_host_and_of_each_container(bench: Bench) -> None:
    text = bench.get("/metrics").body.decode()
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    expected = {
        ("piimage_info", "pi4", "6.12.118+deb13-arm64", "partition 2", DIGEST): 1,
        ("piimage_uptime_seconds",): 93784.25,
        ("piimage_temperature_celsius",): 48.7,
        ("piimage_low_voltage",): 0,
        ("piimage_memory_available_bytes",): 1_536_000_000,
        ("piimage_container_cpu_seconds_total", "web"): 61.5,
        ("piimage_container_memory_bytes", "web"): 23_500_000,
        ("piimage_container_oom_kills_total", "web"): 2,
        ("piimage_container_processes", "web"): 5,
        ("piimage_container_restarts_total", "pump"): 3,
        ("piimage_container_up", "web"): 1,
        ("piimage_container_up", "pump"): 0,
        ("piimage_container_state", "pump", "back-off"): 1,
        ("piimage_container_state", "pump", "running"): 0,
    }
    assert {key: found.get(key) for key in expected} == expected
    assert ("piimage_throttled",) not in found  # Debian's kernel does not tell
    assert ("piimage_container_memory_bytes", "mdns") not in found


def test_quotes_in_a_label_stay_in_the_label(bench: Bench) -> None:
    bench.pi.write("proc/sys/kernel/osrelease", 'a"b\\c\n')
    text = bench.get("/metrics").body.decode()
    (info,) = (f for f in text_string_to_metric_families(text) if f.name == "piimage_info")
    assert info.samples[0].labels["kernel"] == 'a"b\\c'


# --- control


@pytest.mark.parametrize("operation", ["restart", "start", "stop"])
def test_with_the_token_a_request_goes_to_the_runner(bench: Bench, operation: str) -> None:
    pipe = bench.pi.open_pipe()
    assert bench.post(f"/api/services/web/{operation}") == 202
    assert os.read(pipe, 100) == f"{operation} web\n".encode()
    os.close(pipe)


@pytest.mark.parametrize(
    "token", [None, "", "wrong", "correct horse batter", "correct horse battery1", "é" * 21]
)
def test_a_wrong_token_costs_a_second_and_changes_nothing(bench: Bench, token: str | None) -> None:
    pipe = bench.pi.open_pipe()
    assert bench.post("/api/services/web/restart", token) == 401
    assert bench.pauses == [1.0]
    assert os.read(pipe, 100) == b""
    os.close(pipe)


@pytest.mark.parametrize("token", ["", TOKEN])
def test_without_a_token_of_the_card_nobody_can_change_anything(tmp_path: Path, token: str) -> None:
    bench = Bench(tmp_path / "pi", token="")
    assert bench.post("/api/services/web/restart", token) == 403
    assert bench.json("/api/state")["control"] is False


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/services/nobody/restart", 404),
        ("/api/services/web/reload", 404),
        ("/api/services/web/restart/x", 404),
        ("/api/services/web\n/stop", 404),
        ("/api/services/../web/restart", 404),
        ("/api/token", 200),
    ],
)
def test_what_else_is_posted(bench: Bench, path: str, status: int) -> None:
    assert bench.post(path) == status


def test_without_the_runner_the_request_fails(bench: Bench) -> None:
    assert bench.post("/api/services/web/restart") == 503  # there is no pipe
    os.close(bench.pi.open_pipe())
    assert bench.post("/api/services/web/restart") == 503  # nobody reads it


def test_other_methods_are_refused(bench: Bench) -> None:
    assert bench.app.respond(Request("DELETE", "/api/services/web")).status == 405


# --- sensors


def served(respond: Callable[[Request], Response]) -> WebServer:
    server = WebServer("127.0.0.1", 0, respond)
    server.start()
    return server


def test_a_sensor_s_values_are_passed_on() -> None:
    server = served(lambda request: Response(json.dumps({"path": request.path}).encode()))
    try:
        assert ask(server.address[1], "/api/current") == b'{"path": "/api/current"}'
    finally:
        server.stop()


@pytest.mark.slow
@pytest.mark.parametrize("answer", [Response(b"{}", status=503), Response(b"x" * (2 << 20))])
def test_a_bad_answer_of_a_sensor_is_an_error(answer: Response) -> None:
    server = served(lambda _: answer)
    try:
        with pytest.raises(OSError, match="it answer"):
            ask(server.address[1], "/api/current")
    finally:
        server.stop()


def test_a_sensor_that_does_not_answer(bench: Bench) -> None:
    response = bench.get("/api/sensors/bmp280/current")
    assert response.status == 502
    assert b"bmp280 does not answer" in response.body


# --- options


def test_options_and_their_defaults() -> None:
    assert options({}) == ("0.0.0.0", 8088, "", {})
    assert options(
        {
            "DASHBOARD_LISTEN": "127.0.0.1:80",
            "DASHBOARD_TOKEN": TOKEN,
            "DASHBOARD_SENSORS": "bmp280=9280 envirophat=9281",
        }
    ) == ("127.0.0.1", 80, TOKEN, {"bmp280": 9280, "envirophat": 9281})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DASHBOARD_LISTEN", "80"), ("DASHBOARD_LISTEN", "x:y"), ("DASHBOARD_LISTEN", "x:65536"),
        ("DASHBOARD_TOKEN", "short"), ("DASHBOARD_TOKEN", "ö" * 20),
        ("DASHBOARD_TOKEN", "a\n" * 20), ("DASHBOARD_SENSORS", "bmp280"),
    ],
)  # fmt: skip
def test_bad_options_are_named(variable: str, value: str) -> None:
    with pytest.raises(ValueError, match=variable):
        options({variable: value})


@pytest.mark.parametrize("text", ["a=0", "a=99999", "=80", "a=80b", "../x=80", "a==80"])
def test_what_is_no_port_of_a_sensor(text: str) -> None:
    with pytest.raises(ValueError, match="is not NAME=PORT"):
        ports(text)
