"""I2C, SPI, GPIO and USB, and the device nodes of the header."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from piimage.board import Board, Header
from piimage.doctor.facts import Facts
from piimage.doctor.findings import Finding, absent, good, look
from piimage.doctor.models import board_of

_HEADER_BUS: Final = 1
_REBUILD: Final = "rebuild the card with this version of piimage"


def buses(facts: Facts, boards: Sequence[Board]) -> Iterator[Finding]:
    """Give the buses and their devices, sorted by number."""
    kind = board_of(facts.part("board").texts("compatible"), boards)
    header = kind.header if kind is not None else Header()
    yield from _i2c(facts.parts("i2c"), header)
    yield from _spi(facts.parts("spi"))
    yield from _gpio(facts.parts("gpio"), header)
    yield from _usb(facts.parts("usb"))


def _i2c(found: Sequence[Facts], header: Header) -> Iterator[Finding]:
    if not found:
        yield absent("I2C", "no bus")
        return
    for bus in sorted(found, key=lambda bus: bus.number("number") or 0):
        yield _bus(bus)
    if header.i2c:
        yield _header(found, header.i2c)


def _bus(bus: Facts) -> Finding:
    chips = ", ".join(
        f"{chip.text('name')} at {chip.text('address')}"
        + (f" by {chip.text('driver')}" if chip.text("driver") else "")
        for chip in bus.parts("chips")
    )
    where = bus.text("tree") or "not in the device tree"
    shown = f"{bus.text('name')}, {where}" + (f": {chips}" if chips else "")
    name = f"i2c-{bus.number('number')}"
    if bus.flag("node"):
        return Finding(name, shown)
    return look(name, shown, f"load the module i2c-dev: /dev/{name} is missing")


def _header(found: Sequence[Facts], nodes: Sequence[str]) -> Finding:
    """Check that pins 3 and 5 are /dev/i2c-1, as programs expect."""
    numbers = [
        bus.number("number") for bus in found if bus.text("tree").rpartition("/")[2] in nodes
    ]
    if not numbers:
        return look(
            "I2C of the header", "off",
            "add the overlay i2c1 to the file if I2C devices are connected to the header",
        )  # fmt: skip
    if _HEADER_BUS in numbers:
        return good("I2C of the header", f"/dev/i2c-{_HEADER_BUS}")
    return look("I2C of the header", f"/dev/i2c-{numbers[0]}, not /dev/i2c-1", _REBUILD)


def _spi(found: Sequence[Facts]) -> Iterator[Finding]:
    if not found:
        yield absent("SPI", "no device: the file enables none, or the kernel has no driver")
    for device in found:
        node = f"/dev/spidev{device.text('name')[3:]}" if device.flag("node") else "no device node"
        driver = device.text("driver")
        shown = f"{device.text('kind')} by {driver or 'no driver'}, {device.text('tree')}: {node}"
        if driver:
            yield good(device.text("name"), shown)
        else:
            yield look(
                device.text("name"),
                shown,
                "add a kernel module for it (docs/modules.md): no driver is loaded",
            )


def _gpio(found: Sequence[Facts], header: Header) -> Iterator[Finding]:
    if not found:
        yield absent("GPIO", "no chip")
    for chip in found:
        name, label = chip.text("name"), chip.text("label")
        shown = f"{label or 'no label'}, {chip.number('lines') or 0} lines"
        if header.gpio is None or not label.startswith(header.gpio):
            yield Finding(name, shown)
        elif name == "gpiochip0":
            yield good(name, f"{shown}: the header")
        else:
            advice = (
                f"change programs that open gpiochip0: open {name}, or find the chip by its label"
            )
            yield look(name, f"{shown}: the header", advice)


def _usb(found: Sequence[Facts]) -> Iterator[Finding]:
    if not found:
        yield absent("USB", "no bus")
    for device in found:
        names = " ".join(filter(None, (device.text("maker"), device.text("product"))))
        drivers = ", ".join(device.texts("drivers")) or "no driver"
        shown = f"{device.text('id')} {names}, {device.text('speed')} Mbit/s, by {drivers}"
        if device.texts("drivers"):
            yield Finding(f"USB {device.text('name')}", shown)
        else:
            advice = "add a kernel module for it, unless a program drives it directly"
            yield look(f"USB {device.text('name')}", shown, advice)
