"""The drivers of devices, by the kernel's own tables.

The aliases of a module name its devices. Kernels from 6.18 on list them for built-in code as well
(``modules.builtin.modinfo``), except for drivers without an exported table, such as those of
clocks, interrupts and timers. For these, and for all built-in drivers of older kernels, the tables
in the uncompressed Image are evidence: a ``struct of_device_id`` (include/linux/mod_devicetable.h)
is a name and a type of 32 bytes each, nearly always empty, and a compatible string in 128 bytes.
Such an entry tells that built-in code drives the device, but not which code.
"""

from __future__ import annotations

import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from piimage.firmware.fdt import Node
from piimage.kernel.modinfo import normal_name
from piimage.kernel.modules import Supply
from piimage.kernel.package import KernelParts
from piimage.steps import Job, Step
from piimage.store import Blob

_OF: Final = "of:N*T*C"
_ENTRY: Final = re.compile(rb"\0{64}([!-~]{2,127})\0")
_FIELD: Final = 128
_MAX_IMAGE: Final = 256 << 20
_NUMBERS: Final = re.compile(r"(pci|usb)([0-9a-f]{1,4}),([0-9a-f]{1,4})")


@dataclass(frozen=True)
class KernelDrivers(Step):
    """The drivers of a kernel.

    Outputs: ``modules`` and ``built-in`` (lines with a module and an alias, and one line for each
    module alone), ``image`` (lines with the compatible strings in the image's tables).
    """

    kernel: KernelParts

    @property
    def title(self) -> str:
        """The name of the work."""
        return "list the kernel's drivers"

    def make(self, job: Job) -> Mapping[str, Blob]:
        """Read every module once."""
        packed = job.file(self.kernel, "image").read_bytes()
        image = zlib.decompressobj(wbits=31).decompress(packed, _MAX_IMAGE)
        with open_supply(job, self.kernel) as supply:
            outputs = {
                "modules": _lines(supply.names, supply.aliases()),
                "built-in": _lines(supply.built_in, supply.built_in_aliases()),
                "image": sorted(tables(image)),
            }
        return {
            name: job.store.add_bytes("".join(f"{line}\n" for line in lines).encode())
            for name, lines in outputs.items()
        }


def _lines(names: Iterable[str], aliases: Iterable[tuple[str, str]]) -> list[str]:
    return sorted((*names, *(" ".join(pair) for pair in aliases)))


@contextmanager
def open_supply(job: Job, kernel: KernelParts) -> Iterator[Supply]:
    """Yield the modules of `kernel`, a step that `job` has made."""
    release = job.file(kernel, "release").read_text()
    with tarfile.open(job.file(kernel, "modules"), "r:") as archive:
        yield Supply(archive, release)


def tables(image: bytes) -> frozenset[str]:
    """Return the compatible strings in the device tables of an uncompressed kernel image."""
    names = set()
    for entry in _ENTRY.finditer(image):
        rest = image[entry.end(1) : entry.start(1) + _FIELD]
        if not rest.strip(b"\0"):
            names.add(entry.group(1).decode("ascii"))
    return frozenset(names)


@dataclass(frozen=True, order=True)
class Driver:
    """A driver: the name of its module, which is empty for unknown built-in code."""

    module: str
    built_in: bool


class Drivers:
    """The drivers of one kernel, by device."""

    def __init__(
        self, modules: Iterable[str], built_in: Iterable[str], image: Iterable[str]
    ) -> None:
        """Take the lines of the outputs of `KernelDrivers`."""
        self._by_compatible: dict[str, set[Driver]] = {}
        self._others: list[tuple[str, Driver]] = []
        self._named: dict[str, Driver] = {}
        for line in modules:
            self._add(line, built_in=False)
        for line in built_in:
            self._add(line, built_in=True)
        for name in image:
            # The lists of older kernels do not tell which driver this is.
            self._by_compatible.setdefault(name, set()).add(Driver("", True))

    @classmethod
    def made(cls, job: Job, step: KernelDrivers) -> Drivers:
        """Return the drivers in the outputs of `step`."""
        names = ("modules", "built-in", "image")
        return cls(*(job.file(step, name).read_text().splitlines() for name in names))

    def of_node(self, node: Node) -> tuple[Driver, ...]:
        """Return the drivers of the device `node`: those for its most specific known name."""
        if _is_hub(node):
            return self.named("usbcore")
        return next(filter(None, map(self._of_compatible, node.compatible)), ())

    def of_alias(self, alias: str) -> tuple[Driver, ...]:
        """Return the drivers of a device with the modalias `alias` (``usb:v0424…``)."""
        matching = {driver for pattern, driver in self._others if fnmatchcase(alias, pattern)}
        return tuple(sorted(matching))

    def named(self, module: str) -> tuple[Driver, ...]:
        """Return the driver with the module name `module`, also if it is built in."""
        driver = self._named.get(normal_name(module))
        return () if driver is None else (driver,)

    def _of_compatible(self, name: str) -> tuple[Driver, ...]:
        if numbers := _NUMBERS.fullmatch(name):
            return self._of_numbers(*numbers.groups())
        drivers = sorted(self._by_compatible.get(name, ()))
        named = [driver for driver in drivers if driver.module]
        return tuple(named or drivers)

    def _of_numbers(self, bus: str, first: str, second: str) -> tuple[Driver, ...]:
        """Return the drivers of a device that is named by its vendor ID and device ID.

        Source: PCI Bus Binding to Open Firmware, 2.5; Open Firmware Recommended Practice: USB, 2.5.
        """
        vendor, device = int(first, 16), int(second, 16)
        if bus == "pci":
            return self.of_alias(f"pci:v{vendor:08X}d{device:08X}sv00000000sd00000000bc00sc00i00")
        alias = f"usb:v{vendor:04X}p{device:04X}d0000dc00dsc00dp00ic00isc00ip00in00"
        return self.of_alias(alias)

    def _add(self, line: str, *, built_in: bool) -> None:
        module, _, alias = line.partition(" ")
        driver = Driver(module, built_in)
        if not alias:
            self._named[module] = driver
        elif alias.startswith(_OF):
            name = alias.removeprefix(_OF).removesuffix("C*")
            self._by_compatible.setdefault(name, set()).add(driver)
        else:
            self._others.append((alias, driver))


def _is_hub(node: Node) -> bool:
    """Return whether the node is a USB device with USB devices as children."""
    children = (name for child in node.children.values() for name in child.compatible)
    return _is_usb(node.compatible) and _is_usb(children)


def _is_usb(names: Iterable[str]) -> bool:
    return any(name.startswith("usb") and _NUMBERS.fullmatch(name) for name in names)
