"""README's first five minutes, word for word, in a new account.

An emulated Pi 4 with the flashed card stands for the real one, on a network with DHCP and
multicast; a loop device stands for the card. The Pi is found, deployed to and asked by name.
"""

from __future__ import annotations

import re
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.conftest import PIIMAGE, ROOT
from tests.system.first.account import Account, account
from tests.system.first.network import Network, network
from tests.system.first.shown import started
from tests.system.flash.conftest import MIB, loop, sh

PATIENCE = 600.0
CARD = 2048 * MIB


def commands() -> list[str]:
    """The lines of README's block, without prompts and comments."""
    readme = (ROOT / "README.md").read_text()
    _, _, section = readme.partition("\n## The first five minutes\n")
    (block,) = re.findall(r"```console\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    lines = [line for line in block.splitlines() if line.startswith("$ ")]
    return [re.sub(r"\s+# .*", "", line.removeprefix("$ ")) for line in lines]


class Timeline:
    """The seconds that each command took, for the report."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.lines: list[str] = []

    def note(self, event: str) -> None:
        self.lines.append(f"{time.monotonic() - self.began:7.1f} s  {event}")


@pytest.fixture
def user(tmp_path: Path, piimage_store: Path) -> Iterator[Account]:
    with account(tmp_path / "home", piimage_store) as found:
        yield found


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Network]:
    with network(tmp_path, ["pitap0"]) as found:
        yield found


@pytest.mark.timeout(3600)
def test_the_first_five_minutes_of_the_readme(
    user: Account, lan: Network, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    todo = commands()
    assert todo[:2] == ["make setup", ". .venv/bin/activate"]  # done: it runs these tests
    assert todo[-3:] == [
        "piimage discover",
        "piimage deploy greenhouse.yml --to greenhouse.local",
        "piimage status greenhouse.local",
    ]
    disk = tmp_path / "card"
    with disk.open("wb") as file:
        file.truncate(CARD)
    times = Timeline()
    with loop(disk) as device:
        for line in todo[2:-3]:
            show(user, line, device)
            times.note(line)
        sh("blockdev", "--flushbufs", device)
    run = lan.words(PIIMAGE, "run", disk, "--tap", lan.taps[0])
    with started(run, dict(user.environment), user.home) as console:
        times.note("the Pi is switched on")
        console.wait_for("HELLO from greenhouse", PATIENCE)
        times.note("it says HELLO")
        console.wait_for("piimage: mdns: this Pi answers to greenhouse.local", PATIENCE)
        times.note("it has its name")
        found = user.run(*lan.words(*shlex.split(todo[-3])))
        times.note(todo[-3])
        assert re.search(r"^greenhouse\.local +10\.214\.7\.\d+ +pi4 +[0-9a-f]{12} ", found, re.M)
        assert "greenhouse.local: nothing changed" in user.run(*lan.words(*shlex.split(todo[-2])))
        times.note(todo[-2])
        status = user.run(*lan.words(*shlex.split(todo[-1])))
        times.note(todo[-1])
        assert re.search(r"^board: +pi4$", status, re.M)
        assert re.search(r"^hello_world +running", status, re.M)
    with capsys.disabled():
        sys.stdout.write("\n".join(["", *times.lines, ""]))


def show(user: Account, line: str, device: str) -> None:
    """Run a line of README's; a loop device, which is not a card, takes the place of the card."""
    words = shlex.split(line)
    match words[1]:
        case "run":
            with started(words, dict(user.environment), user.home) as console:
                console.wait_for("HELLO from greenhouse", PATIENCE)
                console.process.send_signal(signal.SIGINT)  # what Ctrl-C does
                console.process.wait(timeout=60)
        case "flash":
            assert words[2] == "/dev/sdX"
            text = user.run(*words[:2], device, *words[3:], "--force", reply=f"{device}\n")
            assert "the Pi will answer to greenhouse.local: piimage discover" in text
        case "new":
            assert "may log in: ~/.ssh/id_ed25519.pub: ssh-ed25519 ada@laptop" in user.run(*words)
        case _:
            user.run(*words)
