"""The board itself: model, boot loader, current boot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from piimage.board import Board
from piimage.doctor.facts import Facts
from piimage.doctor.findings import Finding, absent, good, look
from piimage.doctor.models import board_of, revision, title

_UPDATE: Final = "update the EEPROM (docs/hardware.md, An old EEPROM)"
# Documentation of Raspberry Pi, BOOT_ORDER.
_MODES: Final = {
    0: "SD card, waiting for one", 1: "SD card or eMMC", 2: "network", 3: "RPIBOOT",
    4: "USB disk", 5: "USB disk at the USB-C port", 6: "NVMe", 7: "HTTP",
}  # fmt: skip
_PLAIN_SUPPLY_MA: Final = 5000


def board(facts: Facts, boards: Sequence[Board]) -> Iterator[Finding]:
    """Give the model, its revision, and the firmware's data on the supply."""
    found = facts.part("board")
    compatible = found.texts("compatible")
    model = found.text("model")
    yield Finding("model", model) if model else look("model", "unknown", "send the report")
    yield Finding("compatible", " ".join(compatible))
    yield _revision(found.number("revision"), boards)
    serial = "present, but left out of this report" if found.flag("has_serial") else "none"
    yield Finding("serial number", serial)
    for key in found.part("firmware").known():
        yield Finding(key, f"{found.part('firmware').number(key):#x}")
    if (current := found.part("power").number("max_current")) is not None:
        yield _supply(current)


def _revision(code: int | None, boards: Sequence[Board]) -> Finding:
    if code is None:
        return absent("revision", "the device tree has none")
    content = revision(code)
    if content is None:
        return Finding("revision", f"{code:04x}")
    memory = f", {content.memory_mib} MiB" if content.memory_mib else ""
    return Finding(
        "revision",
        f"{code:06x}: {title(content.kind, boards)}, revision {content.stepping}{memory}",
    )


def _supply(current: int) -> Finding:
    if current >= _PLAIN_SUPPLY_MA:
        return good("supply", f"{current} mA")
    return look(
        "supply", f"{current} mA",
        "with this supply all USB devices together get 600 mA; if they need more, use 5 V and 5 A",
    )  # fmt: skip


def boot(facts: Facts, boards: Sequence[Board]) -> Iterator[Finding]:
    """Give boot loader, boot mode, slot, kernel and command line."""
    found = facts.part("boot")
    loader = found.part("loader")
    kind = board_of(facts.part("board").texts("compatible"), boards)
    yield _eeprom(kind, loader.number("build_timestamp"))
    if version := found.text("loader_version"):
        yield Finding("EEPROM version", version)
    for key in ("update_timestamp", "capabilities", "pm_rsts", "rsts", "signed", "signed_boot"):
        if (value := loader.number(key)) is not None:
            yield Finding(key, f"{value:#010x}")
    if (mode := loader.number("boot-mode")) is not None:
        yield Finding("boot mode", f"{mode} ({_MODES.get(mode, 'unknown')})")
    yield from _partition(found, kind)
    if loader.number("tryboot"):
        yield look(
            "tryboot", "this boot is a trial of the other slot",
            "confirm the trial, or the next boot uses the previous slot again",
        )  # fmt: skip
    where = found.text("partition") + (
        f", folder {found.text('prefix')}" * bool(found.text("prefix"))
    )
    yield Finding("slot", where or "in memory")
    yield Finding("containers from", found.text("containers_from") or "unknown")
    yield from _firmware(facts)
    yield from _kernel(facts.part("kernel"))


def _eeprom(kind: Board | None, built: int | None) -> Finding:
    if built is None:
        return absent("EEPROM", "this model has none, or its boot loader does not report it")
    date = datetime.fromtimestamp(max(0, min(built, 2**32)), UTC).date().isoformat()
    if kind is None or kind.eeprom is None:
        return Finding("EEPROM", f"of {date}")
    if built < kind.eeprom.since:
        return look("EEPROM", f"of {date}: it {kind.eeprom.lacks}", _UPDATE)
    return good("EEPROM", f"of {date}")


def _partition(found: Facts, kind: Board | None) -> Iterator[Finding]:
    """Compare the partition that the boot loader reports with the one that the system runs from."""
    booted = found.part("loader").number("partition")
    if booted is None:
        yield absent("booted partition", "the boot loader does not report it")
    elif booted == 0 and kind is not None and kind.eeprom is not None:
        yield look("booted partition", "0: the boot loader does not report it", _UPDATE)
    elif found.text("selector") == "0" or str(booted) == found.text("partition"):
        yield good("booted partition", str(booted))
    else:
        yield look(
            "booted partition", f"{booted}, but the system runs from {found.text('partition')}",
            "send the report: the boot loader and the initramfs disagree",
        )  # fmt: skip


def _firmware(facts: Facts) -> Iterator[Finding]:
    for line in facts.part("log").texts("named"):
        if "firmware from" in line or "Firmware hash" in line:
            yield Finding("VideoCore firmware", line)


def _kernel(kernel: Facts) -> Iterator[Finding]:
    yield Finding("kernel", f"{kernel.text('release')} {kernel.text('version')}")
    line = kernel.text("command_line")
    yield Finding("command line", line)
    words = line.split()
    if any(word.startswith("panic=") and word != "panic=0" for word in words):
        yield good("after a panic", "the Pi restarts")
    else:
        yield look(
            "after a panic", "the Pi does not restart",
            "rebuild the card with this version of piimage, which adds panic=10",
        )  # fmt: skip
    if tainted := kernel.number("tainted"):
        yield Finding("tainted", f"{tainted} (Documentation/admin-guide/tainted-kernels)")
    yield Finding("up", f"{kernel.number('uptime') or 0} s, load {' '.join(kernel.texts('load'))}")
