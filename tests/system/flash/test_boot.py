"""A card that was built and flashed in one command boots, grows, and knows what it was told.

The wireless network that it is told of stands in the same machine, on another simulated radio.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from piimage.boards import load_board
from piimage.emulator.ports import free_port
from piimage.emulator.session import Options, Session, boot
from piimage.flash.provision import data_partition
from piimage.run import Runner
from piimage.testing.shell import Shell
from tests.system.conftest import PIIMAGE
from tests.system.consoles import PATIENCE, shown
from tests.system.flash.conftest import MIB, loop, sh

ACCESS_POINT = Path(__file__).parents[1] / "network/appliances/access-point"
FILE = """
board: qemu-virt
hostname: from-the-file
network: { country: JP, wifi: {} }
onboot:
  - { name: dhcp, use: dhcp }
  - name: early
    packages: [busybox-static]
    command: [/usr/bin/busybox, sh, -c, "echo early: $COLOUR $PLACE"]
    env: [COLOUR=grey]
    settings: [COLOUR, PLACE]
services:
  - { name: sshd, use: sshd }
  - { name: hello_world, use: hello_world }
  - name: access-point
    build: access-point
    command: [/usr/bin/access-point, garden, "battery staple"]
  - name: late
    packages: [busybox-static]
    command: [/usr/bin/busybox, sh, -c, "echo late: $COLOUR; busybox date; busybox sleep 9999"]
    env: [COLOUR=grey]
    settings: [COLOUR]
log: { console: true }
"""
TOLD = ["--hostname", "told-by-flash", "--timezone", "Asia/Kathmandu", "--wifi", "garden"]
TOLD += ["--set", 'COLOUR=green "and" $blue', "--set", "PLACE=shed", "--set", "NOBODY=asks"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flash")
    (folder / "flashed.yml").write_text(FILE)
    shutil.copytree(ACCESS_POINT, folder / "access-point")
    sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key")
    (folder / "passphrase").write_text("battery staple\n")
    return folder


@pytest.fixture(scope="module")
def flashed(project: Path, piimage_store: Path) -> subprocess.CompletedProcess[str]:
    """What `piimage flash` said; card.img holds the bytes of the device that it wrote."""
    with (project / "disk").open("wb") as file:
        file.truncate(2048 * MIB)
    with loop(project / "disk") as device:
        words = [PIIMAGE, "flash", device, project / "flashed.yml", "--force", "--yes", device]
        words += [*TOLD, "--wifi-passphrase-file", project / "passphrase"]
        words += ["--ssh-key", project / "key.pub"]
        environment = {**os.environ, "PIIMAGE_STORE": str(piimage_store)}
        done = subprocess.run(
            words, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        sh("blockdev", "--flushbufs", device)
        sh("cp", "--sparse=always", device, project / "card.img")
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def pi(
    flashed: subprocess.CompletedProcess[str], project: Path
) -> Iterator[tuple[Session, Callable[[str], str]]]:
    """The machine, and a way to run a line of sh on it."""
    port, runner = free_port(), Runner()
    options = Options(ssh_port=port)
    with boot(project / "card.img", load_board("qemu-virt"), runner, options) as machine:
        for name in ("hello_world", "sshd", "late", "wifi"):
            shown(machine, f"piimage: service {name}: running")
        shell = Shell(runner, project / "key", port)
        shell.wait(PATIENCE)
        yield machine, lambda line: shell.run(["sh", "-c", line], PATIENCE).text


Pi = tuple[Session, Callable[[str], str]]


def test_a_setting_that_no_container_asks_for_is_said(
    flashed: subprocess.CompletedProcess[str],
) -> None:
    assert "no container of the image requests NOBODY" in flashed.stderr
    assert "asks for COLOUR" not in flashed.stderr
    assert "battery" not in flashed.stderr + flashed.stdout


def test_it_grew_and_runs_and_has_its_name(pi: Pi) -> None:
    machine, ask = pi
    assert ask("hostname") == "told-by-flash\n"
    assert any("HELLO from told-by-flash" in line.text for line in machine.lines())
    # KiB: made with 64 MiB, grown to the device's end.
    assert int(ask("df -k /data | tail -1").split()[1]) > 900_000
    tasks = ask("ctr -n services.linuxkit tasks ls").splitlines()[1:]
    running = {line.split()[0] for line in tasks if line.split()[2] == "RUNNING"}
    assert {"hello_world", "sshd", "wifi", "late"} <= running


def test_it_lives_in_the_time_zone_that_it_was_told(pi: Pi) -> None:
    machine, ask = pi
    shown(machine, "late: ")
    # Nepal's is the only zone with this offset; busybox writes it as the zone's name.
    assert ask("date +%z; cat /etc/timezone").split() == ["+0545", "Asia/Kathmandu"]
    assert " +0545 " in ask("cat /var/log/services/late/log")


def test_its_settings_reach_who_asks_and_nobody_else(pi: Pi) -> None:
    machine, ask = pi
    output = [line.text for line in machine.lines()]
    assert 'early: green "and" $blue shed' in output
    assert 'late: green "and" $blue' in output
    pid = ask("cat /run/piimage/services/hello_world/pid").strip()
    assert "COLOUR" not in ask(f"tr '\\0' '\\n' </proc/{pid}/environ")
    modes = ask("cd /data/piimage/provision; stat -c '%n %a' *; stat -c %a /run/piimage/configured")
    assert modes.split() == [
        "authorized_keys", "600", "hostname", "644", "settings", "600", "timezone", "600",
        "wifi.conf", "600", "700",
    ]  # fmt: skip


def test_it_joins_the_wireless_network_that_it_was_told(pi: Pi) -> None:
    machine, ask = pi
    shown(machine, "dhcp: wlan0 has 10.77.0.")
    assert ask("wget -q -O - http://10.77.0.1/") == "over the air\n"
    route = ask("ip route get 10.77.0.1 | head -1")
    assert " dev wlan0 " in route
    assert not [line for line in machine.lines() if "battery" in line.text]


def first_sector(image: Path) -> bytes:
    with image.open("rb") as file:
        return file.read(512)


def test_a_card_that_was_flashed_is_told_something_else(
    flashed: subprocess.CompletedProcess[str], project: Path
) -> None:
    other = project / "other.img"
    sh("cp", "--sparse=always", project / "card.img", other)
    data = data_partition(first_sector(other), other.stat().st_size, "x")
    with loop(other) as device:
        words = [PIIMAGE, "provision", device, "--force", "--hostname", "renamed", "--set", "X=1"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert "no container of the image requests X" in done.stderr
        output = sh(
            "debugfs", "-R", "cat /piimage/provision/hostname", f"{device}?offset={data.start}"
        )
        kept = sh(
            "debugfs", "-R", "cat /piimage/provision/timezone", f"{device}?offset={data.start}"
        )
    assert (output, kept) == ("renamed", "Asia/Kathmandu")
