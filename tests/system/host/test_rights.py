"""Every verb where this user has no right, and where the kernel gives no more files or processes.

As root, without the capabilities that let root read and write everything.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system.conftest import PIIMAGE, ROOT

UNABLE = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
YAML = "board: qemu-virt\nhostname: rights\nfiles: [{ path: etc/motd, source: motd }]\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that was built once, its outputs and its store."""
    top = tmp_path_factory.mktemp("rights") / "top"
    project = top / "project"
    shutil.copytree(ROOT / "services" / "hello_world", project / "hello_world")
    (project / "pi.yml").write_text(YAML)
    (project / "motd").write_text("hello\n")
    for words in (
        ["build", "pi.yml", "-o", "out"],
        ["pkg", "build", "hello_world"],
        ["cache", "export", "store.tar"],
    ):
        done = piimage(top, words)
        assert done.returncode == 0, done.stderr
    for name in ("locked", "other"):
        (project / name).mkdir()
    return top


def piimage(
    top: Path, words: list[str], before: list[str] | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PIIMAGE_STORE": str(top / "store")}
    return subprocess.run(
        [*(before or []), str(PIIMAGE), *words], cwd=top / "project", env=environment,
        capture_output=True, text=True, check=False, timeout=600, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@contextmanager
def mode(path: Path, bits: int) -> Iterator[None]:
    before = path.stat().st_mode
    path.chmod(bits)
    try:
        yield
    finally:
        path.chmod(before & 0o7777)


@pytest.mark.parametrize(
    ("closed", "words"),
    [
        ("locked", ["new", "locked/a.yml", "-b", "pi4"]),
        ("locked", ["build", "pi.yml", "-o", "locked/out", "--offline"]),
        ("locked", ["build", "pi.yml", "-o", "locked", "--offline"]),
        ("locked", ["cache", "export", "locked/a.tar"]),
        ("locked", ["pkg", "build", "hello_world", "-o", "locked/a.tar", "--offline"]),
        (".", ["lock", "pi.yml", "--offline"]),
        (".", ["lock", "pi.yml", "--offline", "--update-all"]),
    ],
    ids=lambda words: " ".join(words[:2]) if isinstance(words, list) else words,
)
def test_a_folder_that_takes_nothing_is_named(made: Path, closed: str, words: list[str]) -> None:
    folder = made / "project" / closed
    before = sorted(folder.rglob("*"))
    with mode(folder, 0o500):
        done = piimage(made, words, UNABLE)
    *_, last = done.stderr.splitlines()
    assert (done.returncode, "Permission denied" in last, "; " in last) == (1, True, True), last
    assert "internal error" not in done.stderr
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("closed", "words"),
    [
        ("motd", ["build", "pi.yml", "-o", "other", "--offline"]),
        ("pi.yml", ["build", "pi.yml", "-o", "other", "--offline"]),
        ("pi.yml", ["check", "pi.yml"]),
        ("pi.yml", ["lock", "pi.yml", "--offline"]),
        ("pi.yml", ["run", "pi.yml", "--offline"]),
        ("pi.yml", ["test", "pi.yml", "--offline"]),
        ("pi.yml", ["deploy", "pi.yml", "--to", "192.0.2.1", "--offline"]),
        ("pi.lock", ["build", "pi.yml", "-o", "other", "--offline"]),
        ("store.tar", ["cache", "import", "store.tar"]),
        ("out/pi.manifest.json", ["diff", "out/pi.img", "out/pi.img"]),
        ("out/pi.img", ["run", "out/pi.img", "--until", "x", "--timeout", "1"]),
        ("hello_world/service.yml", ["pkg", "build", "hello_world", "--offline"]),
        ("hello_world/service.yml", ["pkg", "show-tag", "hello_world"]),
    ],
    ids=lambda words: " ".join(words[:2]) if isinstance(words, list) else words,
)
def test_a_file_that_cannot_be_read_is_named(made: Path, closed: str, words: list[str]) -> None:
    with mode(made / "project" / closed, 0):
        done = piimage(made, words, UNABLE)
    (line,) = done.stderr.splitlines()
    assert done.returncode in (1, 2)
    assert closed in line
    assert re.search("[Pp]ermission denied|may not read", line)
    assert not list((made / "project" / "other").iterdir())


@pytest.mark.parametrize("closed", ["store", "store/tmp", "store/blobs/sha256", "store/memo"])
@pytest.mark.parametrize(
    "words",
    [
        ["build", "pi.yml", "-o", "other", "--offline", "--format", "tar"],
        ["cache", "import", "store.tar"],
        ["pkg", "build", "hello_world", "--offline", "--tag", "x", "--org", "y"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_store_that_is_anothers_is_named(made: Path, closed: str, words: list[str]) -> None:
    with mode(made / closed, 0o000):
        done = piimage(made, words, UNABLE)
    lines = [line for line in done.stderr.splitlines() if "ermission denied" in line]
    assert (done.returncode, len(lines)) == (1, 1), done.stderr
    assert lines[0].startswith(str(made / "store"))
    assert not list((made / "project" / "other").iterdir())


@pytest.mark.parametrize("files", [6, 8, 12])
def test_too_few_open_files_are_said(made: Path, files: int) -> None:
    before = ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh"]
    done = piimage(made, ["build", "pi.yml", "-o", f"out{files}", "--offline"], before)
    *_, last = done.stderr.splitlines()
    assert (done.returncode, "Too many open files" in last) == (1, True), done.stderr
    assert "internal error" not in done.stderr
    assert not (made / "project" / f"out{files}").exists()
