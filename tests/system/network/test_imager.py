"""Settings on the first partition of a card: as Raspberry Pi Imager writes them, and by hand."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from piimage.card import partitions
from piimage.emulator.drive import flattened
from piimage.emulator.session import Options, Session, boot, reboot
from piimage.firmware.manifest import board_of
from piimage.run import Runner
from piimage.testing.shell import Shell, new_key
from tests.imager import customise
from tests.system.conftest import PIIMAGE
from tests.unit.seed.files import COMMAND_LINE, META_DATA, USER_DATA_HEAD, network_config

PATIENCE = 400.0
APPLIED = "piimage: settings of the card: applied, and removed from the first partition:"
# Imager derives the key itself: IEEE 802.11-2020, J.4.1.
PSK = hashlib.pbkdf2_hmac("sha1", b"correct horse", "café".encode(), 4096, 32).hex()
NETWORK_CONFIG = network_config(f'"caf\\xc3\\xa9":\n  password: "{PSK}"\n', country="JP")
BY_HAND = """version: 2
ethernets:
  eth0:
    addresses: [10.0.2.15/24]
    routes: [{to: default, via: 10.0.2.2}]
    nameservers: {addresses: [10.0.2.3]}
    mtu: 1400
"""


def user_data(key: str) -> str:
    """Return user-data for a user with a key and without a password."""
    return f"""{USER_DATA_HEAD}user:
  name: gardener
  shell: /bin/bash
  lock_passwd: true
  ssh_authorized_keys:
    - "{key}"
  sudo: null
ssh_pwauth: false
runcmd:
  - [ systemctl, enable, --now, ssh ]
"""


@pytest.fixture
def build(tmp_path: Path, piimage_store: Path) -> Callable[[str], Path]:
    folder = tmp_path / "appliances"
    shutil.copytree(Path(__file__).parent / "appliances", folder)

    def image(name: str) -> Path:
        done = subprocess.run(
            [PIIMAGE, "build", folder / f"{name}.yml", "-o", tmp_path / "out"],
            env={**os.environ, "PIIMAGE_STORE": str(piimage_store)},
            capture_output=True, text=True, timeout=850, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return tmp_path / "out" / f"{name}.img"

    return image


def console(session: Session) -> list[str]:
    return [line.text for line in session.lines() if line.text.startswith("piimage: ")]


def settings_lines(session: Session) -> list[str]:
    starts = ("piimage: user-data", "piimage: network-config", "piimage: settings of the card")
    return [line for line in console(session) if line.startswith(starts)]


def first_partition(runner: Runner, card: Path) -> tuple[set[str], bytes]:
    """Return the names in the root folder of a card's first partition, and all its bytes."""
    with card.open("rb") as file:
        sector = file.read(partitions.SECTOR)
        first = partitions.decode(sector, card.stat().st_size, str(card)).partitions[1]
        file.seek(first.start)
        content = file.read(first.size)
    listing = runner.run(["mdir", "-i", f"{card}@@{first.start}", "-b", "::"]).text
    return {line.removeprefix("::/") for line in listing.split()}, content


