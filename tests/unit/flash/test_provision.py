from __future__ import annotations

import base64
import errno
import os
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piimage.card.ext4 import DataFile, Ext4Volume
from piimage.card.fat import FatVolume
from piimage.card.image import Card as Image
from piimage.card.image import CardPlan, write_card
from piimage.errors import ErrorGroup, InputError, PiimageError
from piimage.flash import provision, source, write
from piimage.flash.provision import Settings, Wifi
from piimage.run import Runner
from tests.unit.card.volumes import tool
from tests.unit.flash.cards import Card, bootable, card

MIB = 1 << 20
BLOB = b"\0\0\0\x0bssh-ed25519\0\0\0 " + bytes(32)
KEY = f"ssh-ed25519 {base64.b64encode(BLOB).decode()} me@home"
ID = uuid.UUID(int=7)


def test_each_setting_is_a_file_that_only_root_reads() -> None:
    told = Settings("shed", (KEY,), Wifi("garden", "correct horse"), "Asia/Tokyo", {"A": "b c"})
    files = told.files()
    text = {path.rpartition("/")[2]: f.content for path, f in files.items()}
    assert text["hostname"] == b"shed\n"
    assert text["authorized_keys"] == f"{KEY}\n".encode()
    assert text["timezone"] == b"Asia/Tokyo\n"
    assert text["settings"] == b"A='b c'\n"
    modes = {path.rpartition("/")[2]: f.mode for path, f in files.items()}
    assert modes.pop("hostname") == 0o644
    assert set(modes.values()) == {0o600}
    assert all(path.startswith("piimage/provision/") for path in files)


def test_the_wifi_key_is_the_standards_own_example() -> None:
    # IEEE 802.11-2020, J.4.2, test case 1: ssid IEEE, passphrase password.
    text = Settings(wifi=Wifi("IEEE", "password")).files()["piimage/provision/wifi.conf"].content
    assert text is not None
    assert b"psk=f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e" in text
    assert b"ssid=49454545" in text
    assert b"password" not in text


def test_an_open_network_has_no_key() -> None:
    text = Settings(wifi=Wifi("cafe", None)).files()["piimage/provision/wifi.conf"].content
    assert text == b"network={\n\tssid=63616665\n\tscan_ssid=1\n\tkey_mgmt=NONE\n}\n"


def test_the_passphrase_is_not_shown() -> None:
    assert "correct" not in repr(Wifi("garden", "correct horse"))


@pytest.mark.provokes("flash.bad-setting")
@pytest.mark.parametrize(
    "told",
    [
        Settings("-shed"),
        Settings("a b"),
        Settings("x" * 64),
        Settings(""),
        Settings(wifi=Wifi("", None)),
        Settings(wifi=Wifi("x" * 33, None)),
        Settings(wifi=Wifi("garden", "short")),
        Settings(hostname="a" * 60 + ".bcdef"),
        Settings(timezone="../etc/passwd"),
        Settings(timezone="Asia/Tokyo\nx"),
        Settings(timezone="Europe/Wien"),
        Settings(values={"A": "\x1b[2J"}),
        Settings(values={"1A": "x"}),
        Settings(values={"A": "two\nlines"}),
    ],
    ids=str,
)
def test_an_impossible_setting_is_refused(told: Settings) -> None:
    with pytest.raises(InputError, match="give"):
        told.files()


@pytest.mark.provokes("ssh.not-a-key")
@pytest.mark.parametrize("key", ["ssh-ed25519 !!!!", f"ssh-rsa {KEY.split()[1]}", "x", ""])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(InputError) as caught:
        Settings(ssh_keys=(key,)).files()
    assert (caught.value.code, caught.value.place) == ("ssh.not-a-key", "--ssh-key")


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ErrorGroup) as caught:
        Settings("-", ("x",), Wifi("", "y"), "?", {"?": ""}).files()
    assert len(caught.value.errors) == 6


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"], codec="utf-8")))
def test_a_shell_reads_each_value_as_it_was_given(value: str) -> None:
    content = Settings(values={"K": value}).files()["piimage/provision/settings"].content
    assert content is not None
    assert content.startswith(b"K=")
    import shlex

    assert shlex.split(content.decode())[0] == f"K={value}"


