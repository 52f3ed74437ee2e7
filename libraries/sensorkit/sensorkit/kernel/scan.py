"""How the records of an IIO buffer are made, by the files of the device's ``scan_elements``.

Source: Documentation/ABI/testing/sysfs-bus-iio and Documentation/iio/iio_devbuf.rst of Linux.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sensorkit.errors import BusError
from sensorkit.kernel.sysfs import line, names, number

_TYPE = re.compile(
    r"(?P<order>be|le):(?P<sign>[su])(?P<bits>\d+)/(?P<storage>\d+)(?:X(?P<repeat>\d+))?"
    r">>(?P<shift>\d+)"
)


@dataclass(frozen=True)
class Element:
    """A number of a record: where it is, and how its bytes are read."""

    start: int
    size: int
    order: Literal["big", "little"]
    signed: bool
    bits: int
    shift: int

    def of(self, record: bytes) -> int:
        """Return the number, as the device's ``_raw`` file would show it."""
        word = int.from_bytes(record[self.start : self.start + self.size], self.order)
        value = word >> self.shift & (1 << self.bits) - 1
        return value - (1 << self.bits) if self.signed and value >> self.bits - 1 else value


@dataclass(frozen=True)
class Scan:
    """The numbers of a record by the names of their channels, and the bytes of a record."""

    elements: Mapping[str, Element]
    size: int


def read_scan(device: Path) -> Scan:
    """Return what the buffer of the IIO device in the folder `device` records now.

    Raises `BusError` if it records nothing.
    """
    folder = device / "scan_elements"
    enabled = [
        file.removesuffix("_en")
        for file in names(folder)
        if file.endswith("_en") and line(folder / file) == "1"
    ]
    enabled.sort(key=lambda name: number(folder / f"{name}_index"))
    elements: dict[str, Element] = {}
    end, widest = 0, 1
    for name in enabled:
        text = line(folder / f"{name}_type")
        found = _TYPE.fullmatch(text)
        if found is None:
            raise BusError(f"{name}_type: {text[:40]!r} is no type of a buffer's number")
        size = int(found["storage"]) // 8
        whole = size * int(found["repeat"] or 1)
        start = -(-end // whole) * whole  # each number is aligned to its own size
        end, widest = start + whole, max(widest, whole)
        if found["repeat"] is None:  # a quaternion is no value
            elements[name] = Element(
                start,
                size,
                "big" if found["order"] == "be" else "little",
                found["sign"] == "s",
                int(found["bits"]),
                int(found["shift"]),
            )
    if not elements:
        raise BusError("the driver has no buffer, which rate: needs")
    return Scan(elements, -(-end // widest) * widest)
