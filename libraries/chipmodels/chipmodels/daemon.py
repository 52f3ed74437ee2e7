"""``python3 -m chipmodels.daemon``: chips at real device nodes, for unmodified programs.

    python3 -m chipmodels.daemon --control /run/chips.sock \\
        i2c-7:0x77=bmp280,temperature_celsius=21.5 spidev0.0=bme280

It needs /dev/cuse (``modprobe cuse``). `chipmodels.planted` lists the values of each chip.
`chipmodels.control` changes them and causes faults. The nodes exist until the process ends.
"""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, MutableSequence, Sequence
from dataclasses import dataclass, field
from random import Random
from time import sleep
from typing import Any, TypeVar

from chipmodels.adapter import I2cAdapter, SpiController
from chipmodels.clock import RealClock, TimeSource
from chipmodels.control import Control, ControlSocket
from chipmodels.cuse import Answering, CuseDevice, Node, serve
from chipmodels.cuse_i2c import I2cNode
from chipmodels.cuse_spi import SpiNode
from chipmodels.faults import FaultRates, FaultyChip
from chipmodels.planted import kind_of, planted
from chipmodels.target import I2cTarget, SpiTarget

Found = TypeVar("Found")

_LOG = 1000  # transfers; a limit, because the daemon runs for long


@dataclass
class Places:
    """Chips at their places on buses."""

    buses: dict[int, dict[int, I2cTarget]] = field(default_factory=dict)
    selects: dict[int, dict[int, SpiTarget]] = field(default_factory=dict)

    def put(self, place: str, time: TimeSource) -> None:
        """Add a model at ``i2c-N:0xAA=CHIP`` or ``spidevB.C=CHIP``. Raises ValueError."""
        i2c = re.fullmatch(r"i2c-(\d+):(0x[0-9a-f]{2})=(.+)", place)
        spi = re.fullmatch(r"spidev(\d+)\.(\d+)=(.+)", place)
        if i2c:
            chips = self.buses.setdefault(int(i2c[1]), {})
            chips[int(i2c[2], 16)] = _faulty(planted(i2c[3], time))
        elif spi and kind_of(spi[3]).spi:
            selects = self.selects.setdefault(int(spi[1]), {})
            selects[int(spi[2])] = _faulty(planted(spi[3], time))
        else:
            raise ValueError(f"'{place}' is not i2c-N:0xAA=CHIP or spidevB.C=CHIP")

    def served(self) -> tuple[list[Node], Control]:
        """Return the nodes, and the control of their chips."""
        nodes: list[Node] = []
        logs: dict[str, MutableSequence[Any]] = {}
        for number, chips in self.buses.items():
            adapter = I2cAdapter(chips, deque(maxlen=_LOG), wait=sleep)
            logs[f"i2c-{number}"] = adapter.log
            nodes.append(I2cNode(adapter, number))
        for bus, selects in self.selects.items():
            controller = SpiController(selects, deque(maxlen=_LOG))
            logs[f"spi{bus}"] = controller.log
            nodes += [SpiNode(controller, bus, chip_select) for chip_select in selects]
        return nodes, Control(self._faulty_chips(), logs)

    def _faulty_chips(self) -> dict[str, FaultyChip]:
        i2c = {f"i2c-{n}:0x{a:02x}": chip for n, on in self.buses.items() for a, chip in on.items()}
        spi = {f"spidev{b}.{c}": chip for b, on in self.selects.items() for c, chip in on.items()}
        return {p: chip for p, chip in (i2c | spi).items() if isinstance(chip, FaultyChip)}


def _faulty(chip: I2cTarget | SpiTarget) -> FaultyChip:
    return FaultyChip(chip, FaultRates(), Random(1))  # noqa: S311 -- faults, not secrets


def placed(places: Iterable[str], time: TimeSource) -> Places:
    """Return the chips at `places`. Raises ValueError for an invalid place."""
    chips = Places()
    for place in places:
        chips.put(place, time)
    return chips


def main(arguments: Sequence[str]) -> int:
    """Serve until the process ends. Return 2 for an invalid place, 1 without CUSE."""
    return run(
        arguments,
        lambda places: placed(places, RealClock()).served(),
        lambda nodes: [CuseDevice(node) for node in nodes],
        lambda why: f"/dev/cuse: {why}; does the kernel have CUSE?",
    )


def run(
    arguments: Sequence[str],
    find: Callable[[Sequence[str]], tuple[Found, Control]],
    attach: Callable[[Found], Sequence[Answering]],
    explain: Callable[[str | None], str],
) -> int:
    """Serve what `find` makes of the places in `arguments`, until the process ends.

    Returns 2 if `find` raises ValueError for an invalid place. Returns 1 if `attach` raises
    OSError, because the kernel's part is missing; `explain` gives the message.
    """
    words = list(arguments)
    socket = words[1] if len(words) > 1 and words[0] == "--control" else None
    try:
        found, control = find(words[2:] if socket else words)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    try:
        answering = list(attach(found))
    except OSError as error:
        sys.stderr.write(f"{explain(error.strerror)}\n")
        return 1
    if socket:
        answering.append(ControlSocket(socket, control))
    serve(answering)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
