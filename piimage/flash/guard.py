"""Decides which disks must not be written to, and why; this module does not write."""

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
    """A reason not to write to a disk; ``--force`` overrides it if it is `forcible`."""

    code: str
    reason: str
    remedy: str
    forcible: bool = False


def disk_of(path: str, system: System) -> Disk:
    """Return the whole disk of the device file `path`.

    Raises DeviceRefused ``flash.no-device``, ``flash.not-a-device``, ``flash.partition``.
    """
    try:
        status = Path(path).stat()
    except OSError as error:
        raise DeviceRefused(
            "flash.no-device",
            f"there is no such device ({error.strerror})",
            place=path,
            hint="run `piimage devices` to list the disks",
        ) from None
    if not stat.S_ISBLK(status.st_mode):
        raise DeviceRefused(
            "flash.not-a-device",
            "it is not a block device",
            place=path,
            hint="give the device file of a disk; to write a file instead, copy the image",
        )
    number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    found = system.whole_disk(number)
    if found is None:
        raise DeviceRefused(
            "flash.no-device",
            "the kernel knows no disk behind this device file",
            place=path,
            hint="remove the stale device file; run `piimage devices` to list the disks",
        )
    name, is_partition = found
    if is_partition:
        raise DeviceRefused(
            "flash.partition",
            f"it is a partition of /dev/{name}",
            place=path,
            hint=f"give the whole disk, /dev/{name}: a card image holds all partitions",
        )
    return system.disk(name)


def refusals(disk: Disk, system: System, needed: int = 0) -> list[Refusal]:
    """Return every reason not to write `needed` bytes to `disk`, the most serious first."""
    final = [*_unfit(disk, needed), *_in_use(disk, system)]
    if any(refusal.code == "flash.system-disk" for refusal in final):
        return final  # a system disk must not get the hint to use --force
    return [*final, *_maybe_built_in(disk)]


def check(disk: Disk, system: System, needed: int, *, force: bool = False) -> None:
    """Raise DeviceRefused for each reason not to write `needed` bytes to `disk`, as a group."""
    raise_all(
        DeviceRefused(refusal.code, refusal.reason, place=disk.device, hint=refusal.remedy)
        for refusal in refusals(disk, system, needed)
        if not (force and refusal.forcible)
    )


def _unfit(disk: Disk, needed: int) -> Iterator[Refusal]:
    if disk.bus in _NO_DISKS:
        yield Refusal(
            "flash.not-a-card",
            f"it is not a card or disk ({disk.bus})",
            "run `piimage devices` to list the disks",
        )
    if not disk.size:
        yield Refusal("flash.no-medium", "there is no card in the reader", "insert a card")
    elif disk.size < needed:
        yield Refusal(
            "flash.too-small",
            f"it has {disk.size} bytes, but the image needs {needed}",
            "use a larger card, or make the slots or `data:` smaller",
        )
    if disk.sector != _SECTOR:
        yield Refusal(
            "flash.sector-size",
            f"its sectors have {disk.sector} bytes; a card's partition table needs {_SECTOR}",
            "use another adapter; many NVMe disks can be formatted to 512 (`nvme format --lbaf`)",
        )
    if disk.read_only:
        yield Refusal(
            "flash.read-only",
            "it is write-protected",
            "unlock the card's lock switch, or run `blockdev --setrw`",
        )


def _in_use(disk: Disk, system: System) -> Iterator[Refusal]:
    numbers = system.numbers(disk)
    stacked = dict(_stack(disk, system))
    yield from _mounted(system, {**numbers, **stacked})
    yield from _swapped(system, {**numbers, **stacked})
    for part, holder in system.holders(disk):
        yield Refusal(
            "flash.in-use",
            f"{part} is part of the {system.description(holder)}",
            f"stop {holder} first, with vgchange -an, cryptsetup close or mdadm --stop",
        )
    files = {f"/dev/{name}" for name in numbers.values()}
    for loop, backing in system.loops_over(files):
        yield Refusal(
            "flash.in-use",
            f"{backing} is attached to the loop device /dev/{loop}",
            f"detach it with losetup -d /dev/{loop}",
        )
    for member, label in system.btrfs_members():
        if member in numbers.values():
            yield Refusal(
                "flash.in-use",
                f"{member} is a member of the mounted btrfs {label}",
                "unmount it, or remove the member with `btrfs device remove`",
            )
    for process, command in system.users(set(numbers)):
        yield Refusal(
            "flash.in-use",
            f"process {process} ({command}) has it open",
            "wait until the process ends, or end it",
        )


def _stack(disk: Disk, system: System) -> Iterator[tuple[str, str]]:
    """Give number and name of every device that is stacked on the disk, at any depth."""
    pending, seen = [disk], {disk.name}
    while pending:
        base = pending.pop()
        upper = {holder for _, holder in system.holders(base)}
        files = {f"/dev/{name}" for name in system.numbers(base).values()}
        upper |= {loop for loop, _ in system.loops_over(files)}
        for name in sorted(upper - seen):
            seen.add(name)
            device = system.disk(name)
            pending.append(device)
            yield from system.numbers(device).items()


def _mounted(system: System, numbers: dict[str, str]) -> Iterator[Refusal]:
    for mount in system.mounts():
        if mount.number not in numbers:
            continue
        name = numbers[mount.number]
        if mount.point in _SYSTEM_POINTS:
            yield Refusal(
                "flash.system-disk",
                f"{name} holds this computer's file system {mount.point}",
                "run `piimage devices` to find the card",
            )
        else:
            yield Refusal(
                "flash.in-use",
                f"{name} is mounted on {mount.point}",
                f"unmount it with umount {mount.point}",
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
                "flash.system-disk",
                f"this computer swaps to {swap}",
                f"stop swapping to it with swapoff {swap}",
            )


def _maybe_built_in(disk: Disk) -> Iterator[Refusal]:
    if not disk.portable and disk.bus not in _NO_DISKS:
        yield Refusal(
            "flash.not-removable",
            f"it is neither removable, nor USB, nor a card slot ({disk.bus}); it may be built in",
            "if it is the right disk, add --force",
            forcible=True,
        )
