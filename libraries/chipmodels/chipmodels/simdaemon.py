"""``python3 -m chipmodels.simdaemon``: chips for the kernel's own drivers, through sensor-sim.

    modprobe sensor-sim
    python3 -m chipmodels.simdaemon --control /run/chips.sock i2c-0:0x77=bmp280 spidev0.0=bme280 &
    echo bmp280 0x77 >/sys/bus/i2c/devices/i2c-N/new_device     # N: chipmodels.sim.bus_number()
    echo bme280 0 1000000 >/sys/class/misc/sensor-sim/new_spi_device

Bus 0 of each kind is the module's, whatever number the kernel gave it. Needs root.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from chipmodels.clock import RealClock
from chipmodels.control import Control
from chipmodels.cuse_i2c import I2cNode
from chipmodels.cuse_spi import SpiNode
from chipmodels.daemon import placed, run
from chipmodels.sim import NODE, Buses, SimDevice


def buses(places: Sequence[str]) -> tuple[Buses, Control]:
    """Return the models at `places` and their control. Raises ValueError for an invalid place."""
    nodes, control = placed(places, RealClock()).served()
    i2c = {node.number: node.adapter for node in nodes if isinstance(node, I2cNode)}
    spi = {node.bus: node.controller for node in nodes if isinstance(node, SpiNode)}
    if {*i2c, *spi} - {0}:
        raise ValueError("sensor-sim has one bus of each kind: i2c-0 and spidev0")
    return Buses(i2c.get(0), spi.get(0)), control


def main(arguments: Sequence[str]) -> int:
    """Serve until the process ends. Return 2 for an invalid place, 1 without the module."""
    return run(
        arguments,
        buses,
        lambda found: [SimDevice(found)],
        lambda why: f"{NODE}: {why}; is the module sensor-sim loaded?",
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
