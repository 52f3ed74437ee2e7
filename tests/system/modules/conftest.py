"""An appliance with modules built out of tree, its lock, and the command."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import smbus2

from tests.system.boot.conftest import Command, Pi, command_in, up
from tests.system.conftest import ROOT


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
    return command_in(folder, piimage_store)


@pytest.fixture(scope="session")
def image(piimage: Command, folder: Path) -> Path:
    """The appliance's card."""
    done = piimage(["build", "modules.yml", "-o", "out"])
    assert done.returncode == 0, done.stderr
    return folder / "out" / "modules.img"


@pytest.fixture(scope="session")
def pi(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pi]:
    """The appliance, up in the emulator."""
    with up(image, tmp_path_factory.mktemp("card")) as found:
        yield found
