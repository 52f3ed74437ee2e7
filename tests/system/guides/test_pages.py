"""The commands of the guides, page by page, in a new user's account.

A loop device stands for the card, and an emulated Pi on a local network for the real one. Commands
that need something else are listed in tests/guides.py, with the reason.
"""

from __future__ import annotations

import re
import shlex
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.guides import Line, read
from tests.system.conftest import ROOT
from tests.system.first.account import Account, account
from tests.system.first.network import Network, network
from tests.system.first.shown import started
from tests.system.flash.conftest import MIB, loop
from tests.unit import pages

PATIENCE = 600.0
pytestmark = pytest.mark.timeout(2400)
GREENHOUSE = """\
board: qemu-virt
hostname: greenhouse
log: { console: true }
services:
  - { name: hello_world, use: hello_world }
"""
WEB = """\
services:
  - name: web
    packages: [busybox-static]
    command: [/usr/bin/busybox, httpd, -f, -p, "8080"]
    binds: ["/data/web:/var/lib/web"]
    user: "65534:65534"
"""
HOSTS = "hosts:\n  greenhouse: { address: greenhouse.local }\ngroups:\n  outdoor: [greenhouse]\n"
SHED = """\
board: pi4
hostname: shed
network: { country: JP, wifi: {} }
services:
  - { name: hello_world, use: hello_world }
"""
# The name of a file stands in a comment at the start of its block.
NAME = re.compile(r"(?:\A|\n)(?:#|/\*|<!--) ([\w-]+/[\w.-]+|[\w-]+\.yml)")


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory, piimage_store: Path) -> Iterator[Account]:
    with account(tmp_path_factory.mktemp("guides") / "home", piimage_store) as found:
        yield found


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("lan"), ["pitap0"]) as found:
        yield found


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    file = tmp_path_factory.mktemp("card") / "card"
    with file.open("wb") as made:
        made.truncate(2048 * MIB)
    with loop(file) as device:
        yield device


@pytest.fixture(scope="module")
def garden(user: Account, lan: Network) -> Iterator[Path]:
    """The folder of a Pi that runs, with a second service, and is in an inventory."""
    folder = user.home / "garden"
    folder.mkdir()
    type_in(user, folder, "piimage new greenhouse.yml --board qemu-virt")
    file = folder / "greenhouse.yml"
    file.write_text(file.read_text().replace("\nservices:\n", f"\n{WEB}", 1))
    (folder / "hosts.yml").write_text(HOSTS)
    (folder / "mqtt.txt").write_text("71c9\n")
    type_in(user, folder, "piimage build greenhouse.yml -o out")
    words = lan.words("piimage", "run", "out/greenhouse.img", "--tap", lan.taps[0])
    with started(words, dict(user.environment), folder) as console:
        console.wait_for("piimage: mdns: this Pi answers to greenhouse.local", PATIENCE)
        yield folder


def type_in(user: Account, folder: Path, line: str, reply: str = "") -> str:
    """Run a line as a person's shell does, in a folder of the account."""
    return user.run("bash", "-c", f"cd {shlex.quote(str(folder))} && {line}", reply=reply)


def lines_of(name: str) -> list[Line]:
    """The commands of a page that can run here, in its order."""
    lines = read(ROOT / name)
    return [line for line in lines if line.reason is None and line.apart is None]


