from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.errors import DeviceRefused, ErrorGroup
from piimage.flash import guard
from piimage.flash.sysfs import Disk, Mount, System
from tests.examples import examples

GB = 10**9
SD = "devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/host6/target6:0:0/6:0:0:0/block/sdb"
NVME = "devices/pci0000:00/0000:00:1d.0/0000:3d:00.0/nvme/nvme0/nvme0n1"
SSD = SD.replace("1-2", "2-3").replace("sdb", "sdc")
MMC = "devices/pci0000:00/0000:00:1a.0/mmc_host/mmc0/mmc0:aaaa/block/mmcblk0"
SATA = "devices/pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0/block/sda"


@dataclass
class Machine:
    """A made-up machine: its /sys and /proc."""

    root: Path

    @property
    def system(self) -> System:
        return System(self.root / "sys", self.root / "proc")

    def write(self, path: str, text: str) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f"{text}\n")

    def disk(
        self, where: str, number: str, size: int = 32 * GB, files: Mapping[str, str] | None = None
    ) -> None:
        name = Path(where).name
        given = {"dev": number, "size": str(size // 512), "removable": "0", "ro": "0"}
        for file, text in (given | dict(files or {})).items():
            self.write(f"sys/{where}/{file}", text)
        (self.root / "sys/block").mkdir(parents=True, exist_ok=True)
        (self.root / "sys/block" / name).symlink_to(self.root / "sys" / where)
        self._number(number, where)

    def partition(self, where: str, name: str, number: str) -> None:
        self.write(f"sys/{where}/{name}/dev", number)
        self.write(f"sys/{where}/{name}/partition", "1")
        self._number(number, f"{where}/{name}")

    def holder(self, where: str, holder: str) -> None:
        self.write(f"sys/{where}/holders/{holder}", "")

    def mounts(self, *lines: str) -> None:
        self.write("proc/self/mountinfo", "\n".join(lines))

    def refusals(self, name: str, needed: int = 0) -> list[tuple[str, str]]:
        found = guard.refusals(self.system.disk(name), self.system, needed)
        return [(refusal.code, refusal.reason) for refusal in found]

    def _number(self, number: str, where: str) -> None:
        link = self.root / "sys/dev/block" / number
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(self.root / "sys" / where)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.disk(SD, "8:16", files={"device/vendor": "Generic ", "device/model": "SD Reader"})
    made.write("sys/devices/pci0000:00/0000:00:14.0/usb1/1-2/idVendor", "0bda")
    made.write("sys/devices/pci0000:00/0000:00:14.0/usb1/1-2/serial", "20090516")
    made.partition(SD, "sdb1", "8:17")
    made.mounts("30 1 259:2 / / rw - ext4 /dev/nvme0n1p2 rw")
    made.write("proc/swaps", "Filename Type Size Used Priority")
    return made


def test_a_card_in_a_usb_reader_can_be_flashed(machine: Machine) -> None:
    assert machine.refusals("sdb", 4 * GB) == []
    disk = machine.system.disk("sdb")
    assert (disk.bus, disk.model, disk.serial) == ("usb", "Generic SD Reader", "20090516")
    assert disk.partitions == ("sdb1",)


def test_a_card_in_a_slot_can_be_flashed(machine: Machine) -> None:
    machine.disk(MMC, "179:0", files={"device/name": "SD32G", "device/cid": "0353"})
    assert machine.refusals("mmcblk0") == []
    assert machine.system.disk("mmcblk0").model == "SD32G"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("nvme0n1", "nvme"), ("nvme10n2", "nvme"), ("loop7", "loop"), ("ram0", "memory")),
        *(("zram1", "memory"), ("dm-0", "device mapper"), ("md127", "RAID"), ("md_d0", "RAID")),
        *(("sr0", "optical"), ("nbd0", "network"), ("rbd1", "network")),
        *(("vda", "virtual machine"), ("xvdb", "virtual machine"), ("mmcblk0", "mmc")),
        *(("mmcblk0boot1", "eMMC boot area"), ("mmcblk0rpmb", "eMMC boot area"), ("sda", "disk")),
    ],
)
def test_what_a_disk_is_by_the_name_that_the_kernel_gives(
    machine: Machine, name: str, kind: str
) -> None:
    """Documentation/admin-guide/devices.txt, and the drivers' own names."""
    machine.disk(f"devices/pci0000:00/0000:00:1d.0/{name}", "240:0")
    assert machine.system.disk(name).bus == kind


