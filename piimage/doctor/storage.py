"""Disks: the root disk, connection and wear of each disk; /data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from piimage.doctor.facts import Facts, hexadecimal
from piimage.doctor.findings import Finding, absent, broken, good, look, size

# JEDEC JESD84-B51, EXT_CSD: 1 is up to 10 % of the planned life, 11 is more than 100 %.
_WORN: Final = 9
_WORN_OUT: Final = 11
_PRE_EOL: Final = {2: "most spare blocks are used", 3: "nearly all spare blocks are used"}
_REQUIRED: Final = "piimage.disk-id="
_FAST: Final = ("high speed", "HS200", "HS400", "DDR", "SDR")


def storage(facts: Facts) -> Iterator[Finding]:
    """Give the root disk, every disk with its speed and wear, and /data."""
    yield from _root(facts)
    for disk in facts.parts("disks"):
        yield _disk(disk)
        yield from _wear(disk)
    for line in facts.part("log").texts("named"):
        if ": new " in line:
            yield _card(line)
    yield _data(facts.part("data"))


def _root(facts: Facts) -> Iterator[Finding]:
    boot = facts.part("boot")
    disk = boot.text("disk")
    if not disk:
        yield absent("root disk", "the whole system was loaded into memory")
        return
    disks_present = {f"/dev/{device.text('name')}" for device in facts.parts("disks")}
    if disk not in disks_present:
        yield broken(
            "root disk", f"{disk} is missing", "check the card, its cable and its power supply"
        )
        return
    yield good("root disk", disk)
    yield _identity(boot.text("disk_id"), facts.part("kernel").text("command_line").split())


def _identity(identity: str, words: Sequence[str]) -> Finding:
    """Compare the id in the table with the one that the command line requires, if it has one."""
    required = next((word[len(_REQUIRED) :] for word in words if word.startswith(_REQUIRED)), "")
    if identity in ("", "0x00000000"):
        return look("its id", identity or "unreadable", "flash the card again")
    if required and f"0x{required}" != identity:
        advice = "unplug one disk: the system runs from another disk than the boot loader"
        return look("its id", f"{identity}, but 0x{required} is required", advice)
    return good("its id", identity)


def _disk(disk: Facts) -> Finding:
    parts = [
        size(disk.number("bytes") or 0),
        *(disk.text(key) for key in ("kind", "vendor", "model", "firmware", "made")),
        "read-only" * disk.flag("read_only"),
        hanging(disk),
    ]
    shown = ", ".join(part for part in parts if part)
    if disk.flag("read_only"):
        advice = (
            "release the lock switch of the adapter, or replace the card: a worn card locks itself"
        )
        return look(disk.text("name"), shown, advice)
    return Finding(disk.text("name"), shown)


def hanging(device: Facts) -> str:
    """Return driver and path of a device."""
    drivers = ", ".join(device.texts("drivers"))
    where = device.text("tree") or device.text("path")
    return f"by {drivers} at {where}" if drivers else f"at {where}"


def _wear(disk: Facts) -> Iterator[Finding]:
    name = disk.text("name")
    spec = ", ".join(
        f"{key} {disk.part('speed').text(key)}"
        for key in ("clock", "bus width", "timing spec", "signal voltage")
        if disk.part("speed").text(key)
    )
    if spec:
        yield Finding(f"{name} bus", spec)
    if disk.text("kind") == "SD":
        yield absent(f"{name} wear", "SD cards do not report it")
    if level := max((hexadecimal(word) or 0 for word in disk.text("life_time").split()), default=0):
        yield _life(f"{name} wear", level)
    if trouble := _PRE_EOL.get(hexadecimal(disk.text("pre_eol_info")) or 0):
        yield look(f"{name} spare blocks", trouble, "replace the module or boot from another disk")


def _life(name: str, level: int) -> Finding:
    if level >= _WORN_OUT:
        return broken(name, "beyond its planned life", "replace the module, or use another disk")
    share = f"{(level - 1) * 10} to {level * 10} % of its life"
    if level >= _WORN:
        return look(name, share, "plan its replacement; reduce writes (logs, databases)")
    return good(name, share)


def _card(line: str) -> Finding:
    name, _, rest = line.partition(": new ")
    mode = rest.partition(" card at")[0]
    if "SDIO" in mode or any(word in mode for word in _FAST):
        return good(f"{name} card", mode)
    return look(
        f"{name} card", f"{mode}: the slowest mode", "clean its contacts, or use another card"
    )


def _data(data: Facts) -> Finding:
    total, free = data.number("total") or 0, data.number("free") or 0
    if data.flag("temporary"):
        return broken(
            "/data", "temporary: the next boot loses all data",
            "look for DATA LOST on the console; flash the card again, or use another card",
        )  # fmt: skip
    shown = f"{size(free)} free of {size(total)}"
    if free * 20 < total:
        return look("/data", shown, "delete data that is not needed: less than 5 % is free")
    return good("/data", shown)
