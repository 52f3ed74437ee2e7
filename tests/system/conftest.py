"""What the machine is; and card images of the examples, built once a run, packages fetched once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.system.guests import engines, in_guest, processor

ROOT = Path(__file__).parents[2]
PIIMAGE = Path(sys.executable).with_name("piimage")

Built = Callable[[str], Path]


def pytest_sessionstart(session: pytest.Session) -> None:
    """Say at the top of the log what the machine is; pytest's own header is left out by -q."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and not in_guest(session.config):
        reporter.write_line(f"processor: {processor()}; guests start in: {', '.join(engines())}")


@pytest.fixture(scope="session")
def piimage_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of all tests that build: PIIMAGE_STORE, else one for all workers of this run."""
    kept = os.environ.get("PIIMAGE_STORE")
    if kept:
        return Path(kept)
    base = tmp_path_factory.getbasetemp()
    store = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "piimage-store"
    store.mkdir(mode=0o700, exist_ok=True)
    return store


@pytest.fixture(scope="session")
def project_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the examples, so that their locks do not land in the repository."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("examples", "services", "kernel-modules"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.lock"))
    return folder


@pytest.fixture(scope="session")
def built(piimage_store: Path, project_folder: Path) -> Built:
    """Build `examples/NAME.yml` with the command, once a run; the path of its image."""

    @cache
    def build(example: str) -> Path:
        out = project_folder / "out"
        file = project_folder / "examples" / f"{example}.yml"
        environment = {**os.environ, "PIIMAGE_STORE": str(piimage_store)}
        done = subprocess.run(
            [PIIMAGE, "build", file, "-o", out],
            env=environment, capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return out / f"{example}.img"

    return build
