"""``python3 -m chipmodels.daemon``: chips behind real device nodes, for unmodified programs.

    python3 -m chipmodels.daemon i2c-7:0x77=bmp280 i2c-7:0x29=tcs3472 spidev0.0=bme280

Needs root and a kernel with CUSE (``modprobe cuse``). The values are those of the data sheets'
examples and of the models' defaults. Ends with the process.
"""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from chipmodels.adapter import I2cAdapter, SpiController
from chipmodels.ads1015 import Ads1015Model
from chipmodels.bosch import BoschModel, Variant
from chipmodels.clock import RealClock, TimeSource
from chipmodels.cuse import CuseDevice, Node, serve
from chipmodels.cuse_i2c import I2cNode
from chipmodels.cuse_spi import SpiNode
from chipmodels.lsm303d import Lsm303dModel
from chipmodels.target import I2cTarget, SpiTarget
from chipmodels.tcs3472 import Tcs3472Model

_LOG = 1000  # transfers remembered: the daemon runs for long

I2C_CHIPS: dict[str, Callable[[TimeSource], I2cTarget]] = {
    "bmp280": BoschModel,
    "bme280": lambda time: BoschModel(time, variant=Variant.BME280),
    "tcs3472": Tcs3472Model,
    "lsm303d": Lsm303dModel,
    "ads1015": lambda time: Ads1015Model(time, volts=(0.5, 1.0, 2.0, 3.3)),
}
SPI_CHIPS: dict[str, Callable[[TimeSource], SpiTarget]] = {
    "bmp280": BoschModel,
    "bme280": lambda time: BoschModel(time, variant=Variant.BME280),
}


def nodes(places: Iterable[str], time: TimeSource) -> list[Node]:
    """The nodes that hold the chips at `places`. Raises ValueError for a place it cannot read."""
    buses: dict[int, dict[int, I2cTarget]] = {}
    selects: dict[int, dict[int, SpiTarget]] = {}
    for place in places:
        i2c = re.fullmatch(r"i2c-(\d+):(0x[0-9a-f]{2})=(\w+)", place)
        spi = re.fullmatch(r"spidev(\d+)\.(\d+)=(\w+)", place)
        if i2c and i2c[3] in I2C_CHIPS:
            buses.setdefault(int(i2c[1]), {})[int(i2c[2], 16)] = I2C_CHIPS[i2c[3]](time)
        elif spi and spi[3] in SPI_CHIPS:
            selects.setdefault(int(spi[1]), {})[int(spi[2])] = SPI_CHIPS[spi[3]](time)
        else:
            raise ValueError(f"'{place}' is not i2c-N:0xAA=CHIP or spidevB.C=CHIP")
    made: list[Node] = [
        I2cNode(I2cAdapter(chips, deque(maxlen=_LOG)), number) for number, chips in buses.items()
    ]
    for bus, chips in selects.items():
        controller = SpiController(chips, deque(maxlen=_LOG))
        made += [SpiNode(controller, bus, chip_select) for chip_select in chips]
    return made


def main(places: Sequence[str]) -> int:
    """Serve until the process is ended; 2 for a place that cannot be read, 1 without CUSE."""
    try:
        wanted = nodes(places, RealClock())
        devices = [CuseDevice(node) for node in wanted]
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"/dev/cuse: {error.strerror}; does the kernel have CUSE?\n")
        return 1
    serve(devices)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
