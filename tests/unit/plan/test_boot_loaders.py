"""Cards of boards that are no Raspberry Pi: where the boot loader, the slots and data are."""

from __future__ import annotations

from pathlib import Path

import pytest

from piimage import events
from piimage.board import Board
from piimage.boards import load_board, parse_board
from piimage.card.ext4 import Ext4Volume
from piimage.card.fat_folders import FolderedVolume
from piimage.config.models import Appliance
from piimage.errors import InputError
from piimage.plan.containers import plan_containers
from piimage.plan.slot import Version, card_plan, published_identity, slots
from piimage.plan.system import plan_system
from piimage.run import Runner
from piimage.steps import Job
from piimage.store import Blob, Store

from .locks import lock_of

MIB = 1 << 20
FOLDER = Path(__file__).parents[2] / "system/boot/appliances/boards"
RAW = {"packages": ["u-boot-sunxi"], "root": "usr/lib/u-boot", "files": ["*/u-boot.bin"]}


def with_raw(**firmware: object) -> Board:
    """Return a board whose boot ROM reads U-Boot from byte 8192 of the card."""
    place = {"raw": [{"file": "u-boot.bin", "at": 8192}], "chain": "u-boot"}
    data = load_board("virt-uboot", [FOLDER]).model_dump(mode="json", exclude={"name"})
    return parse_board("rawboard", {**data, "firmware": {**RAW, **place, **firmware}}, origin="x")


def planned(board: Board) -> Version:
    appliance = Appliance.model_validate({"services": [{"name": "hello", "use": "hello_world"}]})
    lock = lock_of(appliance, board)
    system = plan_system(appliance, board, lock, {})
    return Version("shed", appliance, board, system, plan_containers(appliance, lock, {}))


def made(version: Version, store: Store, firmware: dict[str, bytes]) -> Job:
    """A job in which each step has made a blob for each output that a card needs."""
    outputs: dict[str, dict[str, Blob]] = {}
    for step in version.steps():
        names = ("squashfs", "initramfs", "image", "release", "cpio")
        outputs[step.key] = {name: store.add_bytes(f"{step.key} {name}".encode()) for name in names}
        if step is version.system.overlays:
            outputs[step.key] = {}
        if step is version.system.firmware:
            outputs[step.key] = {path: store.add_bytes(data) for path, data in firmware.items()}
    return Job(store, Runner(), events.ignore, outputs)


def test_the_boot_loader_of_uefi_has_the_name_that_the_firmware_starts(store: Store) -> None:
    version = planned(load_board("arm64-uefi"))
    name = "usr/lib/systemd/boot/efi/systemd-bootaa64.efi"
    plan = card_plan(version, made(version, store, {name: b"a program"}))
    assert (plan.table, plan.start, plan.raw) == ("gpt", MIB, {})
    boot, data = plan.volumes
    assert isinstance(boot, FolderedVolume)
    assert isinstance(data, Ext4Volume)
    shared = {path for path in boot.files if not path.startswith("a/")}
    entries = {f"loader/entries/{name}.conf" for name in ("current", "try")}
    assert shared == {"EFI/BOOT/BOOTAA64.EFI", "loader/loader.conf", *entries}
    assert {"a/kernel.img", "a/initramfs.img", "a/cmdline.txt", "a/appliance.json"} <= {*boot.files}
    assert not [path for path in boot.files if path.endswith(("config.txt", "README"))]
    entry = boot.files["loader/entries/current.conf"]
    assert isinstance(entry, bytes)
    assert entry == boot.files["a/select.txt"]
    assert f"piimage.disk-id={version.disk_id:08x}" in entry.decode()


def test_the_initramfs_of_a_board_with_a_gpt_can_let_it_grow() -> None:
    system = planned(load_board("arm64-uefi")).system
    assert "gpt.sh" in system.initramfs_base.parts
    assert b"TABLE='gpt'\n" in system.initramfs_base.board
    assert b"TRY='efi'\n" in system.initramfs_base.board
    other = planned(load_board("pi3")).system
    assert "gpt.sh" not in other.initramfs_base.parts
    assert b"TABLE" not in other.initramfs_base.board


def test_a_boot_loader_at_a_fixed_place_is_in_no_file_system(store: Store) -> None:
    version = planned(with_raw())
    job = made(version, store, {"usr/lib/u-boot/pine64/u-boot.bin": b"u-boot"})
    plan = card_plan(version, job)
    assert (plan.table, plan.start) == ("mbr", 16 * MIB)
    assert {at: path.read_bytes() for at, path in plan.raw.items()} == {8192: b"u-boot"}
    boot = plan.volumes[0]
    assert isinstance(boot, FolderedVolume)
    assert not [path for path in boot.files if "u-boot" in path]
    assert "extlinux/extlinux.conf" in boot.files
    assert slots(version, job).places["a/"].start == 16 * MIB


def test_another_boot_loader_makes_another_card(store: Store) -> None:
    version = planned(with_raw())
    jobs = [
        made(version, store, {"usr/lib/u-boot/pine64/u-boot.bin": data}) for data in (b"1", b"2")
    ]
    assert card_plan(version, jobs[0]).identity != card_plan(version, jobs[1]).identity
    assert len({published_identity(version, job) for job in jobs}) == 2


@pytest.mark.provokes("boards.invalid")
@pytest.mark.parametrize("at", [0, 100, 8193])
def test_a_place_that_is_no_sector_is_refused(at: int) -> None:
    with pytest.raises(InputError, match=r"firmware\.raw\.0\.at"):
        with_raw(raw=[{"file": "u-boot.bin", "at": at}])
