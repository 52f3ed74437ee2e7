"""The dashboard as a process on a scratch root."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.dashboard import ScratchPi
from tests.system.sensorkit.conftest import ROOT, Process, free_port, until

TOKEN = "correct horse battery"
FOLDERS = ("libraries/sensorkit", "services/dashboard")


@pytest.fixture
def pi(tmp_path: Path) -> ScratchPi:
    return ScratchPi(tmp_path / "pi")


@pytest.fixture
def dashboard(pi: ScratchPi) -> Iterator[Process]:
    with ExitStack() as stack:
        yield start(pi, stack, DASHBOARD_TOKEN=TOKEN)


def start(pi: ScratchPi, stack: ExitStack, **variables: str) -> Process:
    """Start the dashboard with variables; it answers when this returns."""
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in FOLDERS),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MALLOC_ARENA_MAX": "1",
        "DASHBOARD_LISTEN": f"127.0.0.1:{port}",
        "DASHBOARD_ROOT": str(pi.folder),
        **variables,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "dashboard"], env=environment, stdout=subprocess.PIPE, text=True
    )

    def end() -> None:
        process.terminate()
        process.wait(20)

    stack.callback(end)
    service = Process(port, process)
    until(lambda: service.get("/healthz")[0] == 200)
    return service
