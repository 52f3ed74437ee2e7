"""What a file says of network and time, at work on one boot; and what must not leak."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from piimage.boards import load_board
from piimage.emulator.session import Options, Session, boot
from piimage.run import Runner
from piimage.testing.shell import Shell, card_with_key
from piimage.zones import zone_names
from tests.system.conftest import PIIMAGE
from tests.system.consoles import PATIENCE, shown


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("network") / "appliances"
    shutil.copytree(Path(__file__).parent / "appliances", folder)
    return folder


@pytest.fixture(scope="module")
def built(project: Path, piimage_store: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PIIMAGE_STORE": str(piimage_store)}
    done = subprocess.run(
        [PIIMAGE, "build", "-v", project / "shed.yml", "-o", project / "out"],
        env=environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


Pi = tuple[Session, Callable[[str], str]]


@pytest.fixture(scope="module")
def pi(built: object, project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pi]:
    runner, board = Runner(), load_board("qemu-virt")
    image = project / "out/shed.img"
    card, key = card_with_key(runner, image, board, tmp_path_factory.mktemp("card"))
    with boot(card, board, runner, Options(ssh_port=0)) as machine:
        assert machine.ssh_port is not None
        shown(machine, "piimage: service greenwich: running")
        shell = Shell(runner, key, machine.ssh_port)
        shell.wait(PATIENCE)
        yield machine, lambda line: shell.run(["sh", "-c", line], PATIENCE).text


def test_the_wired_network_has_its_fixed_address_and_dhcp_lets_it_be(pi: Pi) -> None:
    machine, ask = pi  # that SSH answers shows that address and router are right
    shown(machine, "dhcp: nothing to do: eth0 has a fixed address")
    assert "inet 10.0.2.15/24 brd 10.0.2.255 scope global eth0" in ask("ip addr show dev eth0")
    assert "default via 10.0.2.2 dev eth0" in ask("ip route")
    assert not [x for x in machine.lines() if "lease of 10.0.2" in x.text]


def test_it_joins_the_network_of_the_file_and_keeps_its_name_servers(pi: Pi) -> None:
    machine, ask = pi
    shown(machine, "dhcp: wlan0 has 10.77.0.")
    assert ask("wget -q -O - http://10.77.0.1/") == "over the air\n"
    assert ask("cat /etc/resolv.conf") == "nameserver 10.0.2.3\n"
    assert any("key handshake completed (RSN)" in line.text for line in machine.lines())


def test_the_radio_obeys_the_files_country(pi: Pi) -> None:
    _, ask = pi
    inside = "runc --root /run/containerd/runc/services.linuxkit exec access-point "
    # Without its signed rules (regulatory.db) the kernel would stay with "country 00".
    assert "country JP:" in ask(inside + "iw reg get")


def test_the_time_zone_is_the_hosts_and_the_containers(pi: Pi) -> None:
    _, ask = pi
    assert ask("date +%z; cat /etc/timezone").split() == ["+0900", "Asia/Tokyo"]
    assert " JST " in ask("cat /var/log/services/clock/log")
    assert " UTC " in ask("cat /var/log/services/greenwich/log")


def test_every_zone_of_the_list_is_there_and_no_other(pi: Pi) -> None:
    _, ask = pi
    names = ask("cd /usr/share/zoneinfo; find . -type f -o -type l").split()
    assert {name.removeprefix("./") for name in names} == zone_names()


def test_the_key_is_roots_alone_and_in_nothing_that_was_printed_or_written_beside(
    pi: Pi, built: subprocess.CompletedProcess[str], project: Path
) -> None:
    machine, ask = pi
    assert ask("stat -c '%a %u' /etc/piimage/wifi.conf") == "600 0\n"
    (key,) = re.findall(r"psk=([0-9a-f]{64})", ask("cat /etc/piimage/wifi.conf"))
    outputs = [built.stdout, built.stderr, *(line.text for line in machine.lines())]
    outputs.append(ask("cat /var/log/services/*/log"))
    outputs.append(
        ask("for x in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$x; echo; done 2>/dev/null")
    )
    for path in (project / "out").iterdir():
        if path.suffix in (".json", ".bmap"):
            outputs.append(path.read_text())
    for secret in ("correct horse", key):
        # The access point of the test is told the passphrase on its command line.
        found = [x for text in outputs for x in text.split("\n") if secret in x]
        assert not [x for x in found if "access-point" not in x], found
    assert (project / "out/shed.img").stat().st_mode & 0o077 == 0
