"""Built twice, under everything different that a build must not depend on: the same bytes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from piimage.lock import read_lock
from piimage.store import Store
from tests.system.conftest import PIIMAGE, ROOT, Built

NOBODY = 65534


def packages_only(source: Path, lock: Path, target: Path) -> None:
    """A new store that holds the locked packages and nothing that was made of them."""
    full, new = Store(source), Store(target)
    for package in read_lock(lock).packages:
        if full.has(package.blob):
            shutil.copy(full.path(package.blob), new.path(package.blob))


def own(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


@pytest.mark.parametrize("example", ["pi4", "zero2w"])
def test_another_user_folder_store_umask_locale_and_time_zone_give_the_same_bytes(
    built: Built, piimage_store: Path, tmp_path_factory: pytest.TempPathFactory, example: str
) -> None:
    first = built(example)
    # Another user has to reach it: not below pytest's folder, which only root may enter.
    home = Path("/var/tmp") / f"piimage-other-{os.getpid()}-{example}"
    shutil.copytree(ROOT / "examples", home / "elsewhere" / "deeper")
    try:
        lock = first.parents[1] / "examples" / f"{example}.lock"
        shutil.copy(lock, home / "elsewhere" / "deeper" / lock.name)
        packages_only(piimage_store, lock, home / "store")
        own(home)
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(home), "PIIMAGE_STORE": str(home / "store"),
            "TZ": "Pacific/Chatham", "LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8",
            "PYTHONHASHSEED": "7", "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        yml = home / "elsewhere" / "deeper" / f"{example}.yml"
        done = subprocess.run(
            ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups",
             PIIMAGE, "build", "--offline", yml, "-o", home / "results"],
            env=environment, umask=0o077, cwd=home, capture_output=True, text=True, check=False,
            timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        second = home / "results" / first.name
        for suffix in (".manifest.json", ".sbom.spdx.json", ".sbom.cdx.json", ".bmap"):
            assert first.with_suffix(suffix).read_bytes() == second.with_suffix(suffix).read_bytes()
        subprocess.run(["cmp", first, second], check=True)
    finally:
        shutil.rmtree(home)


def test_nothing_is_written_when_nothing_changed(
    built: Built, piimage_store: Path, project_folder: Path
) -> None:
    image = built("pi4")

    def again() -> str:
        done = subprocess.run(
            [PIIMAGE, "build", project_folder / "examples" / "pi4.yml", "-o", image.parent],
            env={**os.environ, "PIIMAGE_STORE": str(piimage_store)},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stderr

    again()  # other tests may have touched the folder since it was built
    before = image.stat()
    assert "nothing changed" in again()
    assert (image.stat().st_ino, image.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