def write_files(name: str, folder: Path) -> None:
    """Write the files that a page shows."""
    for token in pages.tokens(ROOT / name):
        named = NAME.search(token.content[:100]) if token.type == "fence" else None
        if named:
            path = folder / named[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(token.content)


@pytest.mark.parametrize(
    "name",
    [
        "docs/network.md", "docs/updates.md", "docs/deploy.md", "docs/data.md", "docs/buses.md",
        "docs/secrets.md", "docs/time-and-logs.md", "docs/questions.md",
    ],
)  # fmt: skip
def test_a_page_about_a_pi_that_runs(name: str, garden: Path, user: Account, lan: Network) -> None:
    todo = [line for line in lines_of(name) if "/dev/sdX" not in line.text]
    inside = ["ip", "netns", "exec", lan.namespace]
    while todo:
        line = todo.pop(0)
        text = line.text
        if todo and todo[0].on_the_pi:  # by a pipe: a terminal may drop what is typed too early
            text += " <<'END'\n"
            while todo and todo[0].on_the_pi:
                text += f"{todo.pop(0).text}\n"
            text += "exit 0\nEND"
        if text == "piimage secret set greenhouse.local mqtt_password":
            text += " <mqtt.txt"  # the prompt drops what was typed before it
        reply = "y\n" if "restore" in text else ""
        if "backup" in line.text:  # of another day
            (garden / "greenhouse.tar").unlink(missing_ok=True)
        shown = type_in(user, garden, f"{shlex.join(inside)} {text}", reply)
        assert CHECKS.get(line.text, lambda _: True)(shown), shown


CHECKS: dict[str, Callable[[str], object]] = {
    "piimage discover": lambda shown: re.search(r"^greenhouse\.local +10\.", shown, re.M),
    "piimage deploy greenhouse.yml --to greenhouse.local": lambda shown: "nothing changed" in shown,
    "piimage status all --inventory hosts.yml": lambda shown: "running" in shown,
    "piimage secret ls greenhouse.local": lambda shown: re.search(
        r"^mqtt_password +yes", shown, re.M
    ),
    "piimage logs greenhouse.local hello_world": lambda shown: "HELLO from" in shown,
}


def test_the_pages_about_cards(card: str, user: Account) -> None:
    folder = user.home / "cards"
    folder.mkdir()
    (folder / "greenhouse.yml").write_text(GREENHOUSE.replace("qemu-virt", "pi4"))
    (folder / "shed.yml").write_text(SHED)
    (folder / "garden.psk").write_text("blue-tomatoes\n")
    (folder / "mqtt.txt").write_text("71c9\n")
    type_in(user, folder, "piimage build greenhouse.yml -o out && xz -0 -k out/greenhouse.img")
    names = [
        "docs/flash.md", "docs/network.md", "docs/disks.md", "docs/secrets.md",
        "docs/home-assistant.md", "docs/recipes.md", "services/dashboard/README.md",
    ]  # fmt: skip
    for line in [line for name in names for line in lines_of(name)]:
        if "/dev/sdX" in line.text:
            write_card(user, folder, line.text, card)
        elif line.page == "docs/recipes.md":
            continue  # what is built
        elif line.text.split()[1] in ("build", "check", "devices"):  # the others need a Pi
            type_in(user, folder, line.text)


def write_card(user: Account, folder: Path, line: str, device: str) -> None:
    """Run a line that writes to the card; a loop device may be built in, and is asked for."""
    options = f"--force --yes {device}" if " flash " in line else "--force"
    if line.endswith("--wifi garden"):  # the prompt drops what was typed before it
        options += " --wifi-passphrase-file garden.psk"
    type_in(user, folder, f"{line.replace('/dev/sdX', device)} {options}")


def boot(user: Account, folder: Path, line: str) -> None:
    """Run a line that boots an image, and interrupt it when its first service speaks."""
    with started(shlex.split(line), dict(user.environment), folder) as console:
        console.wait_for("HELLO from greenhouse", PATIENCE)
        console.process.send_signal(signal.SIGINT)  # what Ctrl-C does
        console.process.wait(timeout=60)


@pytest.mark.parametrize(
    ("name", "added"),
    [
        ("docs/containers.md", "  - { name: thermometer, build: thermometer }\n"),
        ("docs/modules.md", "modules:\n  - { build: greet, params: { whom: the plants } }\n"),
        ("docs/boards.md", ""),
        ("docs/disks.md", ""),
        ("docs/sensors.md", ""),
        ("docs/emulator.md", ""),
        ("docs/recipes.md", None),
    ],
)
def test_a_page_about_what_is_built(name: str, added: str | None, user: Account) -> None:
    """`added` is None if the page has the whole file."""
    folder = user.home / Path(name).stem
    folder.mkdir()
    write_files(name, folder)
    if added is not None:
        (folder / "greenhouse.yml").write_text(GREENHOUSE + added)
    for line in [line for line in lines_of(name) if "/dev/sdX" not in line.text]:
        if line.text.startswith("piimage run") and "--until" not in line.text:
            type_in(user, folder, "piimage build greenhouse.yml -o out")
            shutil.copyfile(folder / "out/greenhouse.img", folder / "pi4.img")
            boot(user, folder, line.text)
        else:
            type_in(user, folder, line.text)
