"""What differs between the models of Raspberry Pi, as far as a report needs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Family:
    """Models with one processor."""

    name: str
    header_i2c: tuple[str, ...]
    """The node of the bus on pins 3 and 5 of the header: mainline's name, and downstream's."""
    header_gpio: str
    """The label of the GPIO chip whose lines are on the header."""
    eeprom_since: int | None = None
    """The build time (seconds of 1970) of the first EEPROM that does what cards need."""
    eeprom_lacks: str = ""
    """What an older one does not do."""


_OLD_BUS: Final = ("i2c@7e804000",)

# EEPROM: rpi-eeprom, firmware-2711/release-notes.md (2022-12-01) and firmware-2712 (2024-05-13).
_FAMILIES: Final = {
    "brcm,bcm2837": Family("3", _OLD_BUS, "pinctrl-bcm2835"),
    "brcm,bcm2711": Family(
        "4", _OLD_BUS, "pinctrl-bcm2711", 1669334400, "does not know [tryboot] in autoboot.txt"
    ),
    "brcm,bcm2712": Family(
        "5", ("i2c@40074000", "i2c@74000"), "pinctrl-rp1", 1715558400,
        "reports the booted partition as 0",
    ),
}  # fmt: skip

# Documentation of Raspberry Pi, "Raspberry Pi revision codes".
_TYPES: Final = {
    0x04: "2B", 0x08: "3B", 0x0A: "CM3", 0x0D: "3B+", 0x0E: "3A+", 0x10: "CM3+", 0x11: "4B",
    0x12: "Zero 2 W", 0x13: "400", 0x14: "CM4", 0x15: "CM4S", 0x17: "5", 0x18: "CM5",
    0x19: "500", 0x1A: "CM5 Lite", 0x1B: "CM0",
}  # fmt: skip
_MEMORY_MIB: Final = (256, 512, 1024, 2048, 4096, 8192, 16384)


def family(compatible: Sequence[str]) -> Family | None:
    """Return the family of a device tree's ``compatible``; None if it is of no Pi."""
    return next((_FAMILIES[one] for one in compatible if one in _FAMILIES), None)


@dataclass(frozen=True)
class Revision:
    """What a revision code says."""

    model: str
    stepping: str
    memory_mib: int | None


def revision(code: int) -> Revision | None:
    """Return what a code of the new style says; None for older ones."""
    if not code >> 23 & 1:
        return None
    model = _TYPES.get(code >> 4 & 0xFF, "unknown model")
    memory = code >> 20 & 7
    known = _MEMORY_MIB[memory] if memory < len(_MEMORY_MIB) else None
    return Revision(model, f"1.{code & 0xF}", known)
