"""A sensor service on chip models, as a process: ``model_service.py NAME ARGUMENTS...``.

NAME is bmp280 or envirophat; the models run in real time inside the process. The air is
23.45 °C, 1001.23 hPa.
"""

from __future__ import annotations

import sys
from collections import deque

import bmp280
import envirophat
from chipmodels.adapter import I2cAdapter
from chipmodels.ads1015 import Ads1015Model
from chipmodels.bosch import Air, BoschModel
from chipmodels.clock import RealClock
from chipmodels.inprocess import ModelSMBus
from chipmodels.lsm303d import Lsm303dModel
from chipmodels.tcs3472 import Tcs3472Model
from sensorkit import cli
from sensorkit.bus.registers import I2cBus, Line
from sensorkit.chips import Buses


def main() -> int:
    time = RealClock()
    chips = {
        0x77: BoschModel(time, source=Air(23.45, 100_123.0), noise=4),
        0x29: Tcs3472Model(time),
        0x1D: Lsm303dModel(time),
        0x49: Ads1015Model(time, volts=(0.5, 1.0, 2.0, 3.3)),
    }
    bus = ModelSMBus(I2cAdapter(chips, log=deque(maxlen=100)))
    line: Line[I2cBus] = Line("i2c1", lambda: bus)
    services = {"bmp280": bmp280.service, "envirophat": envirophat.service}
    return cli.main(services[sys.argv[1]](Buses(lines={"i2c1": line})), sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
