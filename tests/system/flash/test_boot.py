"""A card that was built and flashed in one command boots, grows, and knows what it was told."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from piimage.boards import load_board
from piimage.emulator.ports import free_port
from piimage.emulator.session import Options, boot
from piimage.run import Runner
from tests.system.conftest import PIIMAGE
from tests.system.flash.conftest import MIB, sh

FILE = """
board: qemu-virt
hostname: from-the-file
onboot: [{ name: dhcp, use: dhcp }]
services: [{ name: sshd, use: sshd }, { name: hello_world, use: hello_world }]
log: { console: true }
"""
ASK = "hostname; df -k /data | tail -1; ctr -n services.linuxkit tasks ls"


def answer(port: int, key: Path) -> str:
    """What the Pi says over SSH, once it lets us in."""
    words = ["ssh", "-i", key, "-p", str(port), "-o", "StrictHostKeyChecking=no"]
    words += ["-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=5", "root@localhost", ASK]
    for _ in range(40):
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode == 0:
            return done.stdout
        time.sleep(2)
    raise AssertionError(done.stderr)


@pytest.fixture
def image(tmp_path: Path, piimage_store: Path, disk: Callable[..., str]) -> Path:
    """The bytes of a device that `piimage flash` built and wrote, 2 GiB large."""
    device = disk(2048 * MIB)
    (tmp_path / "flashed.yml").write_text(FILE)
    sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key")
    words = [PIIMAGE, "flash", device, tmp_path / "flashed.yml", "--force", "--yes", device]
    told = ["--hostname", "told-by-flash", "--ssh-key", tmp_path / "key.pub"]
    environment = {**os.environ, "PIIMAGE_STORE": str(piimage_store)}
    done = subprocess.run(
        [*words, *told], env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    sh("blockdev", "--flushbufs", device)
    sh("cp", "--sparse=always", device, tmp_path / "card.img")
    return tmp_path / "card.img"


def test_the_flashed_bytes_boot_grow_and_know_their_name(
    image: Path, tmp_path: Path, runner: Runner
) -> None:
    port = free_port()
    board = load_board("qemu-virt")
    with boot(image, board, runner, Options(ssh_port=port)) as machine:
        machine.wait_for("HELLO from told-by-flash", 240)
        name, data, *tasks = answer(port, tmp_path / "key").splitlines()
    assert name == "told-by-flash"
    assert int(data.split()[1]) > 900_000  # KiB: made with 64 MiB, grown to the device's end
    assert sorted(line.split()[::2] for line in tasks[1:]) == [
        ["hello_world", "RUNNING"],
        ["sshd", "RUNNING"],
    ]
