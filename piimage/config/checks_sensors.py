"""What no single value shows of sensors: buses of the board, addresses, and checks of values."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from piimage.config.lookup import items, maps, node_at, scalar
from piimage.config.values import did_you_mean, quoted
from piimage.document.nodes import MapNode, Position, ScalarNode
from piimage.errors import InputError, PiimageError

if TYPE_CHECKING:
    from piimage.board import Board

_W1: Final = "w1"
_W1_DEVICES: Final = "/sys/bus/w1/devices"
_W1_OVERLAY: Final = "w1-gpio"
_HEADER_BUS: Final = "i2c1"
_SPI: Final = "spi"
_HEADER_SPI: Final = "spi0"
_SELECTS: Final = 2
"""Chip selects of the header: CE0 and CE1."""
_SERVICE: Final = "sensors"


def sensor_errors(root: MapNode, search: Sequence[Path]) -> Iterator[InputError]:
    """Give what is wrong with the buses and addresses of sensors."""
    sensors = list(maps(root, "sensors"))
    yield from _shared_addresses(sensors)
    if sensors and not _may_have_other_buses(root):
        yield from _bus_errors(root, sensors, search)


def sensor_device(bus: str, root: MapNode) -> str | None:
    """Return the path that the bus of a sensor needs on the Pi; None if it may have other causes.

    A chip on I2C may itself be the master of a 1-Wire bus.
    """
    name = _bus_name(bus)
    if name == _W1:
        return None if _has_i2c(root) else _W1_DEVICES
    if name.startswith(_SPI):
        return f"/dev/spidev{name.removeprefix(_SPI)}.0"
    return f"/dev/{name.replace('i2c', 'i2c-')}"


def sensor_check_errors(root: MapNode) -> Iterator[InputError]:
    """Give an error for each check of a sensor that no service measures."""
    entries = (*maps(root, "sensors"), *maps(root, "gpio"))
    named = {node.text for entry in entries if (node := scalar(entry, "name"))}
    published = any(_uses_sensors(entry) for entry in maps(root, "services"))
    for check in maps(root, "test", "checks"):
        value = scalar(check, "sensor")
        if value is None:
            continue
        if not published:
            yield InputError(
                "config.no-sensors-service",
                f"the check of {quoted(value.text)} asks the service sensors, which is not there",
                place=str(value.at),
                hint="add to services: { name: sensors, use: sensors }",
            )
        name = value.text.partition(".")[0]
        if name not in named:
            yield InputError(
                "config.unknown-sensor",
                f"there is no sensor {quoted(name)}",
                place=str(value.at),
                hint=f"instead: {did_you_mean(name, named)}",
            )


def _uses_sensors(entry: MapNode) -> bool:
    use = scalar(entry, "use")
    return use is not None and use.text == _SERVICE


def _shared_addresses(sensors: Sequence[MapNode]) -> Iterator[InputError]:
    first: dict[tuple[str, int], Position] = {}
    for sensor in sensors:
        bus = scalar(sensor, "bus")
        select = bus is not None and bus.text.startswith(_SPI)
        address = scalar(sensor, "cs" if select else "address")
        number = _number(address)
        if bus is None or address is None or number is None:
            continue
        place = (_bus_name(bus.text), number)
        if place in first:
            yield InputError(
                "config.shared-address",
                f"two sensors have the {_place_name(select, number)} on {place[0]}",
                place=str(address.at),
                hint=f"give one chip another {'chip select' if select else 'address'} or bus; the "
                f"first is at {first[place]}",
            )
        first.setdefault(place, address.at)


def _place_name(select: bool, number: int) -> str:
    return f"chip select {number}" if select else f"address 0x{number:02x}"


def _number(address: ScalarNode | None) -> int | None:
    try:
        return None if address is None else int(address.text, 0)
    except ValueError:
        return None  # the model reports it


def _bus_errors(
    root: MapNode, sensors: Sequence[MapNode], search: Sequence[Path]
) -> Iterator[InputError]:
    from piimage.boards import load_board  # noqa: PLC0415  # few files have sensors

    name = scalar(root, "board")
    try:
        board = load_board(name.text if name else "qemu-virt", search)
    except PiimageError:
        return  # the errors of the board are reported where it is loaded
    buses = _buses(board, root)
    for sensor in sensors:
        bus, select = scalar(sensor, "bus"), scalar(sensor, "cs")
        if bus is None or not _is_bus(bus.text):
            continue
        if _bus_name(bus.text) in buses:
            if _bus_name(bus.text) == _HEADER_SPI and (_number(select) or 0) >= _SELECTS:
                yield _no_select(select or bus, board)
            continue
        found = f"its buses are {', '.join(buses)}" if buses else "it has none"
        yield InputError(
            "config.no-bus",
            f"the board {board.name} has no bus {quoted(bus.text)}",
            place=str(bus.at),
            hint=f"{found}; a module of your own (modules: build:) may add one",
        )


def _no_select(select: ScalarNode, board: "Board") -> InputError:
    return InputError(
        "config.no-bus",
        f"{_HEADER_SPI} of the board {board.name} has no chip select {select.text}",
        place=str(select.at),
        hint="cs: 0 (CE0, pin 24) or cs: 1 (CE1, pin 26)",
    )


def _buses(board: "Board", root: MapNode) -> Sequence[str]:
    from piimage.boards import overlay_sources  # noqa: PLC0415

    header = [_HEADER_BUS] if board.header.i2c else []
    wire = [_W1] if _W1_OVERLAY in overlay_sources(board) or (header and _has_i2c(root)) else []
    spi = [_HEADER_SPI] if board.header.spi is not None else []
    return [*header, *spi, *wire]


def _may_have_other_buses(root: MapNode) -> bool:
    """Tell whether drivers of the file may add buses that the board's file does not know."""
    built = any("build" in module.items for module in maps(root, "modules"))
    return built or bool(items(root, "init")) or node_at(root, "kernel", "image") is not None


def _has_i2c(root: MapNode) -> bool:
    buses = (scalar(sensor, "bus") for sensor in maps(root, "sensors"))
    return any(bus is not None and _bus_name(bus.text).startswith("i2c") for bus in buses)


def _bus_name(text: str) -> str:
    return text.removeprefix("/dev/").replace("i2c-", "i2c")


def _is_bus(text: str) -> bool:
    return re.fullmatch(r"(i2c|spi)\d+|w1", _bus_name(text)) is not None  # else the model says it
