"""The disks of this machine as sysfs and procfs tell them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SECTOR: Final = 512  # sysfs counts in these, whatever the device does
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
    """A whole disk: its name in /sys/block, size in bytes, and how it is attached."""

    name: str
    number: str
    size: int
    bus: str
    removable: bool
    read_only: bool
    sector: int = 512
    """The bytes of what it counts in, and what its partition table counts in."""
    model: str = ""
    serial: str = ""
    sequence: int | None = None
    partitions: tuple[str, ...] = ()

    @property
    def device(self) -> str:
        """The usual name of its device file."""
        return f"/dev/{self.name}"

    @property
    def device_number(self) -> int:
        """Its number as stat has it in st_rdev."""
        major, _, minor = self.number.partition(":")
        return os.makedev(int(major), int(minor))

    @property
    def portable(self) -> bool:
        """Say whether it is of a sort that people flash: removable, USB or a card slot."""
        return self.removable or self.bus in {"usb", "mmc"}


@dataclass(frozen=True)
class Mount:
    """A line of /proc/self/mountinfo: device number, where it is mounted, what is mounted."""

    number: str
    point: str
    kind: str
    source: str


@dataclass(frozen=True)
class System:
    """Where to look; tests give other folders."""

    sys: Path = Path("/sys")
    proc: Path = Path("/proc")

    def disks(self) -> Iterator[Disk]:
        """Give all whole disks in the order of their names."""
        for entry in sorted((self.sys / "block").iterdir(), key=lambda path: _natural(path.name)):
            if (entry / "size").exists():
                yield self.disk(entry.name)

    def disk(self, name: str) -> Disk:
        """Return the disk that /sys/block calls `name`."""
        home = self.sys / "block" / name
        where = str(home.resolve())
        kind = next((kind for pattern, kind in _KINDS if pattern.match(name)), "disk")
        if kind == "mmc" and _text(home / "device/type") == "MMC":
            kind = "eMMC"  # a card says SD (Documentation/driver-api/mmc/mmc-dev-attrs.rst)
        return Disk(
            name=name,
            number=_text(home / "dev"),
            size=int(_text(home / "size") or 0) * _SECTOR,
            bus="usb" if _USB.search(where) else kind,
            removable=_text(home / "removable") == "1",
            read_only=_text(home / "ro") == "1",
            sector=int(_text(home / "queue/logical_block_size") or _SECTOR),
            model=" ".join(filter(None, (_text(home / "device/vendor"), _model(home)))),
            serial=_serial(home),
            sequence=int(text) if (text := _text(home / "diskseq")) else None,
            partitions=tuple(
                sorted((p.parent.name for p in home.glob("*/partition")), key=_natural)
            ),
        )

    def whole_disk(self, number: str) -> tuple[str, bool] | None:
        """Return the disk of the device `number` (``8:1``), and whether it is but a partition."""
        home = self.sys / "dev/block" / number
        if not home.exists():
            return None
        real = home.resolve()
        part = (real / "partition").exists()
        return (real.parent.name if part else real.name), part

    def numbers(self, disk: Disk) -> dict[str, str]:
        """Return the device numbers of the disk and its partitions, with their names."""
        home = self.sys / "block" / disk.name
        return {
            disk.number: disk.name,
            **{_text(home / part / "dev"): part for part in disk.partitions},
        }

    def holders(self, disk: Disk) -> list[tuple[str, str]]:
        """Return what is built on the disk or a partition: name of each, and of what holds it."""
        home = self.sys / "block" / disk.name
        found: list[tuple[str, str]] = []
        for folder in (home, *(home / part for part in disk.partitions)):
            if (folder / "holders").is_dir():
                found += [(folder.name, held.name) for held in sorted(folder.glob("holders/*"))]
        return found

    def described(self, holder: str) -> str:
        """Return what a holder is, in words: its mapper name and sort where it has one."""
        home = self.sys / "block" / holder
        name, uuid = _text(home / "dm/name"), _text(home / "dm/uuid")
        if name:
            sort = {"LVM": "LVM volume", "CRYPT": "LUKS volume"}.get(uuid.split("-")[0], "mapping")
            return f"{sort} {name}"
        if level := _text(home / "md/level"):
            return f"RAID array {holder} ({level})"
        return f"bcache {holder}" if holder.startswith("bcache") else holder

    def loops_over(self, device_files: set[str]) -> Iterator[tuple[str, str]]:
        """Give the loop devices whose backing file is one of `device_files`."""
        for backing in sorted((self.sys / "block").glob("loop*/loop/backing_file")):
            text = _text(backing)
            if text in device_files:
                yield backing.parents[1].name, text

    def btrfs_members(self) -> Iterator[tuple[str, str]]:
        """Give the names of devices in mounted btrfs file systems, with the file system's label."""
        for home in sorted((self.sys / "fs/btrfs").glob("*/devices")):
            label = _text(home.parent / "label") or home.parent.name
            for member in sorted(home.iterdir()):
                yield member.name, label

    def mounts(self) -> list[Mount]:
        """Return what is mounted in this process's view."""
        found = []
        for line in _text(self.proc / "self/mountinfo").splitlines():
            before, _, after = line.partition(" - ")
            words, rest = before.split(), after.split()
            if len(words) >= 5 and len(rest) >= 2:
                found.append(Mount(words[2], _unescaped(words[4]), rest[0], _unescaped(rest[1])))
        return found

    def swaps(self) -> list[str]:
        """Return the files and devices that are swapped to."""
        lines = _text(self.proc / "swaps").splitlines()[1:]
        return [_unescaped(line.split()[0]) for line in lines if line.split()]

    def users(self, numbers: set[str]) -> Iterator[tuple[int, str]]:
        """Give process id and command of each process (that may be seen) with a device open."""
        for home in sorted(self.proc.glob("[0-9]*"), key=lambda path: int(path.name)):
            if int(home.name) != os.getpid() and _opens(home / "fd", numbers):
                yield int(home.name), _text(home / "comm")


def _opens(folder: Path, numbers: set[str]) -> bool:
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


def _model(home: Path) -> str:
    return _text(home / "device/model") or _text(home / "device/name")


def _serial(home: Path) -> str:
    """Return the serial number: of the device itself, else of the USB device above it."""
    for path in (home / "device/serial", home / "serial", home / "device/cid"):
        if text := _text(path):
            return text
    for parent in (home / "device").resolve().parents:
        if (parent / "idVendor").exists():
            return _text(parent / "serial")
    return ""


def _natural(name: str) -> tuple[str | int, ...]:
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name))


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
