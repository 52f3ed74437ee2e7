"""The disks of this computer, read from sysfs and procfs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SECTOR: Final = 512  # the unit of sysfs, for devices of any sector size
_USB: Final = re.compile(r"/usb\d+/")
_KINDS: Final = (
    (re.compile(r"mmcblk\d+(boot\d+|rpmb)$"), "eMMC boot area"),
    (re.compile(r"mmcblk\d+$"), "mmc"),
    (re.compile(r"nvme\d+n\d+$"), "nvme"),
    (re.compile(r"loop\d+$"), "loop"),
    (re.compile(r"(ram|zram)\d+$"), "memory"),
    (re.compile(r"dm-\d+$"), "device mapper"),
    (re.compile(r"md\d+$|md_"), "RAID"),
    (re.compile(r"sr\d+$"), "optical"),
    (re.compile(r"nbd\d+$|rbd\d+$"), "network"),
    (re.compile(r"vd[a-z]+$|xvd[a-z]+$"), "virtual machine"),
)


@dataclass(frozen=True)
class Disk:
    """A whole disk: its name in /sys/block, its device number, its size in bytes, its bus."""

    name: str
    number: str
    size: int
    bus: str
    removable: bool
    read_only: bool
    sector: int = 512
    """The logical sector size in bytes, which is the unit of its partition table."""
    model: str = ""
    serial: str = ""
    sequence: int | None = None
    partitions: tuple[str, ...] = ()

    @property
    def device(self) -> str:
        """The usual path of its device file."""
        return f"/dev/{self.name}"

    @property
    def device_number(self) -> int:
        """Its number in the form of st_rdev."""
        major, _, minor = self.number.partition(":")
        return os.makedev(int(major), int(minor))

    @property
    def portable(self) -> bool:
        """Whether it is a typical disk to flash: removable, USB or in a card slot."""
        return self.removable or self.bus in {"usb", "mmc"}


@dataclass(frozen=True)
class Mount:
    """A line of /proc/self/mountinfo: device number, mount point, file system type, source."""

    number: str
    point: str
    kind: str
    source: str


@dataclass(frozen=True)
class System:
    """The mount points of sysfs and procfs; tests use other folders."""

    sys: Path = Path("/sys")
    proc: Path = Path("/proc")

    def disks(self) -> Iterator[Disk]:
        """Give all whole disks, sorted by name."""
        for entry in sorted((self.sys / "block").iterdir(), key=lambda path: _natural(path.name)):
            if (entry / "size").exists():
                yield self.disk(entry.name)

    def disk(self, name: str) -> Disk:
        """Return the disk /sys/block/NAME."""
        folder = self.sys / "block" / name
        device_path = str(folder.resolve())
        kind = next((kind for pattern, kind in _KINDS if pattern.match(name)), "disk")
        if kind == "mmc" and _text(folder / "device/type") == "MMC":
            kind = "eMMC"  # a card has SD here (Documentation/driver-api/mmc/mmc-dev-attrs.rst)
        return Disk(
            name=name,
            number=_text(folder / "dev"),
            size=int(_text(folder / "size") or 0) * _SECTOR,
            bus="usb" if _USB.search(device_path) else kind,
            removable=_text(folder / "removable") == "1",
            read_only=_text(folder / "ro") == "1",
            sector=int(_text(folder / "queue/logical_block_size") or _SECTOR),
            model=" ".join(filter(None, (_text(folder / "device/vendor"), _model(folder)))),
            serial=_serial(folder),
            sequence=int(text) if (text := _text(folder / "diskseq")) else None,
            partitions=tuple(
                sorted((p.parent.name for p in folder.glob("*/partition")), key=_natural)
            ),
        )

    def whole_disk(self, number: str) -> tuple[str, bool] | None:
        """Return the disk of the device `number` (``8:1``), and whether that is a partition."""
        folder = self.sys / "dev/block" / number
        if not folder.exists():
            return None
        real = folder.resolve()
        is_partition = (real / "partition").exists()
        return (real.parent.name if is_partition else real.name), is_partition

    def numbers(self, disk: Disk) -> dict[str, str]:
        """Return the names of the disk and its partitions by their device numbers."""
        folder = self.sys / "block" / disk.name
        return {
            disk.number: disk.name,
            **{_text(folder / part / "dev"): part for part in disk.partitions},
        }

    def holders(self, disk: Disk) -> list[tuple[str, str]]:
        """Return pairs of names: the disk or a partition, and a device that is built on it."""
        disk_folder = self.sys / "block" / disk.name
        holders: list[tuple[str, str]] = []
        for folder in (disk_folder, *(disk_folder / part for part in disk.partitions)):
            if (folder / "holders").is_dir():
                holders += [(folder.name, path.name) for path in sorted(folder.glob("holders/*"))]
        return holders

    def description(self, holder: str) -> str:
        """Return kind and name of a holder, such as ``LUKS volume home``."""
        folder = self.sys / "block" / holder
        name, uuid = _text(folder / "dm/name"), _text(folder / "dm/uuid")
        if name:
            kind = {"LVM": "LVM volume", "CRYPT": "LUKS volume"}.get(uuid.split("-")[0], "mapping")
            return f"{kind} {name}"
        if level := _text(folder / "md/level"):
            return f"RAID array {holder} ({level})"
        return f"bcache {holder}" if holder.startswith("bcache") else holder

    def loops_over(self, device_files: set[str]) -> Iterator[tuple[str, str]]:
        """Give the loop devices whose backing file is one of `device_files`."""
        for backing in sorted((self.sys / "block").glob("loop*/loop/backing_file")):
            text = _text(backing)
            if text in device_files:
                yield backing.parents[1].name, text

    def btrfs_members(self) -> Iterator[tuple[str, str]]:
        """Give the devices of mounted btrfs file systems, with the file system's label."""
        for folder in sorted((self.sys / "fs/btrfs").glob("*/devices")):
            label = _text(folder.parent / "label") or folder.parent.name
            for member in sorted(folder.iterdir()):
                yield member.name, label

    def mounts(self) -> list[Mount]:
        """Return the mounts of this process's namespace."""
        mounts = []
        for line in _text(self.proc / "self/mountinfo").splitlines():
            left, _, right = line.partition(" - ")
            fields, rest = left.split(), right.split()
            if len(fields) >= 5 and len(rest) >= 2:
                mounts.append(Mount(fields[2], _unescaped(fields[4]), rest[0], _unescaped(rest[1])))
        return mounts

    def swaps(self) -> list[str]:
        """Return the files and devices that this computer swaps to."""
        lines = _text(self.proc / "swaps").splitlines()[1:]
        return [_unescaped(line.split()[0]) for line in lines if line.split()]

    def users(self, numbers: set[str]) -> Iterator[tuple[int, str]]:
        """Give process id and command of each visible process that has one of the devices open."""
        for folder in sorted(self.proc.glob("[0-9]*"), key=lambda path: int(path.name)):
            if int(folder.name) != os.getpid() and _has_open(folder / "fd", numbers):
                yield int(folder.name), _text(folder / "comm")


def _has_open(folder: Path, numbers: set[str]) -> bool:
    try:
        for entry in os.scandir(folder):
            try:
                status = entry.stat()
            except OSError:
                continue
            device = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
            if status.st_rdev and status.st_mode & 0o170000 == 0o060000 and device in numbers:
                return True
    except OSError:
        return False  # another user's process, or one that has just ended
    return False


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _model(folder: Path) -> str:
    return _text(folder / "device/model") or _text(folder / "device/name")


def _serial(folder: Path) -> str:
    """Return the serial number of the device itself, or else of its parent USB device."""
    for path in (folder / "device/serial", folder / "serial", folder / "device/cid"):
        if text := _text(path):
            return text
    for parent in (folder / "device").resolve().parents:
        if (parent / "idVendor").exists():
            return _text(parent / "serial")
    return ""


def _natural(name: str) -> tuple[str | int, ...]:
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name))


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