@pytest.fixture
def image(tmp_path: Path) -> Image:
    there = {"piimage/provision/hostname": DataFile(b"old\n"), "keep": DataFile(b"kept")}
    plan = CardPlan(
        "one",
        1,
        (
            FatVolume("selector", "SELECTOR", 1, 8 * MIB, {"autoboot.txt": b"x"}, bits=16),
            Ext4Volume("data", "data", ID, ID, 16 * MIB, there),
        ),
    )
    return write_card(Runner(), plan, tmp_path / "pi4.img")


def provisioned(image: Image, told: Settings) -> Card:
    disk = card(32 * MIB)
    found = source.find(image.image)
    mapped = [r.extent for r in found.ranges()]
    write.flash(
        disk,
        found,
        Runner(),
        amend=lambda m, head: provision.amend(m, head, mapped, Runner(), told.files()),
    )
    return disk


def data_of(disk: Card, folder: Path) -> Path:
    alone = folder / "alone"
    alone.write_bytes(disk.bytes[9 * MIB : 25 * MIB])
    return alone


def test_a_card_is_told_while_it_is_flashed(image: Image, tmp_path: Path) -> None:
    disk = provisioned(image, Settings("shed", (KEY,)))
    assert bootable(disk.bytes)
    data = data_of(disk, tmp_path)
    tool("e2fsck", "-fn", data)
    assert tool("debugfs", "-R", "cat /piimage/provision/hostname", data) == "shed\n"
    assert tool("debugfs", "-R", "cat /piimage/provision/authorized_keys", data) == f"{KEY}\n"
    assert tool("debugfs", "-R", "cat /keep", data) == "kept"
    assert disk.bytes[:MIB] == image.image.read_bytes()[:MIB]


def test_a_card_that_was_used_is_told_by_its_device(image: Image, tmp_path: Path) -> None:
    first = image.image.read_bytes()[:512]
    data = provision.data_partition(first, 25 * MIB, "x")
    told = Settings(timezone="Asia/Tokyo").files()
    provision.provision(str(image.image), data, Runner(), told)
    alone = tmp_path / "alone"
    alone.write_bytes(image.image.read_bytes()[9 * MIB :])
    tool("e2fsck", "-fn", alone)
    assert tool("debugfs", "-R", "cat /piimage/provision/timezone", alone) == "Asia/Tokyo\n"


@pytest.mark.provokes("card.no-data")
def test_a_card_without_data_partition_is_told_nothing(tmp_path: Path) -> None:
    from piimage.card import partitions
    from piimage.card.partitions import Partition, Table

    first = partitions.encode(Table(1, {1: Partition(partitions.FAT, MIB, MIB)}))
    with pytest.raises(PiimageError, match="no data partition"):
        provision.data_partition(first, 9 * MIB, "x")


@pytest.mark.provokes("card.no-data")
def test_a_damaged_file_system_is_not_touched(image: Image) -> None:
    with image.image.open("r+b") as file:
        file.seek(9 * MIB)
        file.write(b"\xff" * 8 * MIB)
    data = provision.data_partition(image.image.read_bytes()[:512], 25 * MIB, "x")
    before = image.image.read_bytes()
    with pytest.raises(PiimageError, match="damaged"):
        provision.provision(str(image.image), data, Runner(), Settings("shed").files())
    assert image.image.read_bytes() == before


@pytest.mark.provokes("flash.no-scratch")
def test_a_full_host_disk_is_no_success(image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(PiimageError, match="No space left"):
        provisioned(image, Settings("shed"))


def test_a_card_is_told_the_zone_by_its_name_of_today() -> None:
    (found,) = Settings(timezone="Asia/Calcutta").files().values()
    assert found.content == b"Asia/Kolkata\n"


def test_a_card_may_be_told_every_name_that_a_file_may_have() -> None:
    (found,) = Settings(hostname="shed.example").files().values()
    assert found.content == b"shed.example\n"
