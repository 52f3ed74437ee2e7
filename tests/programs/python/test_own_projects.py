"""The Python projects of this repository, which anybody may build in a checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BUILD = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"


def files(top: Path) -> set[str]:
    return {str(path.relative_to(top)) for path in top.rglob("*")}


@pytest.mark.parametrize(
    ("folder", "contents"),
    [
        ("libraries/chipmodels", {"chipmodels/py.typed", "chipmodels/testing/plugin.py"}),
        ("libraries/sensorkit", {"sensorkit/py.typed", "sensorkit/outputs/page.html"}),
        ("services/bmp280", {"bmp280/__main__.py"}),
        ("services/envirophat", {"envirophat/__main__.py"}),
        ("services/sensors", {"sensors/__main__.py"}),
        ("services/dashboard", {"dashboard/__main__.py", "dashboard/page.js"}),
        ("services/goosebit", {"goosebit_pi/__main__.py"}),
    ],
)
def test_a_wheel_leaves_nothing_behind_in_the_checkout(
    folder: str, contents: set[str], tmp_path: Path
) -> None:
    # pytest finds the entry points of an egg-info in a folder on its path, and loads the plugin.
    assert 'build-backend = "hatchling.build"' in (ROOT / folder / "pyproject.toml").read_text()
    checkout = tmp_path / "checkout"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    shutil.copytree(ROOT / folder, checkout, ignore=ignored)
    before = files(checkout)
    words = [sys.executable, "-P", "-B", "-c", BUILD, str(tmp_path)]
    done = subprocess.run(words, cwd=checkout, check=True, capture_output=True, text=True)
    assert files(checkout) == before
    with zipfile.ZipFile(tmp_path / done.stdout.split()[-1]) as wheel:
        assert contents <= set(wheel.namelist())
