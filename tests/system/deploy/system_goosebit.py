"""The house of docs/fleet.md: an emulated Pi is the update server, and another one calls it.

    python -m tests.system.deploy.system_goosebit

The server is the ready-made `goosebit`, composed for arm64 and started as on any Pi; the bundle is
brought to it over its API, as its page does. Prints a line for each step, and ends with an
AssertionError at the first that is not as it should be.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlencode

from piimage.card.ext4 import DataFile
from piimage.emulator.machine import Forward
from piimage.emulator.session import Options, boot
from piimage.events import ignore
from piimage.firmware.manifest import board_of
from piimage.locking.inputs import Inputs
from piimage.run import Runner
from piimage.store import Store, default_root
from piimage.swu import Reader, parse_description
from piimage.testing.shell import Shell, card_with, new_key
from tests.system.deploy import system_site
from tests.system.deploy.calling_site import bundle_of, calling
from tests.system.deploy.goosebit import Goosebit
from tests.system.deploy.greenhouse import PATIENCE, Greenhouse
from tests.system.ports import free_port

SECRET = "a password of the house"
HOUSE = """board: qemu-virt
hostname: house
onboot:
  - { name: dhcp, use: dhcp }
services:
  - { name: sshd, use: sshd }
  - { name: mdns, use: mdns }
  - { name: goosebit, use: goosebit, env: [GOOSEBIT_POLL_TIME=00:00:20] }
"""


def told(text: str) -> None:
    """Print one line of the report."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def until(holds: Callable[[], bool], complaint: str) -> float:
    """Wait until something holds; return the seconds."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < PATIENCE, complaint
        time.sleep(2)
    return time.monotonic() - began


def answer(url: str, **form: str) -> int:
    """The status of the answer; 0 if there is none."""
    data = urlencode(form).encode() if form else None
    try:
        with urllib.request.urlopen(url, data, timeout=60) as found:
            return int(found.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@contextmanager
def house(folder: Path) -> Iterator[tuple[Goosebit, Shell]]:
    """Build the card of the server, start it with its secret, and log in."""
    folder.mkdir()
    sources = Inputs(
        Store(default_root()), Runner(), ignore, time.time, os.environ.get("PIIMAGE_MIRROR")
    )
    own = Greenhouse(folder, sources)
    own.file.write_text(HOUSE)
    began = time.monotonic()
    image = own.card()
    told(f"the card was built in {time.monotonic() - began:.0f} s")
    board = board_of(image)
    key, files = new_key(sources.runner, folder)
    secret = {"piimage/provision/secrets/goosebit_admin": DataFile(f"{SECRET}\n".encode(), 0o600)}
    card = card_with(sources.runner, image, board, folder, {**files, **secret})
    web = Forward(free_port(), 60053)
    options = Options(disk_size=2 << 30, ssh_port=0, forwards=(web,))
    began = time.monotonic()
    with boot(card, board, sources.runner, options) as session:
        assert session.ssh_port is not None
        session.wait_for("piimage: service sshd: running", PATIENCE)
        shell = Shell(sources.runner, key, session.ssh_port)
        shell.wait(PATIENCE)
        server = Goosebit(Path(), folder, port=web.host)
        until(lambda: answer(f"{server.url}/login") == 200, "goosebit does not answer")
        told(f"goosebit answers {time.monotonic() - began:.0f} s after the Pi's start")
        yield server, shell


def check_server(server: Goosebit, shell: Shell) -> None:
    """The administrator is who has the secret, and nobody else."""
    assert answer(f"{server.url}/setup", username="mallory", password="mine") == 403
    assert answer(f"{server.url}/login", username="admin", password="another") == 401
    server.log_in("admin", SECRET)
    assert server.names() == []
    until(lambda: health(shell) == "healthy", "goosebit is not healthy")
    memory = shell.run(["sh", "-c", "ctr -n services.linuxkit tasks metrics goosebit"], PATIENCE)
    told(next(line for line in memory.text.splitlines() if "memory" in line))


def health(shell: Shell) -> str:
    """What the Pi says of its service."""
    return shell.run(["sh", "-c", "cat /run/piimage/health/goosebit"], PATIENCE).text.strip()


def update(server: Goosebit, folder: Path) -> None:
    """Start a second Pi that calls the first one, and have it take a version."""
    change = calling(server.port)
    with system_site.site(folder, default_root(), change=change) as site:
        until(lambda: "greenhouse" in server.names(), "the second Pi does not call")
        until(lambda: bool(server.device("greenhouse")["sw_version"]), "it says no version")
        bundle = bundle_of(site, "", "from-a-pi")
        with bundle.open("rb") as file:
            version = parse_description(Reader(file).head().text).version
        began = time.monotonic()
        number = server.upload(bundle)
        told(f"{bundle.stat().st_size} bytes uploaded in {time.monotonic() - began:.0f} s")
        began = time.monotonic()
        server.assign("greenhouse", number)
        until(lambda: server.device("greenhouse")["sw_version"] == version, "it has no new version")
        assert server.device("greenhouse")["last_state"] == "Finished"
        site.pi.session.wait_for("from-a-pi", 60)
        told(f"the second Pi runs the new version after {time.monotonic() - began:.0f} s")


def main() -> int:
    """Go through it all."""
    with tempfile.TemporaryDirectory(prefix="piimage-goosebit-") as name, ExitStack() as stack:
        folder = Path(name)
        server, shell = stack.enter_context(house(folder / "house"))
        check_server(server, shell)
        update(server, folder / "second")
    return 0


if __name__ == "__main__":
    sys.exit(main())
