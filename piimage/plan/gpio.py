"""What the system has for `gpio:`: the list of its lines, and the program that holds them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from piimage.board import Board
from piimage.compose.rules import File
from piimage.config.models import Appliance

if TYPE_CHECKING:
    from piimage.config.gpio import GpioLine

# A service of process 1; no container can have this name.
_START: Final = (
    b"service [2345] name:_gpio restart:always restart_sec:1 log:null "
    b"/usr/bin/python3 -I -S -X pycache_prefix=/run/piimage/pycache /usr/lib/piimage/gpio "
    b"-- GPIO lines\n"
)


def gpio_files(appliance: Appliance, board: Board) -> Iterator[File]:
    """Yield the list of lines and the service that holds them, if the file has any."""
    if not appliance.gpio:
        return
    entries = [_entry(line, board) for line in appliance.gpio]
    text = json.dumps({"lines": entries}, indent=1)
    yield File("etc/piimage/gpio.json", f"{text}\n".encode())
    yield File("etc/finit.d/_gpio.conf", _START)


def firmware_outputs(appliance: Appliance, board: Board) -> Iterator[str]:
    """Yield the firmware's `gpio=` lines that set the header's outputs long before Linux does."""
    if not board.firmware.files:
        return
    for line in appliance.gpio:
        if line.kind == "output" and line.chip is None:
            high = (line.at_boot == "on") != (line.active == "low")
            yield f"{line.line}=op,{'dh' if high else 'dl'}"


def _entry(line: GpioLine, board: Board) -> Mapping[str, Any]:
    """Return a line as piimage_lines/settings.py reads it."""
    entry: dict[str, Any] = {
        "name": line.name,
        "kind": line.kind,
        "chip": line.chip or board.header.gpio,
        "line": line.line,
        "active_low": line.active == "low",
    }
    if line.kind != "output":
        return entry | {"pull": line.pull, "debounce": line.debounce}
    return entry | {
        "at_boot": line.at_boot == "on",
        "on_failure": line.state("on_failure"),
        "at_shutdown": line.state("at_shutdown"),
    }
