"""Creates chips from text, with the values that they measure: ``bmp280,temperature_celsius=21.5``.

| chip | values |
|---|---|
| bmp280, bme280 | temperature_celsius, pressure_pascals, humidity_percent |
| tcs3472 | clear, red, green, blue: counts a millisecond at gain 1 |
| lsm303d | x, y, z in g; field_x, field_y, field_z in gauss; temperature_celsius |
| ads1015, ads1115 | in0, in1, in2, in3 in volts |
| bh1750 | lux |
| sht3x | temperature_celsius, humidity_percent |
| adxl345, mma8452 | x, y, z in g |
| ina219 | volts and amperes of the load, ohms of the shunt |
| srf08 | meters to what reflects, light |
| ds2482 | temperature_celsius of the DS18B20 behind it, 28-000005e2fdc3 |

Without values, a Bosch chip has those of the data sheet's example.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from chipmodels.ads1015 import Ads1015Model, Ads1115Model
from chipmodels.adxl345 import Adxl345Model
from chipmodels.bh1750 import Bh1750Model
from chipmodels.bosch import Air, BoschModel, Variant
from chipmodels.clock import TimeSource
from chipmodels.ds18b20 import Ds18b20Model
from chipmodels.ds2482 import Ds2482Model
from chipmodels.ina219 import Ina219Model
from chipmodels.lsm303d import Attitude, Lsm303dModel
from chipmodels.mma8452 import Mma8452Model
from chipmodels.sht3x import Sht3xModel
from chipmodels.srf08 import Srf08Model
from chipmodels.target import I2cTarget
from chipmodels.tcs3472 import Light, Tcs3472Model

Values = dict[str, float]
_INPUTS = ("in0", "in1", "in2", "in3")
_CLIMATE = {"temperature_celsius": 21.5, "humidity_percent": 45.0}
_AIR = ("temperature_celsius", "pressure_pascals", "humidity_percent")


def _bosch(variant: Variant) -> Callable[[TimeSource, Values], BoschModel]:
    def make(time: TimeSource, values: Values) -> BoschModel:
        return BoschModel(time, variant=variant, source=Air(**values) if values else None)

    return make


def _tcs3472(time: TimeSource, values: Values) -> Tcs3472Model:
    return Tcs3472Model(time, light=Light(**values))


def _ads(model: type[Ads1015Model]) -> Callable[[TimeSource, Values], Ads1015Model]:
    def make(time: TimeSource, values: Values) -> Ads1015Model:
        a, b, c, d = (values.get(name, 0.0) for name in _INPUTS)
        return model(time, volts=(a, b, c, d))

    return make


def _lsm303d(time: TimeSource, values: Values) -> Lsm303dModel:
    default = Attitude()
    x, y, z = default.acceleration
    fx, fy, fz = default.field
    get = values.get
    acceleration = (get("x", x), get("y", y), get("z", z))
    field = (get("field_x", fx), get("field_y", fy), get("field_z", fz))
    celsius = get("temperature_celsius", default.temperature_celsius)
    return Lsm303dModel(time, attitude=Attitude(acceleration, field, celsius))


def _sht3x(time: TimeSource, values: Values) -> Sht3xModel:
    celsius, percent = (values.get(name, default) for name, default in _CLIMATE.items())
    return Sht3xModel(time, celsius=celsius, percent=percent)


def _ds2482(time: TimeSource, values: Values) -> Ds2482Model:
    celsius = values.get("temperature_celsius", 18.25)
    return Ds2482Model(time, chips=(Ds18b20Model(time, celsius=celsius),))


@dataclass(frozen=True)
class Kind:
    """A kind of chip: how to make one, and the names of its values."""

    make: Callable[[TimeSource, Values], I2cTarget]
    names: tuple[str, ...]
    spi: bool = False


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "bmp280": Kind(_bosch(Variant.BMP280), _AIR, spi=True),
        "bme280": Kind(_bosch(Variant.BME280), _AIR, spi=True),
        "tcs3472": Kind(_tcs3472, ("clear", "red", "green", "blue")),
        "lsm303d": Kind(
            _lsm303d, ("x", "y", "z", "field_x", "field_y", "field_z", "temperature_celsius")
        ),
        "ads1015": Kind(_ads(Ads1015Model), _INPUTS),
        "ads1115": Kind(_ads(Ads1115Model), _INPUTS),
        "bh1750": Kind(lambda time, values: Bh1750Model(time, **values), ("lux",)),
        "sht3x": Kind(_sht3x, tuple(_CLIMATE)),
        "adxl345": Kind(lambda time, values: Adxl345Model(time, **values), ("x", "y", "z")),
        "mma8452": Kind(lambda time, values: Mma8452Model(time, **values), ("x", "y", "z")),
        "ina219": Kind(
            lambda time, values: Ina219Model(time, **values), ("volts", "amperes", "ohms")
        ),
        "srf08": Kind(lambda time, values: Srf08Model(time, **values), ("meters", "light")),
        "ds2482": Kind(_ds2482, ("temperature_celsius",)),
    }
)


def kind_of(text: str) -> Kind:
    """Return the kind of chip that `text` names. Raises ValueError."""
    name = text.partition(",")[0]
    if name not in KINDS:
        raise ValueError(f"there is no model '{name}'; the models are {', '.join(KINDS)}")
    return KINDS[name]


def planted(text: str, time: TimeSource) -> I2cTarget:
    """Return the model that `text` describes. Raises ValueError, which names the error."""
    kind = kind_of(text)
    values: Values = {}
    for word in text.split(",")[1:]:
        name, _, number = word.partition("=")
        if name not in kind.names:
            allowed = ", ".join(f"{name}=NUMBER" for name in kind.names)
            raise ValueError(f"'{word}' is not one of {allowed}")
        try:
            values[name] = float(number)
        except ValueError:
            raise ValueError(f"'{word}': '{number}' is not a number") from None
    return kind.make(time, values)
