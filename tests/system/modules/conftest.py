"""An appliance with modules built out of tree, its lock, and the command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import smbus2

from piimage.emulator.session import Options, boot
from piimage.firmware.manifest import board_of
from piimage.run import Runner
from piimage.testing.shell import Shell, card_with_key
from tests.system.boot.conftest import PATIENCE, Pi
from tests.system.conftest import ROOT

PIIMAGE = Path(sys.executable).with_name("piimage")

Command = Callable[[Sequence[str | Path]], "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The appliance beside a copy of the module folders, so that nothing lands in either."""
    target = tmp_path_factory.mktemp("modules")
    ignored = shutil.ignore_patterns("*.lock", "*.ko")
    shutil.copytree(Path(__file__).parent / "appliance", target, dirs_exist_ok=True)
    shutil.copytree(ROOT / "kernel-modules", target / "kernel-modules", ignore=ignored)
    packages = [ROOT / "libraries" / name / name for name in ("chipmodels", "sensorkit")]
    with zipfile.ZipFile(target / "chipmodels.zip", "w") as archive:
        for package in [*packages, Path(smbus2.__file__).parent]:
            for path in sorted(package.rglob("*.py")):
                archive.write(path, path.relative_to(package.parent))
        archive.write(Path(__file__).with_name("oracle.py"), "oracle.py")
    return target


@pytest.fixture(scope="session")
def piimage(piimage_store: Path, folder: Path) -> Command:
    """The command, run beside the appliance."""

    def run(arguments: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PIIMAGE, *arguments],
            env={**os.environ, "PIIMAGE_STORE": str(piimage_store)},
            cwd=folder, capture_output=True, text=True, timeout=850, check=False,
        )  # fmt: skip

    return run


@pytest.fixture(scope="session")
def image(piimage: Command, folder: Path) -> Path:
    """The appliance's card."""
    done = piimage(["build", "modules.yml", "-o", "out"])
    assert done.returncode == 0, done.stderr
    return folder / "out" / "modules.img"


@pytest.fixture(scope="session")
def pi(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pi]:
    """The appliance, up in the emulator."""
    runner = Runner()
    board = board_of(image)
    card, key = card_with_key(runner, image, board, tmp_path_factory.mktemp("card"))
    with boot(card, board, runner, Options(disk_size=2 << 30, ssh_port=0)) as session:
        assert session.ssh_port is not None
        session.wait_for("piimage: service sshd: running", PATIENCE)
        shell = Shell(runner, key, session.ssh_port)
        shell.wait(PATIENCE)
        yield Pi(session, board, shell)
