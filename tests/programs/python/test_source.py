"""Source archives built to wheels: the step by a bubblewrap that only changes folders."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from piimage.debian.package import Package
from piimage.errors import PiimageError
from piimage.lock import Lock, LockedRoot, LockedWheel
from piimage.lock.roots import is_for_building
from piimage.python import inside
from piimage.python.source import BuiltWheel, built_wheel, source_requests, wheel_name
from piimage.python.target import Target
from piimage.steps import Builder
from piimage.store import Blob, Store
from tests.unit.toolchain.fakes import BWRAP, runner_with, tool

TARGET = Target(13, 41)
FITTING = "thing-1.0-cp313-cp313-linux_aarch64.whl"
INSIDE = Path(inside.__file__)
BACKEND = b"""
from pathlib import Path
def build_wheel(folder):
    Path(folder, "thing-1.0-py3-none-any.whl").write_text(Path("hello.c").read_text())
    return "thing-1.0-py3-none-any.whl"
"""


def sdist(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def lock(store: Store) -> Lock:
    """A lock whose every root has one and the same small package."""
    deb = tool(store, "tool", {"usr/bin/python3": b"#!"}).deb
    package = Package("tool", "1", "all", "p/x", deb.size, deb.sha256, "tool", "1", "trixie")
    roots = tuple(
        LockedRoot(
            request.root, request.packages, request.without, request.architecture, (package.key,)
        )
        for request in source_requests()
    )
    return Lock(roots=roots, packages=(package,))


def step(store: Store, target: Target = TARGET) -> BuiltWheel:
    blob = store.add_bytes(b"archive")
    source = LockedWheel("thing", "1.0", "thing-1.0.tar.gz", blob.size, blob.sha256)
    return built_wheel(source, target, lock(store), "x86_64")


def build(store: Store, folder: Path, script: str) -> Mapping[str, Blob]:
    """Build with a sandbox whose program is `script` instead of the package's build."""
    runner = runner_with(folder / "bin", BWRAP.replace('exec "$@"', script))
    building = step(store)
    return Builder(store, runner).build(building).made[building.key]


def test_the_wheel_is_the_only_output(store: Store, tmp_path: Path) -> None:
    made = build(store, tmp_path, f"mkdir dist; cat thing-1.0.tar.gz >dist/{FITTING}")
    assert wheel_name(made) == FITTING
    assert store.verified(made[f"dist/{FITTING}"]).read_bytes() == b"archive"


def test_the_build_is_told_that_it_is_for_the_target(store: Store, tmp_path: Path) -> None:
    names = "$_PYTHON_SYSCONFIGDATA_NAME $_PYTHON_HOST_PLATFORM $CC"
    made = build(store, tmp_path, f"mkdir dist; echo {names} >dist/{FITTING}")
    output = store.verified(made[f"dist/{FITTING}"]).read_text().split()
    assert output == [
        "_sysconfigdata__aarch64-linux-gnu", "linux-aarch64", "aarch64-linux-gnu-gcc-14",
    ]  # fmt: skip


@pytest.mark.provokes("python.source-failed")
@pytest.mark.parametrize(
    ("script", "output"),
    [
        ("seq 99; echo 'thing.c:3: oops' >&2; exit 1", "98\n  99\n  thing.c:3: oops"),
        ("exit 0", "made no dist"),
        (f"mkdir dist; touch dist/{FITTING} dist/two.whl", "made 2 wheels"),
        ("mkdir dist; touch dist/what.whl", "'what'"),
        ("mkdir dist; touch dist/other-1.0-py3-none-any.whl", "not a wheel of thing 1.0"),
        ("mkdir dist; touch dist/thing-1.1-py3-none-any.whl", "not a wheel of thing 1.0"),
        ("mkdir dist; touch dist/thing-1.0-cp313-cp313-linux_x86_64.whl", "linux_x86_64"),
    ],
)
def test_a_build_that_fails_says_how(
    store: Store, tmp_path: Path, script: str, output: str
) -> None:
    with pytest.raises(PiimageError) as caught:
        build(store, tmp_path, script)
    assert caught.value.code == "python.source-failed"
    assert caught.value.place == "thing 1.0"
    assert output in caught.value.message


@pytest.mark.provokes("python.source-platform")
def test_no_compiler_is_there_for_other_targets(store: Store) -> None:
    with pytest.raises(PiimageError, match="only for arm64, not for amd64"):
        step(store, Target(13, 41, "amd64"))


def test_nothing_that_builds_is_shipped() -> None:
    assert all(is_for_building(request.root) for request in source_requests())
    assert {request.architecture for request in source_requests()} == {"amd64", "arm64"}


# --- the program that runs in the sandbox


def run(folder: Path, files: Mapping[str, bytes]) -> subprocess.CompletedProcess[str]:
    (folder / "x.tar.gz").write_bytes(sdist(files))
    command = [sys.executable, "-sP", str(INSIDE), "x.tar.gz", "dist"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_packages_own_backend_is_called_in_its_folder(tmp_path: Path) -> None:
    project = b'[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["b"]\n'
    files = {"t/pyproject.toml": project, "t/b/own.py": BACKEND, "t/hello.c": b"int x;"}
    done = run(tmp_path, files)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "dist" / "thing-1.0-py3-none-any.whl").read_text() == "int x;"


def test_an_archive_does_not_leave_its_folder(tmp_path: Path) -> None:
    done = run(tmp_path, {"t/x": b"", "../evil": b"evil"})
    assert done.returncode != 0
    assert not (tmp_path / "evil").exists()


def test_what_the_toolchain_lacks_is_named(tmp_path: Path) -> None:
    project = b'[build-system]\nrequires = ["setuptools>=61", "Cython >= 3", "wheel"]\n'
    done = run(tmp_path, {"t/pyproject.toml": project})
    assert done.stderr == "its build needs Cython, but the toolchain has only setuptools\n"


def test_what_the_backend_asks_for_and_is_not_there_is_named(tmp_path: Path) -> None:
    project = b'[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n'
    own = BACKEND + b'def get_requires_for_build_wheel():\n    return ["cffi>=1.0"]\n'
    done = run(tmp_path, {"t/pyproject.toml": project, "t/own.py": own, "t/hello.c": b""})
    assert done.stderr == "its build needs cffi, but the toolchain has only setuptools\n"


def test_without_a_description_it_is_setuptools(tmp_path: Path) -> None:
    legacy: tuple[str, list[str]] = ("setuptools.build_meta:__legacy__", [])
    assert inside.backend_of(tmp_path / "pyproject.toml") == legacy
    (tmp_path / "pyproject.toml").write_text('[build-system]\nrequires = ["setuptools"]\n')
    assert inside.backend_of(tmp_path / "pyproject.toml") == legacy