def test_imagers_settings_are_applied_once_and_removed(
    build: Callable[[str], Path], tmp_path: Path
) -> None:
    card, runner = build("orangery"), Runner()
    board = board_of(card)
    key, _ = new_key(runner, tmp_path)
    public = key.with_suffix(".pub").read_text().strip()
    customise(
        card,
        {
            "meta-data": META_DATA.encode(),
            "user-data": user_data(public).encode(),
            "network-config": NETWORK_CONFIG.encode(),
            "cmdline.txt": COMMAND_LINE.encode(),
        },
    )
    with boot(card, board, runner, Options(disk_size=2 << 30, ssh_port=0)) as session:
        session.wait_for("wifi: wlan0 joined", PATIENCE)
        assert session.ssh_port is not None
        shell = Shell(runner, key, session.ssh_port)
        shell.wait(PATIENCE)
        ask = asking(shell)
        assert settings_lines(session) == [
            "piimage: settings of the card: host name orangery, 1 SSH key for root, "
            "time zone Asia/Kolkata, 1 WiFi network, country JP",
            "piimage: settings of the card: log in as root; there is no user gardener",
            f"{APPLIED} user-data network-config meta-data cmdline.txt",
        ]
        assert ask("hostname; date +%z; cat /etc/timezone").split() == [
            "orangery", "+0530", "Asia/Kolkata",
        ]  # fmt: skip
        inside = "runc --root /run/containerd/runc/services.linuxkit exec wifi "
        assert ask(f"{inside}cat /tmp/wifi.conf") == (
            f"country=JP\nnetwork={{\n\tssid=636166c3a9\n\tpsk={PSK}\n}}\n"
        )
        assert "cfg80211" not in ask("cat /proc/cmdline")
        assert "/dev/vda1" not in ask("cat /proc/mounts")
        assert not [line.text for line in session.lines() if PSK in line.text]
        session.switch_off()
        with flattened(runner, session.machine.drive) as content:
            names, data = first_partition(runner, content)
        assert names == {"autoboot.txt"}
        assert [word for word in (PSK, "orangery", public) if word.encode() in data] == []
        with reboot(session, board, runner) as again:
            second_boot(again, shell)
            again.switch_off()
            with reboot(again, board, runner) as third:
                third_boot(third, shell)


def second_boot(session: Session, shell: Shell) -> None:
    """Nothing is applied; then somebody puts files on the card."""
    shell.wait(PATIENCE)
    ask = asking(shell)
    assert settings_lines(session) == []
    assert ask("hostname") == "orangery\n"
    ask(
        "mkdir /tmp/p && mount -t vfat /dev/vda1 /tmp/p && cat >/tmp/p/network-config <<'X'\n"
        f"{BY_HAND}X\nprintf '#cloud-config\\nhostname: [\\n' >/tmp/p/user-data\n"
        "umount /tmp/p && sync"
    )


def third_boot(session: Session, shell: Shell) -> None:
    """What is right is applied, and what is not is named and stays."""
    shell.wait(PATIENCE)
    assert settings_lines(session) == [
        "piimage: user-data: not applied, and stays on the card: line 3 is not valid YAML",
        "piimage: network-config line 7: ethernets: eth0: mtu: not supported",
        "piimage: settings of the card: eth0 10.0.2.15/24",
        f"{APPLIED} network-config",
    ]
    assert "piimage: network: eth0 has 10.0.2.15/24, router 10.0.2.2, dns 10.0.2.3" in (
        console(session)
    )
    ask = asking(shell)
    assert ask("hostname") == "orangery\n"
    assert ask("mount -t vfat -o ro /dev/vda1 /mnt; ls /mnt").split() == [
        "autoboot.txt", "user-data",
    ]  # fmt: skip


def asking(shell: Shell) -> Callable[[str], str]:
    def ask(script: str) -> str:
        done = shell.run(["sh", "-c", script], PATIENCE)
        assert done.status == 0, done
        return done.text

    return ask


def test_a_board_whose_slot_is_the_first_partition_takes_them_too(
    build: Callable[[str], Path],
) -> None:
    card, runner = build("bench"), Runner()
    board = board_of(card)
    before, _ = first_partition(runner, card)
    files = {"user-data": b"#cloud-config\nhostname: bench\n", "cmdline.txt": COMMAND_LINE.encode()}
    customise(card, files)
    with boot(card, board, runner, Options(disk_size=4 << 30)) as session:
        session.wait_for("piimage: phase onboot", PATIENCE)
        assert settings_lines(session) == [
            "piimage: settings of the card: host name bench",
            f"{APPLIED} user-data cmdline.txt",
        ]
        assert "piimage: slot /dev/mmcblk0p1 folder a/, containers from slot" in console(session)
        session.switch_off()
        with flattened(runner, session.machine.drive) as content:
            names, data = first_partition(runner, content)
    assert names == before
    assert b"hostname: bench" not in data