IN_USE = "flash.in-use"


def test_a_volume_group_in_use_is_named(machine: Machine) -> None:
    machine.holder(f"{SD}/sdb1", "dm-3")
    machine.disk("devices/virtual/block/dm-3", "253:3")
    machine.write("sys/block/dm-3/dm/name", "vg0-home")
    machine.write("sys/block/dm-3/dm/uuid", "LVM-abc")
    assert machine.refusals("sdb") == [(IN_USE, "sdb1 is part of the LVM volume vg0-home")]


def test_an_open_luks_volume_is_named(machine: Machine) -> None:
    machine.holder(SD, "dm-0")
    machine.disk("devices/virtual/block/dm-0", "253:0")
    machine.write("sys/block/dm-0/dm/name", "secret")
    machine.write("sys/block/dm-0/dm/uuid", "CRYPT-LUKS2-abc")
    assert machine.refusals("sdb") == [(IN_USE, "sdb is part of the LUKS volume secret")]


def test_a_raid_member_is_named(machine: Machine) -> None:
    machine.holder(f"{SD}/sdb1", "md0")
    machine.disk("devices/virtual/block/md0", "9:0")
    machine.write("sys/block/md0/md/level", "raid1")
    assert machine.refusals("sdb") == [(IN_USE, "sdb1 is part of the RAID array md0 (raid1)")]


def test_what_is_mounted_far_above_is_found(machine: Machine) -> None:
    """/home on LVM on LUKS on RAID on the card."""
    for folder, name, number in [
        (f"{SD}/sdb1", "md0", "9:0"),
        ("devices/virtual/block/md0", "dm-0", "253:0"),
        ("devices/virtual/block/dm-0", "dm-1", "253:1"),
    ]:
        machine.holder(folder, name)
        machine.disk(f"devices/virtual/block/{name}", number)
    machine.mounts("31 1 253:1 / /home rw - ext4 /dev/mapper/vg-home rw")
    refused = machine.refusals("sdb")
    assert refused[0] == ("flash.system-disk", "dm-1 holds this computer's file system /home")


def test_a_second_member_of_a_btrfs_is_found(machine: Machine) -> None:
    machine.write("sys/fs/btrfs/1234/devices/sdb1", "")
    machine.write("sys/fs/btrfs/1234/label", "pool")
    assert machine.refusals("sdb") == [(IN_USE, "sdb1 is a member of the mounted btrfs pool")]


@pytest.mark.provokes("flash.system-disk")
@pytest.mark.parametrize("point", ["/", "/boot", "/boot/efi", "/boot/firmware", "/usr", "/home"])
def test_what_this_computer_runs_from_is_refused(machine: Machine, point: str) -> None:
    machine.mounts(f"30 1 8:17 / {point} rw shared:1 - ext4 /dev/sdb1 rw")
    with pytest.raises(DeviceRefused, match="holds this computer's file system") as caught:
        guard.check(machine.system.disk("sdb"), machine.system, 0, force=True)
    assert caught.value.code == "flash.system-disk"


def test_swap_is_refused(machine: Machine) -> None:
    machine.write("proc/swaps", "Filename Type Size Used Priority\n/dev/sdb1 partition 9 0 -2")
    assert machine.refusals("sdb") == [("flash.system-disk", "this computer swaps to /dev/sdb1")]


@pytest.mark.provokes("flash.in-use", "flash.read-only", "flash.too-small")
def test_all_reasons_are_told_at_once(machine: Machine) -> None:
    machine.write(f"sys/{SD}/ro", "1")
    machine.mounts(r"31 1 8:17 / /media/my\040card rw - vfat /dev/sdb1 rw")
    with pytest.raises(ErrorGroup) as caught:
        guard.check(machine.system.disk("sdb"), machine.system, 64 * GB)
    assert [error.code for error in caught.value.errors] == [
        "flash.too-small",
        "flash.read-only",
        "flash.in-use",
    ]
    assert "/media/my card" in str(caught.value)
    assert caught.value.exit_code == 4


