"""What no single value shows of GPIO lines: those that the board has, and that others use."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from piimage.config.lookup import maps, node_at, scalar, scalars
from piimage.document.document import resolve
from piimage.document.nodes import MapNode, ScalarNode
from piimage.errors import InputError, PiimageError

if TYPE_CHECKING:
    from piimage.board import Board

_MOST_LINE: Final = 511  # the model refuses others
_HEADER_LINES: Final = 28
"""GPIO 0 to 27 are on the header of every Pi (Raspberry Pi's pinout)."""
_I2C_LINES: Final = (2, 3)
_I2C_DEVICE: Final = "/dev/i2c-1"
_I2C_OVERLAY: Final = "i2c1"
# Sources: bindings/pinctrl/brcm,bcm2835-gpio.txt, raspberrypi,rp1-gpio.yaml, gpio/gpio.txt.
_PINS: Final = re.compile(r"brcm,pins = <([\d\s]+)>")
_LINES: Final = re.compile(r"<?&(?:rp1_)?gpio (\d+) \d+>")
_NAMED_PINS: Final = re.compile(r'"gpio(\d+)"')
_COMMENT: Final = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


def gpio_errors(root: MapNode, search: Sequence[Path]) -> Iterator[InputError]:
    """Give the lines that the board does not have, or that something else uses."""
    entries = list(maps(root, "gpio"))
    if not entries:
        return
    yield from _shared_lines(entries)
    from piimage.boards import load_board  # noqa: PLC0415  # few files have lines

    name = scalar(root, "board")
    try:
        board = load_board(name.text if name else "qemu-virt", search)
    except PiimageError:
        return  # the errors of the board are reported where it is loaded
    used = _used_lines(root, board)
    for entry in entries:
        yield from _line_errors(entry, board, used)


def _shared_lines(entries: Sequence[MapNode]) -> Iterator[InputError]:
    first: dict[tuple[str, int], ScalarNode] = {}
    for entry in entries:
        line, chip = scalar(entry, "line"), scalar(entry, "chip")
        number = _number(line)
        if line is None or number is None:
            continue
        place = (chip.text if chip else "", number)
        if place in first:
            yield InputError(
                "config.shared-line",
                f"two entries of gpio: have the line {number}",
                place=str(line.at),
                hint=f"connect one to another line; the first is at {first[place].at}",
            )
        first.setdefault(place, line)


def _line_errors(entry: MapNode, board: "Board", used: Mapping[int, str]) -> Iterator[InputError]:
    line = scalar(entry, "line")
    number = _number(line)
    if line is None or number is None or scalar(entry, "chip") is not None:
        return
    if board.header.gpio is None:
        yield InputError(
            "config.no-line",
            f"the board {board.name} has no header with GPIO lines",
            place=str(line.at),
            hint="name another chip, such as chip: gpio-sim.0 of the module gpio-sim",
        )
    elif number >= _HEADER_LINES:
        yield InputError(
            "config.no-line",
            f"the header of the board {board.name} has no GPIO {number}",
            place=str(line.at),
            hint=f"a number from 0 to {_HEADER_LINES - 1}; the number of a pin is not that of its "
            "line (pin 11 is GPIO 17)",
        )
    elif number in used:
        yield InputError(
            "config.shared-line",
            f"GPIO {number} is used by {used[number]}",
            place=str(line.at),
            hint="connect this to another line",
        )


def _used_lines(root: MapNode, board: "Board") -> Mapping[int, str]:
    """Return what the file uses lines of the header for, apart from `gpio:`."""
    used: dict[int, str] = {}
    if _console_is_on(root):
        used.update(dict.fromkeys(board.header.console, "the serial console (`console: false`)"))
    if _uses_i2c(root):
        used.update(dict.fromkeys(_I2C_LINES, "the bus i2c1"))
    for name, lines in _overlay_lines(root, board).items():
        used.update(dict.fromkeys(lines, f"the overlay {name}"))
    return used


def _console_is_on(root: MapNode) -> bool:
    """Return whether the console is on its serial port."""
    console = scalar(root, "console")
    return console is None or resolve(console) is not False


def _uses_i2c(root: MapNode) -> bool:
    """Return whether a sensor is on the header's bus, or a container is given it."""
    from piimage.config.lacks import requested_paths  # noqa: PLC0415  # few files have lines

    return _I2C_DEVICE in requested_paths(root)


def _overlay_lines(root: MapNode, board: "Board") -> Mapping[str, Sequence[int]]:
    """Return the lines that each overlay of the file takes, by the sources of the overlays."""
    from piimage.boards import overlay_sources  # noqa: PLC0415

    sources = overlay_sources(board)
    names = [node.text for node in scalars(node_at(root, "boot"), "overlays")]
    lines = {name: _lines_in(sources[name].read_text()) for name in names if name in sources}
    i2c = {name: _I2C_LINES for name in names if name.startswith(_I2C_OVERLAY)}
    return {**lines, **i2c}


def _lines_in(source: str) -> Sequence[int]:
    text = _COMMENT.sub("", source)
    groups = (match[1].split() for match in (*_PINS.finditer(text), *_LINES.finditer(text)))
    named = _NAMED_PINS.findall(text)
    return sorted({int(number) for group in (*groups, named) for number in group})


def _number(line: ScalarNode | None) -> int | None:
    """Return the number of a line; None if the model refuses it."""
    value = None if line is None else resolve(line)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST_LINE:
        return None
    return int(value)
