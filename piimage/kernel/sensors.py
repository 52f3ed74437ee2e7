"""The chips that the sensor drivers of a kernel know, by the modules' own aliases."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from piimage.errors import InputError

if TYPE_CHECKING:
    from piimage.kernel.modules import Supply

FOLDERS: Final = tuple(f"kernel/drivers/{name}/" for name in ("iio", "hwmon", "w1"))
"""Where the kernel has the drivers of sensors: those whose values `use: sensors` reads."""
W1: Final = "w1-family-0x"

_I2C_CHIP: Final = re.compile(r"i2c:(.+)|of:N\*T\*C(?:[^,]+,)?([^,*]+?)(?:C\*)?")
_SPI: Final = "spi:"
# I2C_NAME_SIZE (include/linux/mod_devicetable.h) without the end. SPI_NAME_SIZE is 32, but the name
# of a file's chip is never longer.
_NAME_BYTES: Final = 19
BUSES: Final = ("i2c", "spi")
"""The buses whose chips have names."""


@dataclass(frozen=True)
class WantedChip:
    """A chip that a file names: its place in messages, and its alias (``i2c:bme280``)."""

    place: str
    alias: str


def sensor_chips(supply: Supply) -> Mapping[str, str]:
    """Return the module of each chip, by its alias as in `WantedChip`.

    A module that knows a chip by its name on I2C has precedence over one that knows only its
    compatible string, which a module for SPI may have too. On SPI only the names count: the kernel
    binds a driver to a chip by them.
    """
    chips: dict[str, str] = {}
    names = supply.names_below(FOLDERS)
    pairs = [(name, alias) for name in names for alias in supply.aliases_of(name)]
    # Only a module with a name for I2C is a driver on I2C: the alias of: serves both buses.
    i2c = {module for module, alias in pairs if alias.startswith("i2c:")}
    for module, alias in sorted(pairs, key=lambda pair: (pair[1].startswith("of:"), pair)):
        if alias.startswith(W1) or (
            alias.startswith(_SPI) and len(alias) - len(_SPI) <= _NAME_BYTES
        ):
            chips.setdefault(alias, module)
        elif module in i2c and (match := _I2C_CHIP.fullmatch(alias)):
            name = match[1] or match[2]
            if len(name) <= _NAME_BYTES:
                chips.setdefault(f"i2c:{name}", module)
    return chips


def modules_of(
    wanted: Iterable[WantedChip], chips: Mapping[str, str], release: str
) -> tuple[Sequence[str], Sequence[InputError]]:
    """Return the modules of the `wanted` chips, and an error for each that no module knows."""
    modules: dict[str, None] = {}
    errors: list[InputError] = []
    for chip in wanted:
        module = chips.get(chip.alias)
        if module is None:
            errors.append(_unknown(chip, chips, release))
        else:
            modules[module] = None
    return tuple(modules), tuple(errors)


def _unknown(chip: WantedChip, chips: Mapping[str, str], release: str) -> InputError:
    bus, _, name = chip.alias.partition(":")
    known = [alias.partition(":")[2] for alias in sorted(chips) if alias.startswith(f"{bus}:")]
    similar = get_close_matches(name, known, 3)
    meant = f"did you mean {', '.join(similar)}? " if similar else ""
    others = [other for other in BUSES if other != bus and f"{other}:{name}" in chips]
    where = f" on {bus.upper()}" if others else ""
    return InputError(
        "kernel.unknown-sensor",
        f"the kernel {release} has no driver for a {name}{where}",
        place=chip.place,
        hint=f"{meant}`piimage sensors` lists what it has",
    )
