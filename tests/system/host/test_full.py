"""Every verb that writes, on a disk that fills at several points on its way.

``PIIMAGE_TEST_POINTS=30`` looks at more of them, which takes a quarter of an hour.

Each time one line says where and how much, the exit status is 1, and what is there is whole: files
of the outputs are those of a run with room enough or not there, no drafts are left, and every blob
of the store has the bytes of its name.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import PIIMAGE, ROOT

POINTS = int(os.environ.get("PIIMAGE_TEST_POINTS", "4"))
YAML = "board: qemu-virt\nhostname: full\nfiles: [{ path: etc/motd, contents: hello }]\n"
LINE = re.compile(
    r"((/mnt/run|\.\.)/\S+|pi\.lock): .*(no room is left|no further file can be made).*"
    r"; free some .*"
)
STEP = re.compile(r" *\d+\.\d\d s  .*|locked \d+ packages.* in .*|\S+: sha256:\w+, [\d.]+ MB")
"""What a verb says of what it has done so far."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project and the store of its first build."""
    top = tmp_path_factory.mktemp("filled")
    project = top / "project"
    shutil.copytree(ROOT / "services" / "hello_world", project / "hello_world")
    (project / "pi.yml").write_text(YAML)
    for words in (["build", "pi.yml", "-o", top / "first"], ["pkg", "build", "hello_world"]):
        _piimage(words, project, top / "store")
    shutil.rmtree(top / "first")
    return top


@pytest.fixture(scope="module")
def fetched(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a store that has the packages, and nothing that was made of them."""
    top = tmp_path_factory.mktemp("fetched") / "top"
    shutil.copytree(filled, top)
    shutil.rmtree(top / "store" / "memo")
    shutil.rmtree(top / "store" / "built")
    for blob in (top / "store" / "blobs" / "sha256").iterdir():
        with blob.open("rb") as file:
            if file.read(8) != b"!<arch>\n":
                blob.unlink()
    return top


def _piimage(words: list[Any], folder: Path, store: Path) -> None:
    subprocess.run(
        [PIIMAGE, *words], cwd=folder, env={"PIIMAGE_STORE": str(store), "PATH": "/usr/bin:/bin"},
        check=True, capture_output=True, timeout=900,
    )  # fmt: skip


def fill(before: Path, words: list[str], share: float, points: int = POINTS) -> dict[str, Any]:
    asked = {"before": str(before), "argv": [str(PIIMAGE), *words], "points": points,
             "share": share}  # fmt: skip
    done = subprocess.run(
        ["unshare", "-rm", sys.executable, "-m", "tests.system.host.filling"],
        cwd=ROOT, input=json.dumps(asked).encode(), stdout=subprocess.PIPE, check=True,
        timeout=3000,
    )  # fmt: skip
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def judge(found: dict[str, Any], least: int = POINTS // 2) -> None:
    whole = found["whole"]
    assert whole["status"] == 0, whole["said"]
    failed = [one for one in found["points"] if one["status"] != 0]
    assert len(failed) >= least, "the points lie beyond what the verb takes"
    for one in found["points"]:
        lines = [line for line in one["said"].splitlines() if not STEP.fullmatch(line)]
        if one["status"] != 0:
            assert one["status"] == 1, one
            assert len(lines) == 1, one["said"]
            assert LINE.fullmatch(lines[0]), one["said"]
        assert one["drafts"] == [], one["free"]
        assert one["untrue"] == [], one["free"]
        assert one["files"].items() <= whole["files"].items(), one["free"]


@pytest.mark.parametrize(
    "words",
    [
        ["new", "../out/new.yml", "-b", "pi4"],
        ["lock", "pi.yml", "--offline", "--update-all"],
        ["pkg", "build", "hello_world", "--offline", "-o", "../out/image.tar"],
        ["cache", "export", "../out/store.tar"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_what_reads_a_store_stays_whole(filled: Path, words: list[str]) -> None:
    judge(fill(filled, words, 0.98))


@pytest.mark.parametrize(
    "words",
    [["check", "pi.yml"], ["cache", "gc"], ["cache", "ls"], ["schema"], ["pkg", "ls"],
     ["pkg", "show-tag", "hello_world"], ["doctor"]],
    ids=lambda words: " ".join(words[:2]),
)  # fmt: skip
def test_what_writes_nothing_works_without_room(filled: Path, words: list[str]) -> None:
    found = fill(filled, words, 0.0, 1)
    judge(found, 0)
    assert {one["status"] for one in found["points"]} == {0}


@pytest.mark.parametrize(
    "words",
    [
        ["build", "pi.yml", "-o", "../out", "--offline"],
        ["build", "pi.yml", "-o", "../out", "--offline", "--format", "tar,oci,kernel+initrd"],
        ["pkg", "build", "hello_world", "--offline"],
    ],
    ids=lambda words: " ".join(words[:2] + words[5:]),
)
def test_what_makes_things_stays_whole(fetched: Path, words: list[str]) -> None:
    points = max(2, POINTS // 2)
    judge(fill(fetched, words, 0.98, points), points // 2)


def test_a_store_that_is_imported_stays_whole(filled: Path, tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "project").mkdir(parents=True)
    _piimage(["cache", "export", top / "project" / "store.tar"], top, filled / "store")
    (top / "store" / "blobs" / "sha256").mkdir(parents=True)
    (top / "store").chmod(0o700)
    judge(fill(top, ["cache", "import", "store.tar"], 0.98))
