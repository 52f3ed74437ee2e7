"""Which disks must not be written to, and why; nothing here writes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piimage.errors import DeviceRefused, raise_all
from piimage.flash.sysfs import Disk, System

_SYSTEM_POINTS: Final = frozenset({"/", "/boot", "/boot/efi", "/boot/firmware", "/usr", "/home"})
_SECTOR: Final = 512
_NO_DISKS: Final = frozenset({"eMMC boot area", "optical", "memory"})


@dataclass(frozen=True)
class Refusal:
    """One reason against a disk; `forcible` ones give way to ``--force``."""

    code: str
    reason: str
    remedy: str
    forcible: bool = False


def disk_of(path: str, system: System) -> Disk:
    """Return the whole disk whose device file `path` is.

    Raises DeviceRefused ``flash.no-device``, ``flash.not-a-device``, ``flash.partition``.
    """
    try:
        status = Path(path).stat()
    except OSError as error:
        raise DeviceRefused(
            "flash.no-device",
            f"there is no such device ({error.strerror})",
            place=path,
            hint="`piimage devices` lists the cards that are there",
        ) from None
    if not stat.S_ISBLK(status.st_mode):
        raise DeviceRefused(
            "flash.not-a-device",
            "it is not a block device",
            place=path,
            hint="give the device file of a card; to get a file, copy the image",
        )
    number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    found = system.whole_disk(number)
    if found is None:
        raise DeviceRefused(
            "flash.no-device",
            "the kernel knows no disk behind this device file",
            place=path,
            hint="remove the stale device file; `piimage devices` lists the cards that are there",
        )
    name, partition = found
    if partition:
        raise DeviceRefused(
            "flash.partition",
            f"it is a partition of /dev/{name}",
            place=path,
            hint=f"a card image holds all partitions: give the whole card, /dev/{name}",
        )
    return system.disk(name)


def refusals(disk: Disk, system: System, needed: int = 0) -> list[Refusal]:
    """Return every reason against writing `needed` bytes to `disk`, the gravest first."""
    grave = [*_unfit(disk, needed), *_in_use(disk, system)]
    if any(found.code == "flash.system-disk" for found in grave):
        return grave  # that --force helps against another reason must not be read there
    return [*grave, *_doubtful(disk)]


def check(disk: Disk, system: System, needed: int, *, force: bool = False) -> None:
    """Raise DeviceRefused (several as a group) if there is a reason against `disk`."""
    raise_all(
        DeviceRefused(found.code, found.reason, place=disk.device, hint=found.remedy)
        for found in refusals(disk, system, needed)
        if not (force and found.forcible)
    )


def _unfit(disk: Disk, needed: int) -> Iterator[Refusal]:
    if disk.bus in _NO_DISKS:
        yield Refusal(
            "flash.not-a-card",
            f"it is no card or disk ({disk.bus})",
            "`piimage devices` lists the cards that are there",
        )
    if not disk.size:
        yield Refusal("flash.no-medium", "there is no card in it", "put one in")
    elif disk.size < needed:
        yield Refusal(
            "flash.too-small",
            f"it has {disk.size} bytes, and the image needs {needed}",
            "take a larger card, or make the slots or `data:` smaller",
        )
    if disk.sector != _SECTOR:
        yield Refusal(
            "flash.sector-size",
            f"it counts in sectors of {disk.sector} bytes, a card's partition table in {_SECTOR}",
            "take another adapter; many NVMe disks can be formatted to 512 (`nvme format --lbaf`)",
        )
    if disk.read_only:
        yield Refusal(
            "flash.read-only",
            "it is write-protected",
            "move the card's lock switch, or lift it with `blockdev --setrw`",
        )


def _in_use(disk: Disk, system: System) -> Iterator[Refusal]:
    numbers = system.numbers(disk)
    stacked = dict(_stack(disk, system))
    yield from _mounted(system, {**numbers, **stacked})
    yield from _swapped(system, {**numbers, **stacked})
    for part, holder in system.holders(disk):
        yield Refusal(
            "flash.in-use",
            f"{part} is part of the {system.described(holder)}",
            f"take that down first (vgchange -an, cryptsetup close, mdadm --stop, ...: {holder})",
        )
    files = {f"/dev/{name}" for name in numbers.values()}
    for loop, backing in system.loops_over(files):
        yield Refusal(
            "flash.in-use",
            f"{backing} is looped as /dev/{loop}",
            f"detach it: losetup -d /dev/{loop}",
        )
    for member, label in system.btrfs_members():
        if member in numbers.values():
            yield Refusal(
                "flash.in-use",
                f"{member} is a member of the mounted btrfs {label}",
                "unmount it, or take the member out with `btrfs device remove`",
            )
    for process, command in system.users(set(numbers)):
        yield Refusal(
            "flash.in-use",
            f"process {process} ({command}) has it open",
            "wait until that has ended, or end it",
        )


def _stack(disk: Disk, system: System) -> Iterator[tuple[str, str]]:
    """Give number and name of everything that is built on the disk, however deep."""
    todo, seen = [disk], {disk.name}
    while todo:
        current = todo.pop()
        above = {holder for _, holder in system.holders(current)}
        files = {f"/dev/{name}" for name in system.numbers(current).values()}
        above |= {loop for loop, _ in system.loops_over(files)}
        for name in sorted(above - seen):
            seen.add(name)
            found = system.disk(name)
            todo.append(found)
            yield from system.numbers(found).items()


def _mounted(system: System, numbers: dict[str, str]) -> Iterator[Refusal]:
    for mount in system.mounts():
        if mount.number not in numbers:
            continue
        name = numbers[mount.number]
        if mount.point in _SYSTEM_POINTS:
            yield Refusal(
                "flash.system-disk",
                f"this computer runs from it: {name} is {mount.point}",
                "look for the card with `piimage devices`; this is not it",
            )
        else:
            yield Refusal(
                "flash.in-use",
                f"{name} is mounted on {mount.point}",
                f"unmount it: umount {mount.point}",
            )


def _swapped(system: System, numbers: dict[str, str]) -> Iterator[Refusal]:
    for swap in system.swaps():
        try:
            device = Path(swap).stat().st_rdev
        except OSError:
            device = 0
        number = f"{os.major(device)}:{os.minor(device)}"
        if (device and number in numbers) or swap.removeprefix("/dev/") in numbers.values():
            yield Refusal(
                "flash.system-disk", f"this computer swaps to {swap}", f"end that: swapoff {swap}"
            )


def _doubtful(disk: Disk) -> Iterator[Refusal]:
    if not disk.portable and disk.bus not in _NO_DISKS:
        yield Refusal(
            "flash.not-removable",
            f"it is neither removable, nor USB, nor a card slot ({disk.bus}); it may be built in",
            "if it really is the one, add --force; its name is asked for as well",
            forcible=True,
        )