@pytest.mark.provokes("flash.no-medium")
def test_an_empty_reader_is_refused(machine: Machine) -> None:
    machine.write(f"sys/{SD}/size", "0")
    with pytest.raises(DeviceRefused, match="there is no card in the reader"):
        guard.check(machine.system.disk("sdb"), machine.system, 1)


@pytest.mark.provokes("flash.not-removable")
@pytest.mark.parametrize("where", [NVME, SATA, "devices/virtual/block/loop9"])
def test_a_fixed_disk_takes_force(machine: Machine, where: str) -> None:
    machine.disk(where, "7:9")
    disk = machine.system.disk(Path(where).name)
    with pytest.raises(DeviceRefused, match="neither removable"):
        guard.check(disk, machine.system, 0)
    guard.check(disk, machine.system, 0, force=True)


def test_a_usb_ssd_can_be_flashed_though_it_is_not_removable(machine: Machine) -> None:
    machine.disk(SSD, "8:32", files={"device/vendor": "Samsung ", "device/model": "PSSD T7"})
    disk = machine.system.disk("sdc")
    assert (disk.bus, disk.removable, disk.model) == ("usb", False, "Samsung PSSD T7")
    assert machine.refusals("sdc", 4 * GB) == []


def test_what_this_computer_runs_from_stays_refused_whatever_it_is(machine: Machine) -> None:
    machine.disk(NVME, "259:0")
    machine.partition(NVME, "nvme0n1p2", "259:2")
    with pytest.raises(DeviceRefused, match="holds this computer's file system") as caught:
        guard.check(machine.system.disk("nvme0n1"), machine.system, 0, force=True)
    assert "--force" not in str(caught.value)


@pytest.mark.provokes("flash.not-removable")
def test_a_soldered_emmc_takes_force_and_a_card_does_not(machine: Machine) -> None:
    machine.disk(MMC, "179:0", files={"device/type": "MMC"})
    disk = machine.system.disk("mmcblk0")
    with pytest.raises(DeviceRefused, match=r"\(eMMC\); it may be built in") as caught:
        guard.check(disk, machine.system, 0)
    assert "add --force" in str(caught.value)
    guard.check(disk, machine.system, 0, force=True)
    machine.write(f"sys/{MMC}/device/type", "SD")
    assert machine.refusals("mmcblk0") == []


@pytest.mark.provokes("flash.sector-size")
def test_a_disk_whose_sectors_no_card_has_is_refused_even_with_force(machine: Machine) -> None:
    machine.disk(SSD, "8:32", files={"queue/logical_block_size": "4096"})
    with pytest.raises(DeviceRefused, match="sectors have 4096 bytes"):
        guard.check(machine.system.disk("sdc"), machine.system, 0, force=True)
    machine.write(f"sys/{SSD}/queue/logical_block_size", "512")
    assert machine.refusals("sdc") == []


@pytest.mark.provokes("flash.not-a-card")
@pytest.mark.parametrize("name", ["sr0", "zram0", "ram3", "mmcblk0boot0", "mmcblk1rpmb"])
def test_what_is_no_card_is_refused_even_with_force(machine: Machine, name: str) -> None:
    machine.disk(f"devices/virtual/block/{name}", "1:1")
    with pytest.raises(DeviceRefused, match="it is not a card or disk"):
        guard.check(machine.system.disk(name), machine.system, 0, force=True)


