"""What a person gets from the wheel alone, in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean environment with piimage from its wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", folder, ROOT], check=True)
    (wheel,) = folder.glob("piimage_builder-*.whl")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "-q", "--disable-pip-version-check", "install", wheel]
    subprocess.run(install, check=True)
    return folder / "venv" / "bin" / "piimage"


def test_the_services_of_the_wheel_have_their_libraries(installed: Path, tmp_path: Path) -> None:
    names = ("bmp280", "envirophat", "chipmodels")
    services = "".join(f"  - {{ name: {name}, use: {name} }}\n" for name in names)
    (tmp_path / "shed.yml").write_text(f"board: pi4\nservices:\n{services}")
    subprocess.run([installed, "check", "shed.yml"], cwd=tmp_path, check=True, timeout=60)


def test_the_wheel_builds_a_card_in_an_empty_folder(
    installed: Path, piimage_store: Path, tmp_path: Path
) -> None:
    environment = {**os.environ, "PIIMAGE_STORE": str(piimage_store)}

    def piimage(*arguments: str) -> None:
        command = [installed, *arguments]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=600)

    piimage("new", "greenhouse.yml", "--board", "qemu-virt")
    piimage("check", "greenhouse.yml")
    piimage("build", "greenhouse.yml", "-o", "out")
    assert (tmp_path / "out" / "greenhouse.img").stat().st_size > 1 << 20
