"""Completion in real shells, with the scripts that `piimage completion` prints."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from pathlib import Path

import pytest

from tests.system.conftest import PIIMAGE

LINES = {
    "piimage fla": "piimage flash",
    "piimage pkg sh": "piimage pkg show-tag",
    "piimage build --keyr": "piimage build --keyring",
    "piimage new x.yml --board qemu-": "piimage new x.yml --board qemu-virt",
    "piimage check gree": "piimage check greenhouse.yml",
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder with one file, and the scripts of all shells beside it."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home/greenhouse.yml").touch()
    for shell in ("bash", "zsh", "fish"):
        script = subprocess.run([PIIMAGE, "completion", shell], check=True, capture_output=True)
        (tmp_path / f"script.{shell}").write_bytes(script.stdout)
    return tmp_path / "home"


def environment(home: Path) -> dict[str, str]:
    path = f"{PIIMAGE.parent}:{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(home), "TERM": "dumb", "LANG": "C.UTF-8"}


@pytest.mark.parametrize(
    ("shell", "load"),
    [
        (["bash", "--norc", "-i"], "source ../script.bash"),
        (["zsh", "-f", "-i"], "autoload -U compinit; compinit -u -D; source ../script.zsh"),
    ],
)
def test_tab_completes_a_line(home: Path, shell: list[str], load: str) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        shell, cwd=home, env=environment(home), start_new_session=True,
        stdin=theirs, stdout=theirs, stderr=theirs,
    ) as process:  # fmt: skip
        os.close(theirs)
        os.write(ours, f"{load}; echo READY | tr A-Z a-z\n".encode())
        try:
            wait_for(ours, "ready")
            for typed, completed in LINES.items():
                os.write(ours, f"{typed}\t".encode())
                wait_for(ours, completed[len(typed) :])
                # Shells draw in pieces: echo at the beginning (Ctrl-A) shows the line itself.
                os.write(ours, b"\x01echo \x05| tr ' a-z' '_A-Z'\n")
                wait_for(ours, completed.replace(" ", "_").upper())
        finally:
            process.kill()
    os.close(ours)


def wait_for(terminal: int, text: str) -> None:
    """Read what the shell shows until it has shown `text`."""
    shown = ""
    deadline = time.monotonic() + 60
    while text not in shown:
        assert time.monotonic() < deadline, f"{text!r} is not in {shown!r}"
        if select.select([terminal], [], [], 0.5)[0]:
            shown += re.sub(r"[\x08\r]", "", os.read(terminal, 65536).decode(errors="replace"))


def test_fish_completes_a_line(home: Path) -> None:
    for typed, completed in LINES.items():
        done = subprocess.run(
            ["fish", "--no-config", "-c", f"source ../script.fish; complete -C '{typed}'"],
            cwd=home, env=environment(home), capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        words = [line.split("\t")[0] for line in done.stdout.splitlines()]
        assert words == [completed.split()[-1]], done


def test_man_shows_the_page_of_a_verb_without_a_warning() -> None:
    pages = sorted((Path(__file__).parents[3] / "docs/man").iterdir())
    assert len(pages) > 20
    for page in pages:
        done = subprocess.run(
            ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page],
            capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        assert done.stderr == ""