@pytest.mark.provokes("flash.no-device", "flash.not-a-device")
def test_what_is_no_device_is_refused(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(DeviceRefused, match="no such device"):
        guard.disk_of(str(tmp_path / "nothing"), machine.system)
    with pytest.raises(DeviceRefused, match="not a block device"):
        guard.disk_of(str(tmp_path), machine.system)


@pytest.mark.provokes("flash.partition", "flash.no-device")
def test_a_partition_is_answered_with_its_disk(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stat(self: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        values = [0o060600, *[0] * 9]
        number = {"/dev/sdb1": os.makedev(8, 17), "/dev/sdz": os.makedev(8, 99)}[str(self)]
        return os.stat_result(values, {"st_rdev": number})

    system = machine.system
    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", stat)
        patch.setattr(System, "whole_disk", lambda _, n: ("sdb", True) if n == "8:17" else None)
        with pytest.raises(DeviceRefused, match="give the whole disk, /dev/sdb"):
            guard.disk_of("/dev/sdb1", system)
        with pytest.raises(DeviceRefused, match="knows no disk"):
            guard.disk_of("/dev/sdz", system)


def test_disks_come_in_the_order_of_their_numbers(machine: Machine) -> None:
    for number in (10, 2, 1):
        machine.disk(f"devices/virtual/block/loop{number}", f"7:{number}")
    assert [disk.name for disk in machine.system.disks()] == ["loop1", "loop2", "loop10", "sdb"]


@settings(max_examples=examples(60))
@given(st.text(max_size=200))
def test_any_mount_table_is_read(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    proc = tmp_path_factory.mktemp("proc")
    (proc / "self").mkdir()
    (proc / "self/mountinfo").write_text(text, errors="replace")
    (proc / "swaps").write_text(text, errors="replace")
    found = System(proc, proc)
    found.mounts()
    found.swaps()


@pytest.mark.parametrize(("more", "codes"), [(0, []), (-512, []), (1, ["flash.too-small"])])
def test_an_image_may_fill_a_card_to_its_last_byte(
    machine: Machine, more: int, codes: list[str]
) -> None:
    assert machine.system.disk("sdb").size == 32 * GB
    assert [code for code, _ in machine.refusals("sdb", 32 * GB + more)] == codes


def test_a_loop_device_over_a_partition_is_in_use_and_what_is_mounted_from_it_too(
    machine: Machine,
) -> None:
    machine.disk("devices/virtual/block/loop3", "7:3")
    machine.write("sys/block/loop3/loop/backing_file", "/dev/sdb1")
    machine.disk("devices/virtual/block/loop4", "7:4")
    machine.write("sys/block/loop4/loop/backing_file", "/home/x.img")
    attached = (IN_USE, "/dev/sdb1 is attached to the loop device /dev/loop3")
    assert machine.refusals("sdb") == [attached]
    machine.mounts("31 1 7:3 / /mnt rw - ext4 /dev/loop3 rw", "32 1 7:4 / /x rw - ext4 /dev/y rw")
    assert machine.refusals("sdb") == [(IN_USE, "loop3 is mounted on /mnt"), attached]


@pytest.mark.parametrize(
    ("name", "files", "message"),
    [
        ("dm-1", {"dm/name": "x", "dm/uuid": "mpath-1"}, "mapping x"),
        ("md3", {"md/level": "raid5"}, "RAID array md3 (raid5)"),
        ("bcache0", {}, "bcache bcache0"),
        ("zd0", {}, "zd0"),
    ],
)
def test_what_is_built_on_a_disk_has_a_name(
    machine: Machine, name: str, files: dict[str, str], message: str
) -> None:
    machine.disk(f"devices/virtual/block/{name}", "9:3", files=files)
    assert machine.system.description(name) == message
    machine.holder(SD, name)
    assert machine.refusals("sdb") == [(IN_USE, f"sdb is part of the {message}")]


def test_a_btrfs_without_a_label_is_called_by_its_number(machine: Machine) -> None:
    machine.write("sys/fs/btrfs/1234/devices/sdb", "")
    machine.write("sys/fs/btrfs/1234/devices/sdz", "")
    assert machine.refusals("sdb") == [(IN_USE, "sdb is a member of the mounted btrfs 1234")]


def test_swap_is_known_by_its_number_where_it_has_another_name(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["Filename Type", "/dev/disk/by-id/x\\040y partition", "/swapfile file"]
    machine.write("proc/swaps", "\n".join(lines))
    real = Path.stat

    def stat(self: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if str(self) != "/dev/disk/by-id/x y":
            return real(self, follow_symlinks=follow_symlinks)
        return os.stat_result([0o060600, *[0] * 9], {"st_rdev": os.makedev(8, 17)})

    monkeypatch.setattr(Path, "stat", stat)
    assert machine.refusals("sdb") == [
        ("flash.system-disk", "this computer swaps to /dev/disk/by-id/x y")
    ]


def test_a_process_that_has_a_partition_open_is_named(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fake of what /proc/PID/fd leads to: a block device, a character device, what is gone."""

    @dataclass
    class Entry:
        mode: int
        number: int

        def stat(self) -> os.stat_result:
            if not self.mode:
                raise FileNotFoundError
            return os.stat_result([self.mode, *[0] * 9], {"st_rdev": self.number})

    card, other = os.makedev(8, 17), os.makedev(8, 99)
    opened = {
        "7": [Entry(0, 0), Entry(0o020600, card), Entry(0o100600, card)],
        "30": [Entry(0o060600, other), Entry(0o060600, card)],
        "4": [Entry(0o060600, os.makedev(8, 16))],
        str(os.getpid()): [Entry(0o060600, card)],
    }
    for process in (*opened, "99"):
        machine.write(f"proc/{process}/comm", f"dd{process}")

    real = os.scandir

    def scandir(path: Path) -> object:
        if path.name != "fd":
            return real(path)
        if path.parent.name == "99":
            raise PermissionError
        return opened[path.parent.name]

    numbers = machine.system.numbers(machine.system.disk("sdb"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        assert list(machine.system.users(set(numbers))) == [(4, "dd4"), (30, "dd30")]
        refused = machine.refusals("sdb")
    assert refused == [
        (IN_USE, "process 4 (dd4) has it open"), (IN_USE, "process 30 (dd30) has it open"),
    ]  # fmt: skip


def test_all_that_sysfs_says_of_a_disk(machine: Machine) -> None:
    files = {
        "removable": "1", "ro": "1", "diskseq": "42", "device/model": "X", "device/cid": "0353",
        "queue/logical_block_size": "4096",
    }  # fmt: skip
    machine.disk(SATA, "8:0", 64 * GB, files)
    for number in (10, 2, 1):
        machine.partition(SATA, f"sda{number}", f"8:{number}")
    disk = machine.system.disk("sda")
    assert disk == Disk(
        "sda", "8:0", 64 * GB, "disk", removable=True, read_only=True, sector=4096, model="X",
        serial="0353", sequence=42, partitions=("sda1", "sda2", "sda10"),
    )  # fmt: skip
    assert (disk.device, disk.device_number) == ("/dev/sda", os.makedev(8, 0))
    assert disk.portable
    assert machine.system.whole_disk("8:10") == ("sda", True)
    assert machine.system.whole_disk("8:0") == ("sda", False)
    assert machine.system.whole_disk("8:77") is None
    plain = machine.system.disk("sdb")
    assert (plain.sector, plain.sequence, plain.portable) == (512, None, True)


@pytest.mark.parametrize("file", ["device/serial", "serial", "device/cid"])
def test_where_serial_numbers_are(machine: Machine, file: str) -> None:
    machine.disk(NVME, "259:0", files={file: "S/N 1", "device/name": "SSD"})
    disk = machine.system.disk("nvme0n1")
    assert (disk.serial, disk.model) == ("S/N 1", "SSD")


def test_a_mount_is_read_with_its_escapes(machine: Machine) -> None:
    """proc(5): number, parent, device, root, point, options, tags, a dash, type, source."""
    machine.mounts(
        r"31 1 8:17 / /a\040b rw shared:1 - ext4 /dev/x\011y rw", "31 1 8:17 /", "1 2 3 4 5 - a",
        "1 2 3 4 - a b", "31 1 8:18 / /c - vfat d",
    )  # fmt: skip
    assert machine.system.mounts() == [
        Mount("8:17", "/a b", "ext4", "/dev/x\ty"), Mount("8:18", "/c", "vfat", "d"),
    ]  # fmt: skip


def test_a_refusal_is_final_unless_it_says_so() -> None:
    assert not guard.Refusal("a", "b", "c").forcible


def test_a_whole_disk_is_taken(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    values = os.stat_result([0o060600, *[0] * 9], {"st_rdev": os.makedev(8, 16)})
    system, disk = machine.system, machine.system.disk("sdb")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", lambda *_, **__: values)
        patch.setattr(System, "whole_disk", lambda _, n: ("sdb", False) if n == "8:16" else None)
        patch.setattr(System, "disk", lambda _, name: disk if name == "sdb" else None)
        assert guard.disk_of("/dev/sdb", system) == disk
