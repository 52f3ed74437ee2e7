from __future__ import annotations

import base64
import errno
import fcntl
import os
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piimage.card.ext4 import DataFile, Ext4Volume
from piimage.card.fat import FatVolume
from piimage.card.image import Card as Image
from piimage.card.image import CardPlan, write_card
from piimage.errors import ErrorGroup, InputError, PiimageError
from piimage.flash import medium, provision, source, write
from piimage.flash.medium import Medium
from piimage.flash.provision import Settings, Wifi
from piimage.flash.stored import Change
from piimage.flash.wired import Wired
from piimage.run import Completed, Runner
from tests.unit.card.volumes import tool
from tests.unit.durability import recording
from tests.unit.flash.cards import Card, bootable, card

MIB = 1 << 20
BLOB = b"\0\0\0\x0bssh-ed25519\0\0\0 " + bytes(32)
KEY = f"ssh-ed25519 {base64.b64encode(BLOB).decode()} me@home"
ID = uuid.UUID(int=7)


def test_each_setting_is_a_file_that_only_root_reads() -> None:
    told = Settings(
        "shed", (KEY,), Wifi("garden", "correct horse"), "Asia/Tokyo", {"A": "b c"}, "JP",
        Wired("192.168.1.10/24"),
    )  # fmt: skip
    files = told.files()
    text = {path.rpartition("/")[2]: f.content for path, f in files.items()}
    assert text["hostname"] == b"shed\n"
    assert text["authorized_keys"] == f"{KEY}\n".encode()
    assert text["timezone"] == b"Asia/Tokyo\n"
    assert text["settings"] == b"A='b c'\n"
    assert text["country"] == b"JP\n"
    modes = {path.rpartition("/")[2]: f.mode for path, f in files.items()}
    assert modes.pop("hostname") == 0o644
    assert modes.pop("country") == 0o644
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
        Settings(country="UK"),
        Settings(country="jp"),
        Settings(country=""),
        Settings(wired=Wired("192.168.1.10")),
        Settings(wired=Wired("192.168.1.300/24")),
        Settings(wired=Wired("192.168.1.0/24")),
        Settings(wired=Wired("192.168.1.10/24", "10.0.0.1")),
        Settings(wired=Wired("192.168.1.10/24", "router")),
        Settings(wired=Wired("192.168.1.10/24", dns=("1.1.1.1 8.8.8.8",))),
        Settings(wired=Wired("192.168.1.10/24", interface="eth0.100")),
        Settings(wired=Wired("192.168.1.10/24", interface="lo")),
        Settings(wired=Wired("192.168.1.10/24", interface="x" * 16)),
        Settings(wired=Wired("dhcp", "192.168.1.1")),
        Settings(wired=Wired("")),
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
    old_files = {"piimage/provision/hostname": DataFile(b"old\n"), "keep": DataFile(b"kept")}
    plan = CardPlan(
        "one",
        1,
        (
            FatVolume("selector", "SELECTOR", 1, 8 * MIB, {"autoboot.txt": b"x"}, bits=16),
            Ext4Volume("data", "data", ID, ID, 16 * MIB, old_files),
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
    told = Settings(timezone="Asia/Tokyo").files()
    with medium.pinned(str(image.image), 0, None) as card_:
        provision.provision(card_, Runner(), told)
    alone = tmp_path / "alone"
    alone.write_bytes(image.image.read_bytes()[9 * MIB :])
    tool("e2fsck", "-fn", alone)
    assert tool("debugfs", "-R", "cat /piimage/provision/timezone", alone) == "Asia/Tokyo\n"


def test_a_setting_of_a_card_that_was_used_leaves_its_other_settings(
    image: Image, tmp_path: Path
) -> None:
    changes = [
        Change({"PLACE": "shed", "TOKEN": "71 c9"}),
        Change({"PLACE": "roof"}),
        Change({"COLOUR": "green"}, ("TOKEN",)),
    ]
    results = []
    for change in changes:
        with medium.pinned(str(image.image), 0, None) as card_:
            provision.provision(card_, Runner(), {}, change)
        alone = tmp_path / "alone"
        alone.write_bytes(image.image.read_bytes()[9 * MIB :])
        results.append(tool("debugfs", "-R", "cat /piimage/provision/settings", alone))
    tool("e2fsck", "-fn", alone)
    assert results == [
        "PLACE=shed\nTOKEN='71 c9'\n", "TOKEN='71 c9'\nPLACE=roof\n",
        "PLACE=roof\nCOLOUR=green\n",
    ]  # fmt: skip
    assert "Mode:  0600" in tool("debugfs", "-R", "stat /piimage/provision/settings", alone)


def test_a_setting_that_the_card_does_not_have_changes_nothing(image: Image) -> None:
    before = image.image.read_bytes()
    with (
        medium.pinned(str(image.image), 0, None) as card_,
        pytest.raises(PiimageError, match="the card has no setting 'PLACE'"),
    ):
        provision.provision(card_, Runner(), {}, Change(unset=("PLACE",)))
    assert image.image.read_bytes() == before


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
    before = image.image.read_bytes()
    with (
        medium.pinned(str(image.image), 0, None) as card_,
        pytest.raises(PiimageError, match="damaged") as caught,
    ):
        provision.provision(card_, Runner(), Settings("shed").files())
    assert image.image.read_bytes() == before
    assert caught.value.place == str(image.image)
    assert "/proc/" not in str(caught.value)


class Meddler:
    """Does something before each program that is started."""

    def __init__(self, act: Callable[[str], None]) -> None:
        self._act = act

    def run(self, argv: Sequence[str | Path], **options: Any) -> Completed:
        self._act(str(argv[0]))
        return Runner().run(argv, **options)

    def with_environment(self, **_: str) -> Meddler:
        return self


def test_a_name_that_leads_elsewhere_meanwhile_changes_nothing(
    image: Image, tmp_path: Path
) -> None:
    """A card is pulled, another one gets its name."""
    other = tmp_path / "other"
    other.write_bytes(image.image.read_bytes())
    name = tmp_path / "sdx"
    name.symlink_to(image.image)

    def swap(_: str) -> None:
        name.unlink()
        name.symlink_to(other)

    with medium.pinned(str(name), 0, None) as card_:
        provision.provision(card_, cast("Runner", Meddler(swap)), Settings("shed").files())
    assert other.read_bytes() != image.image.read_bytes()
    alone = tmp_path / "alone"
    alone.write_bytes(image.image.read_bytes()[9 * MIB :])
    assert tool("debugfs", "-R", "cat /piimage/provision/hostname", alone) == "shed\n"
    alone.write_bytes(other.read_bytes()[9 * MIB :])
    assert tool("debugfs", "-R", "cat /piimage/provision/hostname", alone) == "old\n"


def test_the_card_is_held_while_files_are_written_to_it(image: Image) -> None:
    """A file knows no exclusive open: the lock that goes with it shows that it was taken."""
    held: list[tuple[str, bool]] = []

    def look(program: str) -> None:
        with image.image.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                held.append((program, True))
            else:
                held.append((program, False))

    with medium.pinned(str(image.image), 0, None) as card_:
        provision.provision(card_, cast("Runner", Meddler(look)), Settings("shed").files())
    assert held == [("e2fsck", False), ("debugfs", True), ("debugfs", True)]


@pytest.mark.provokes("card.data-full")
def test_a_card_without_room_is_named_as_the_user_does(image: Image) -> None:
    told = {"piimage/provision/settings": DataFile(bytes(range(256)) * (1 << 16))}
    with (
        medium.pinned(str(image.image), 0, None) as card_,
        pytest.raises(PiimageError, match="cannot be written to the data partition") as caught,
    ):
        provision.provision(card_, Runner(), told)
    assert caught.value.place == str(image.image)


@pytest.mark.provokes("flash.no-scratch")
def test_a_full_host_disk_is_no_success(image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(PiimageError, match="No space left"):
        provisioned(image, Settings("shed"))


def test_settings_outlast_a_card_that_is_pulled(image: Image) -> None:
    """The last that happens to the card is a sync of the bytes that it has then."""
    told = Settings("shed", timezone="Asia/Tokyo").files()
    with recording() as journal, medium.pinned(str(image.image), 0, None) as card_:
        provision.provision(card_, Runner(), told)
        journal.holds(image.image)


def test_settings_that_come_with_a_flash_are_flushed_before_the_card_boots(image: Image) -> None:
    calls: list[tuple[str, int]] = []
    disk = card(32 * MIB, lambda _, operation, at, __: calls.append((operation, at)))
    found = source.find(image.image)
    mapped = [r.extent for r in found.ranges()]
    began: list[int] = []

    def amend(m: Medium, head: bytes) -> None:
        began.append(len(calls))
        provision.amend(m, head, mapped, Runner(), Settings("shed").files())
        began.append(len(calls))

    write.flash(disk, found, Runner(), amend=amend)
    own = calls[began[0] : began[1]]
    assert [operation for operation, _ in own if operation != "read"][-1] == "flush"
    written = [n for n, (operation, _) in enumerate(own) if operation == "write"]
    assert written
    assert all(own[n + 1][0] == "flush" for n in written)
    # Then the start of the card: all but its first block, which is flushed before that goes on.
    rest = [(operation, at) for operation, at in calls[began[1] :] if operation != "read"]
    assert rest == [("write", 4096), ("flush", 0), ("write", 0), ("flush", 0)]


def test_a_card_is_told_the_zone_by_its_name_of_today() -> None:
    (found,) = Settings(timezone="Asia/Calcutta").files().values()
    assert found.content == b"Asia/Kolkata\n"


def test_a_card_may_be_told_every_name_that_a_file_may_have() -> None:
    (found,) = Settings(hostname="shed.example").files().values()
    assert found.content == b"shed.example\n"
