"""An ISO of a whole system, read as a CD and as a disk by programs that did not write it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from piimage import events
from piimage.boards import load_board
from piimage.card import gpt
from piimage.durable import PRIVATE
from piimage.emulator.drive import usual_kind
from piimage.errors import InputError, PiimageError
from piimage.firmware.card import open_card
from piimage.firmware.manifest import board_of
from piimage.firmware.reader import read_card
from piimage.flash import source
from piimage.flash.provision import data_partition, secret_files
from piimage.formats.iso import Iso, disk_id, require_size, room_for
from piimage.plan.slot import Version
from piimage.run import Runner
from piimage.steps import Job
from piimage.store import Store
from piimage.testing.shell import card_with
from tests.unit.firmware.efi_disks import program
from tests.unit.plan.test_boot_loaders import made, planned

LOADER = "usr/lib/systemd/boot/efi/systemd-bootaa64.efi"
MIB = 1 << 20


def job_of(version: Version, store: Store, kernel: bytes) -> Job:
    """A job in which all is made that the ISO needs; only the kernel's headers are looked at."""
    done = made(version, store, {LOADER: program(magic=bytes(4))}).made
    step = version.system.kernel.key
    outputs = {**done, step: {**done[step], "image": store.add_bytes(kernel)}}
    return Job(store, Runner(), events.ignore, outputs)


def iso_of(version: Version, store: Store, folder: Path, kernel: bytes = b"") -> Path:
    folder.mkdir(exist_ok=True)
    job = job_of(version, store, kernel or program())
    (path,) = Iso().write(version, job, "shed", folder)
    assert [*folder.iterdir()] == [path]
    return path


@pytest.fixture(scope="module")
def version() -> Version:
    return planned(load_board("arm64-uefi"))


@pytest.fixture(scope="module")
def iso(version: Version, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ISO that the tests only read."""
    folder = tmp_path_factory.mktemp("iso")
    return iso_of(version, Store(folder / "store"), folder / "out")


def run(*words: object) -> str:
    done = Runner().run([str(word) for word in words], timeout=60)
    return done.text + done.stderr.decode()


def test_as_a_cd_it_leads_to_a_whole_fat_with_the_boot_loader(iso: Path, tmp_path: Path) -> None:
    fat = tmp_path / "efi.img"
    run("xorriso", "-osirrox", "on", "-indev", iso, "-extract", "/EFI.IMG", fat)
    fat.chmod(0o600)
    run("fsck.fat", "-n", fat)
    run("mcopy", "-i", fat, "::EFI/BOOT/BOOTAA64.EFI", tmp_path / "loader")
    assert (tmp_path / "loader").read_bytes() == program(magic=bytes(4))
    listed = run("mdir", "-/", "-b", "-i", fat, "::").split()
    assert {"::/a/kernel.img", "::/a/initramfs.img", "::/a/appliance.json"} <= {*listed}
    assert not [name for name in listed if "squashfs" in name]


def test_as_a_disk_it_has_a_whole_table_with_the_same_fat(iso: Path, version: Version) -> None:
    assert "No problems found" in run("sgdisk", "-v", iso)
    with iso.open("rb") as file:
        table = gpt.decode(file.read(gpt.HEAD), iso.stat().st_size, "x")
    assert [(n, p.start) for n, p in table.partitions.items()] == [(1, MIB)]
    assert "gpt" in run("blkid", "-p", "-o", "value", "-s", "PTTYPE", iso)
    # The card of the same file finds its disk by this number.
    assert table.disk_id == disk_id(version) != version.disk_id


def test_piimage_knows_it_by_its_manifest_and_boots_it_as_a_cd(iso: Path) -> None:
    assert board_of(iso).name == "arm64-uefi"
    assert usual_kind(iso) == "cd"


def test_the_boot_loader_starts_an_initramfs_with_the_layers(iso: Path, version: Version) -> None:
    files = read_card(iso, load_board("arm64-uefi"), Runner())
    assert files.kernel == program()
    assert files.initramfs is not None
    layers = {layer.key.encode() + b" squashfs" for layer in version.layers}
    assert [layer for layer in layers if layer not in files.initramfs] == []


def test_two_builds_are_the_same_bytes(
    iso: Path, version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the time zone, the umask, the clock and the folder."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    monkeypatch.setattr(time, "time", lambda: 1e9)
    old = os.umask(0o077)
    try:
        again = iso_of(version, Store(tmp_path / "store"), tmp_path / "another")
    finally:
        os.umask(old)
        monkeypatch.undo()
        time.tzset()
    assert again.read_bytes() == iso.read_bytes()
    assert again.stat().st_mode & 0o777 == 0o644


def test_an_iso_that_would_not_boot_is_not_written(version: Version, tmp_path: Path) -> None:
    with pytest.raises(PiimageError) as caught:
        iso_of(version, Store(tmp_path / "store"), tmp_path / "out", b"no kernel")
    assert caught.value.code == "firmware.bad-kernel"
    assert [*(tmp_path / "out").iterdir()] == []


def test_the_host_key_of_the_file_is_in_the_iso_which_is_private(
    version: Version, tmp_path: Path
) -> None:
    key = tmp_path / "host_key"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    ssh = version.appliance.ssh.model_copy(update={"host_key": str(key)})
    other = Version(
        version.name, version.appliance.model_copy(update={"ssh": ssh}), version.board,
        version.system, version.containers,
    )  # fmt: skip
    path = iso_of(other, Store(tmp_path / "store"), tmp_path / "out")
    assert path.stat().st_mode & 0o777 == PRIVATE
    initramfs = read_card(path, version.board, Runner()).initramfs
    assert initramfs is not None
    assert b"slot/data/ssh/dropbear_ed25519_host_key\0" in initramfs


@pytest.mark.provokes("card.no-data")
def test_it_has_no_place_for_settings_and_secrets(iso: Path, tmp_path: Path) -> None:
    """Neither for `piimage run --secret`, nor for `piimage flash --hostname`."""
    files = secret_files({"token": b"precious"})
    with pytest.raises(PiimageError, match="no data partition") as caught:
        card_with(Runner(), iso, board_of(iso), tmp_path, files)
    assert caught.value.code == "card.no-data"
    with iso.open("rb") as file, pytest.raises(PiimageError, match="no data partition"):
        data_partition(file.read(gpt.HEAD), iso.stat().st_size, "x")


@pytest.mark.provokes("formats.iso-size")
def test_a_system_that_no_memory_holds_is_refused() -> None:
    require_size(1 << 30)
    with pytest.raises(InputError, match="1025 MiB; the limit is 1024 MiB") as caught:
        require_size((1 << 30) + MIB)
    assert caught.value.code == "formats.iso-size"


@pytest.mark.parametrize("size", [0, 37 * MIB, 63 * MIB + 1, 127 * MIB, 300 * MIB])
def test_the_fat_has_room_for_its_files_and_little_more(size: int, tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(size)
    files: Mapping[str, Any] = {"a/kernel.img": large, "loader/loader.conf": b"x"}
    room = room_for(files)
    assert room % MIB == 0
    assert room >= 40 * MIB
    assert room <= max(40 * MIB, size * 1.02 + 4 * MIB)


def test_flash_takes_it_for_a_stick_as_it_is(iso: Path) -> None:
    """Without the block map of a card of the same name beside it."""
    iso.with_suffix(".bmap").write_text("not its own")
    image = source.checked(source.find(iso), Runner())
    iso.with_suffix(".bmap").unlink()
    assert (image.map, image.size) == (None, iso.stat().st_size)
    with open_card(iso) as card:
        assert card.fat_numbers == (1,)
