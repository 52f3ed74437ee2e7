"""The dashboard on a Pi in QEMU, asked through a forwarded port."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from piimage.card.ext4 import DataFile
from piimage.emulator.ports import Forward, free_port
from piimage.emulator.session import Options, Session, boot
from piimage.firmware.manifest import board_of
from piimage.flash.stored import encode
from piimage.run import Runner
from piimage.testing.shell import Shell, card_with, new_key
from tests.system.boot.conftest import PATIENCE, PIIMAGE
from tests.system.dashboard.conftest import TOKEN

APPLIANCE = Path(__file__).parent / "appliance"
PORT = 8088
# What `piimage flash --set DASHBOARD_TOKEN=…` writes.
TOKEN_OF_CARD = {"piimage/provision/settings": DataFile(encode({"DASHBOARD_TOKEN": TOKEN}), 0o600)}


@dataclass(frozen=True)
class Page:
    """The dashboard of a board that is up."""

    session: Session
    shell: Shell
    port: int

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
            return str(answer.read().decode())

    def post(self, path: str, token: str) -> int:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method="POST", headers={"Authorization": f"Bearer {token}"},
        )  # fmt: skip
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def metric(self, name: str) -> float:
        lines = self.get("/metrics").splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))

    def say(self, script: str) -> str:
        done = self.shell.run(["sh", "-c", script], PATIENCE)
        assert done.status == 0, (script, done)
        return done.text


@contextlib.contextmanager
def booted_page(store: Path, folder: Path) -> Iterator[Page]:
    """Build the appliance in `folder` and boot it; give its page when the dashboard is healthy."""
    shutil.copytree(APPLIANCE, folder / "appliance")
    done = subprocess.run(
        [PIIMAGE, "build", "page.yml", "-o", "out"],
        env={**os.environ, "PIIMAGE_STORE": str(store)},
        cwd=folder / "appliance", capture_output=True, text=True, timeout=850, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    image, runner = folder / "appliance/out/page.img", Runner()
    board = board_of(image)
    key, files = new_key(runner, folder)
    card = card_with(runner, image, board, folder, {**files, **TOKEN_OF_CARD})
    options = Options(disk_size=2 << 30, ssh_port=0, forwards=(Forward(free_port(), PORT),))
    with boot(card, board, runner, options) as session:
        session.wait_for("piimage: service dashboard: healthy", PATIENCE)
        assert session.ssh_port is not None
        shell = Shell(runner, key, session.ssh_port)
        shell.wait(PATIENCE)
        yield Page(session, shell, options.forwards[0].host)
