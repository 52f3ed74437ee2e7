"""Whole services on models: promtool, the page in a browser, memory and processor time."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.sensorkit.conftest import Process, until

Serve = Callable[..., Process]


@pytest.mark.parametrize("name", ["bmp280", "envirophat"])
def test_promtool_accepts_the_metrics(name: str, serve: Serve) -> None:
    service = serve(name)
    metrics = service.get("/metrics")[1]
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=metrics, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("name", ["bmp280", "envirophat"])
def test_the_page_shows_planted_values(name: str, serve: Serve, tmp_path: Path) -> None:
    service = serve(name, **{f"{name.upper()}_HISTORY_HOURS": "0.2"})
    until(lambda: len(service.json("/api/history")["series"][0]["points"]) >= 5)
    shot = Path(os.environ.get("SCREENSHOTS", str(tmp_path))) / f"{name}.png"
    page = _chromium(tmp_path, f"--screenshot={shot}", "--dump-dom", _url(service))
    assert ">23.4" in page or ">23.5" in page
    assert "all sensors are well" in page
    assert page.count("<canvas") >= 4  # dygraphs draws each plot on two
    assert shot.read_bytes().startswith(b"\x89PNG")


def _url(service: Process) -> str:
    return f"http://127.0.0.1:{service.port}/"


def _chromium(folder: Path, *arguments: str) -> str:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    assert program, "chromium is not installed: apt-get install chromium"
    common = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")
    size = ("--window-size=1000,760", "--virtual-time-budget=4000")
    return subprocess.run(
        [program, *common, *size, f"--user-data-dir={folder / 'profile'}", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout


@pytest.mark.parametrize("name", ["bmp280", "envirophat"])
def test_memory_and_processor_stay_small(name: str, serve: Serve) -> None:
    """Under 31 MB resident and under 1 % of a core at one sample a second, with every output.

    Measured: 29 MB with Python 3.11, 30.3 MB with 3.13 (Debian 13).
    """
    # No broker answers at the address: the outputs are loaded and try to connect.
    service = serve(name, MQTT_HOST="127.0.0.1", MQTT_PORT="1")
    for path in ("/metrics", "/", "/api/history"):
        assert service.get(path)[0] == 200
    before = _cpu_seconds(service)
    time.sleep(20)
    used = (_cpu_seconds(service) - before) / 20
    resident = _resident_megabytes(service)
    print(f"{name}: {resident:.1f} MB resident, {100 * used:.2f} % of a core")  # noqa: T201
    assert resident < 31
    assert used < 0.01


def _cpu_seconds(service: Process) -> float:
    fields = Path(f"/proc/{service.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_megabytes(service: Process) -> float:
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024 / 1e6
