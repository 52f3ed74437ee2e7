"""Every verb that writes, on a disk that becomes full at several points of its run.

``PIIMAGE_TEST_POINTS=30`` tests more points, which takes a quarter of an hour.

Each time, the error is one line with the place and the missing space, and the exit status is 1.
The output files are complete or missing, no drafts remain, and every blob of the store has the
digest of its name.
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
    r"((/mnt/run|\.\.)/\S+|pi\.lock): .*(no space is left|no further file can be created).*"
    r"; free space .*"
)
STEP = re.compile(r" *\d+\.\d\d s  .*|locked \d+ packages in .*|\S+: sha256:\w+, [\d.]+ MB")
"""The progress output of a verb."""


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
    request = {"before": str(before), "argv": [str(PIIMAGE), *words], "points": points,
             "share": share}  # fmt: skip
    done = subprocess.run(
        ["unshare", "-rm", sys.executable, "-m", "tests.system.host.filling"],
        cwd=ROOT, input=json.dumps(request).encode(), stdout=subprocess.PIPE, check=True,
        timeout=3000,
    )  # fmt: skip
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def judge(result: dict[str, Any], least: int = POINTS // 2) -> None:
    whole = result["whole"]
    assert whole["status"] == 0, whole["output"]
    failed = [run for run in result["points"] if run["status"] != 0]
    assert len(failed) >= least, "the points lie beyond what the verb takes"
    for run in result["points"]:
        lines = [line for line in run["output"].splitlines() if not STEP.fullmatch(line)]
        if run["status"] != 0:
            assert run["status"] == 1, run
            assert len(lines) == 1, run["output"]
            assert LINE.fullmatch(lines[0]), run["output"]
        assert run["drafts"] == [], run["free"]
        assert run["untrue"] == [], run["free"]
        assert run["files"].items() <= whole["files"].items(), run["free"]


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
def test_verbs_that_read_a_store_leave_it_undamaged(filled: Path, words: list[str]) -> None:
    judge(fill(filled, words, 0.98))


@pytest.mark.parametrize(
    "words",
    [["check", "pi.yml"], ["cache", "gc"], ["cache", "ls"], ["schema"], ["pkg", "ls"],
     ["pkg", "show-tag", "hello_world"], ["doctor"]],
    ids=lambda words: " ".join(words[:2]),
)  # fmt: skip
def test_verbs_that_write_nothing_work_without_free_space(filled: Path, words: list[str]) -> None:
    result = fill(filled, words, 0.0, 1)
    judge(result, 0)
    assert {run["status"] for run in result["points"]} == {0}


@pytest.mark.parametrize(
    "words",
    [
        ["build", "pi.yml", "-o", "../out", "--offline"],
        ["build", "pi.yml", "-o", "../out", "--offline", "--format", "tar,oci,kernel+initrd"],
        ["pkg", "build", "hello_world", "--offline"],
    ],
    ids=lambda words: " ".join(words[:2] + words[5:]),
)
def test_builds_leave_complete_files_only(fetched: Path, words: list[str]) -> None:
    points = max(2, POINTS // 2)
    judge(fill(fetched, words, 0.98, points), points // 2)


def test_an_import_leaves_the_store_undamaged(filled: Path, tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "project").mkdir(parents=True)
    _piimage(["cache", "export", top / "project" / "store.tar"], top, filled / "store")
    (top / "store" / "blobs" / "sha256").mkdir(parents=True)
    (top / "store").chmod(0o700)
    judge(fill(top, ["cache", "import", "store.tar"], 0.98))
