"""The folder of piimage's own container image has all that piimage needs."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from piimage.debian.release import KEYRING_PACKAGE
from piimage.lock import read_lock
from piimage.locking.platforms import LockableFolder
from piimage.pkg.locking import folder
from piimage.pkg.source import open_source, platforms
from piimage.python.project import read_project
from piimage.tools import TOOLS

ROOT = Path(__file__).parents[2]
FOLDER = yaml.safe_load((ROOT / "container/service.yml").read_text())


def test_it_has_the_package_of_every_host_program() -> None:
    needed = {tool.package for tool in TOOLS.values() if not tool.optional} | {KEYRING_PACKAGE}
    assert needed - set(FOLDER["packages"]) == set()


def test_it_has_the_wheels_that_piimage_depends_on() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert FOLDER["wheels"] == project["dependencies"]


def test_it_has_the_data_that_the_wheel_has() -> None:
    paths = {path for path, _, _ in read_project(ROOT).files("3.13")}
    site = "usr/local/lib/python3.13/dist-packages/piimage"
    assert f"{site}/data/boards/pi4.yml" in paths
    assert f"{site}/data/services/hello_world/service.yml" in paths
    assert f"{site}/data/Dockerfile.cross" in paths
    assert "usr/local/bin/piimage" in paths


def test_its_lock_pins_all_that_it_requests_for_both_architectures() -> None:
    """Else update it: piimage pkg build container --context . --platform linux/amd64."""
    source = open_source(ROOT / "container", context=ROOT)
    subject = LockableFolder(folder(source), (), platforms(("linux/amd64",)))
    lock = read_lock(ROOT / "container/service.lock")
    assert subject.requested(lock).missing_from(lock) == ()
    roots = {root.name: root.architecture for root in lock.roots}
    assert roots == {"container/container": "arm64", "container/container@amd64": "amd64"}


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """A stand-in for docker that prints its arguments, each on a line, in an empty home."""
    (tmp_path / "home").mkdir()
    program = tmp_path / "engine"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    return program


def wrapped(engine: Path, *words: str, **variables: str) -> list[str]:
    environment = {
        "PATH": "/usr/bin:/bin", "HOME": str(engine.parent / "home"),
        "PIIMAGE_ENGINE": str(engine), **variables,
    }  # fmt: skip
    done = subprocess.run(
        [ROOT / "container/piimage", *words], cwd=engine.parent, env=environment,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.splitlines()


def test_the_wrapper_passes_every_word_as_it_is(engine: Path) -> None:
    arguments = wrapped(engine, "build", "my pi.yml", "--set", "a=b c", "")
    assert arguments == [
        "run", "--rm", "-i", "-v", f"{engine.parent}:/work", "-v", "piimage-store:/store",
        "--network", "host", "piimage", "build", "my pi.yml", "--set", "a=b c", "",
    ]  # fmt: skip


def test_the_wrapper_passes_keys_mirror_and_image(engine: Path) -> None:
    (engine.parent / "home/.ssh").mkdir()
    arguments = wrapped(
        engine, "new", "x.yml", PIIMAGE_MIRROR="http://m.example", PIIMAGE_IMAGE="a/b:1",
        PIIMAGE_ACCELERATOR="tcg",
    )  # fmt: skip
    # The values stay in the environment.
    assert arguments[7:11] == ["-e", "PIIMAGE_ACCELERATOR", "-e", "PIIMAGE_MIRROR"]
    assert f"{engine.parent}/home/.ssh:/home/user/.ssh" in arguments
    assert arguments[-3:] == ["a/b:1", "new", "x.yml"]
