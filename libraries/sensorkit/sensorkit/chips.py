"""The options of each chip, and the drivers that are made from their values.

A service creates a chip's options with a section of its file (or none) and a prefix of its
variables, and later passes the values back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sensorkit.bus.discovery import SystemPaths
from sensorkit.bus.linux import SpiSettings, i2c_line, spi_line
from sensorkit.bus.registers import (
    I2cBus,
    Line,
    RdwrRegisters,
    Registers,
    SmbusRegisters,
    SpiRegisters,
)
from sensorkit.clock import Clock
from sensorkit.corrections import (
    ALTITUDE_CHANNEL,
    SEA_LEVEL_CHANNEL,
    Altitude,
    CpuHeat,
    CpuThermometer,
    Offset,
    SeaLevelPressure,
)
from sensorkit.drivers.ads1015 import FULL_SCALES, Ads1015, Ads1015Settings
from sensorkit.drivers.ads1015 import Chip as AdsChip
from sensorkit.drivers.bosch import FILTER, OVERSAMPLING, Bosch280, BoschSettings, Chip, Mode
from sensorkit.drivers.driver import Driver
from sensorkit.drivers.lsm303d import (
    ACCELERATION_SCALES,
    FIELD_SCALES,
    Lsm303d,
    Lsm303dSettings,
)
from sensorkit.drivers.tcs3472 import GAINS, Tcs3472, Tcs3472Settings
from sensorkit.measurement import HUMIDITY, PRESSURE, TEMPERATURE, Channel
from sensorkit.options import (
    Option,
    Values,
    address,
    choice,
    number,
    numbers,
    optional,
    seconds,
    whole,
)
from sensorkit.station import Plan
from sensorkit.supervise import Correction, Supervised


@dataclass
class Buses:
    """The buses of one service. Chips on the same bus share one open device node."""

    paths: SystemPaths = field(default_factory=SystemPaths)
    lines: dict[str, Line[I2cBus]] = field(default_factory=dict)

    def i2c(self, reference: str) -> Line[I2cBus]:
        """Return the line of a bus; the first call creates it."""
        return self.lines.setdefault(reference, i2c_line(reference, self.paths))


def _by_text(allowed: Iterable[int | float]) -> dict[str, Any]:
    return {f"{value:g}": value for value in allowed}


class Naming:
    """Names of a group of options: ``bmp280.address``, ``ENVIROPHAT_BMP280_ADDRESS``."""

    def __init__(self, section: str, prefix: str) -> None:
        self._section = section
        self._prefix = prefix

    def key(self, name: str) -> str:
        """Return the key in the file."""
        return f"{self._section}.{name}" if self._section else name

    def variable(self, name: str) -> str:
        """Return the environment variable."""
        return self._prefix + name.upper().replace(".", "_")


I2cRegisters = type[SmbusRegisters] | type[RdwrRegisters]
INTERVAL = seconds(0.1, 86_400)
_OTHER_WORDS_FOR_INTERVAL = ("period", "every", "rate", "update_interval", "sample_interval")


def bus_option(naming: Naming) -> Option[str]:
    """Return the option that names the bus."""
    return Option(
        *(naming.key("bus"), naming.variable("bus"), str, "i2c1"),
        help="bus, by device-tree name (i2c1, i2c_arm, i2c@7e804000, spi0.0) or /dev/...",
        also=("i2c_bus", "device", "i2c", "spi"),
    )


class BoschOptions:
    """Options of a BMP280 or BME280. `bus` is the option of the board, if that has one."""

    def __init__(self, naming: Naming, bus: Option[str] | None = None) -> None:
        key, var = naming.key, naming.variable
        over, filters = choice(_by_text(OVERSAMPLING)), choice(_by_text(FILTER))
        modes = choice({m.name.lower(): m for m in Mode})
        transfers: dict[str, I2cRegisters] = {"smbus": SmbusRegisters, "rdwr": RdwrRegisters}
        chips = {c.value.lower(): c for c in Chip}
        self.chip = Option(
            *(key("chip"), var("chip"), choice(chips), Chip.BMP280, "bmp280 or bme280"),
            also=("sensor", "model", "type", "variant"),
        )
        self.bus = bus or bus_option(naming)
        self.address = Option(
            key("address"), var("address"), address(0x76, 0x77), 0x77, "0x76 or 0x77"
        )
        self.transfer = Option(
            *(key("transfer"), var("transfer")),
            parse=choice(transfers),
            default=transfers["smbus"],
            help="smbus, or rdwr for I2C_RDWR messages",
        )
        self.spi_mode = Option(
            *(key("spi.mode"), var("spi.mode"), choice({"0": 0, "3": 3}), 0), help="SPI mode 0 or 3"
        )
        self.spi_speed = Option(
            *(key("spi.speed_hz"), var("spi.speed_hz"), whole(10_000, 10_000_000), 1_000_000),
            help="SPI clock in Hz",
        )
        self.interval = Option(
            *(key("interval"), var("interval"), INTERVAL, 1.0, "time between samples"),
            also=_OTHER_WORDS_FOR_INTERVAL,
        )
        self.mode = Option(
            *(key("mode"), var("mode"), modes, Mode.NORMAL),
            help="normal: the chip's own timer; forced: one conversion a sample, less self-heating",
        )
        self.temperature_oversampling = Option(
            *(key("oversampling.temperature"), var("oversampling.temperature")),
            choice(_by_text([o for o in OVERSAMPLING if o])),
            2,
            "1, 2, 4, 8 or 16",
        )
        self.pressure_oversampling = Option(
            *(key("oversampling.pressure"), var("oversampling.pressure"), over, 16),
            help="0 (off), 1, 2, 4, 8 or 16",
        )
        self.humidity_oversampling = Option(
            *(key("oversampling.humidity"), var("oversampling.humidity"), over, 1),
            help="BME280: 0 (off), 1, 2, 4, 8 or 16",
        )
        self.filter = Option(
            *(key("filter"), var("filter"), optional(filters), None),
            help="IIR filter: 0 (off), 2, 4, 8 or 16; 4 in normal mode, off in forced mode",
        )
        self.temperature_offset = Option(
            *(key("offset.temperature"), var("offset.temperature"), number(-20, 20, "°C"), 0.0),
            help="added to the temperature, °C",
        )
        self.pressure_offset = Option(
            *(key("offset.pressure"), var("offset.pressure"), number(-5000, 5000, "Pa"), 0.0),
            help="added to the pressure, Pa",
        )
        self.humidity_offset = Option(
            *(key("offset.humidity"), var("offset.humidity"), number(-30, 30, "%"), 0.0),
            help="added to the humidity, %",
        )
        self.cpu_heat_factor = Option(
            *(key("cpu_heat_factor"), var("cpu_heat_factor")),
            optional(number(0.5, 100)),
            None,
            "correct for the processor's heat; 2 to 3 for a board directly on the Pi",
        )
        self.altitude = Option(
            *(key("altitude"), var("altitude"), optional(number(-430, 8000, "m")), None),
            help="altitude of the place, m: publishes the pressure at sea level",
            also=("elevation", "height"),
        )
        self.sea_level_pressure = Option(
            *(key("sea_level_pressure"), var("sea_level_pressure")),
            optional(number(80_000, 110_000, "Pa")),
            None,
            "pressure at sea level, Pa: publishes the altitude",
            also=("qnh", "sealevel_pressure"),
        )

    def all(self) -> tuple[Option[Any], ...]:
        """Return all options of the group."""
        return tuple(vars(self).values())

    def problems(self, values: Values) -> list[str]:
        """Return what is wrong with the combination of options."""
        if values[self.altitude] is not None and values[self.sea_level_pressure] is not None:
            return [
                f"{values.place(self.altitude)}: set the altitude or the pressure at sea level, "
                f"not both ({values.place(self.sea_level_pressure)})"
            ]
        if not values[self.pressure_oversampling] and (
            values[self.altitude] is not None or values[self.sea_level_pressure] is not None
        ):
            place = values.place(self.pressure_oversampling)
            return [f"{place}: pressure is off, but altitude or sea-level pressure needs it"]
        return []

    def driver(self, values: Values, buses: Buses, clock: Clock) -> Bosch280:
        """Return the driver on its bus."""
        settings = BoschSettings(
            values[self.temperature_oversampling],
            values[self.pressure_oversampling],
            values[self.humidity_oversampling],
            values[self.filter],
            values[self.mode],
            values[self.interval],
        )
        registers = self._registers(values, buses)
        return Bosch280(registers, clock, settings, values[self.chip], self.chip.names)

    def _registers(self, values: Values, buses: Buses) -> Registers:
        bus = values[self.bus]
        if bus.startswith(("spi", "/dev/spidev")):
            spi = SpiSettings(values[self.spi_mode], values[self.spi_speed])
            return SpiRegisters(spi_line(bus, spi, buses.paths))
        return values[self.transfer](buses.i2c(bus), values[self.address])

    def corrections(self, values: Values, thermometer: CpuThermometer) -> tuple[Correction, ...]:
        """Return the corrections of each sample, in order."""
        steps: list[Correction] = []
        factor = values[self.cpu_heat_factor]
        if factor is not None:
            steps.append(CpuHeat(factor, thermometer))
        offsets = (
            (TEMPERATURE, values[self.temperature_offset]),
            (PRESSURE, values[self.pressure_offset]),
            (HUMIDITY, values[self.humidity_offset] / 100),
        )
        steps += [Offset(quantity.name, amount) for quantity, amount in offsets if amount]
        altitude, reference = values[self.altitude], values[self.sea_level_pressure]
        if altitude is not None:
            steps.append(SeaLevelPressure(altitude))
        if reference is not None:
            steps.append(Altitude(reference))
        return tuple(steps)


class Tcs3472Options:
    """Options of a TCS3472."""

    def __init__(self, naming: Naming) -> None:
        key, var = naming.key, naming.variable
        self.address = Option(key("address"), var("address"), address(0x29), 0x29, "I2C address")
        self.interval = Option(
            *(key("interval"), var("interval"), INTERVAL, 1.0, "time between samples"),
            also=_OTHER_WORDS_FOR_INTERVAL,
        )
        self.integration = Option(
            *(key("integration_ms"), var("integration_ms"), number(2.4, 614.4, "ms"), 153.6),
            help="integration time, ms",
        )
        self.gain = Option(key("gain"), var("gain"), choice(_by_text(GAINS)), 4, "1, 4, 16 or 60")
        self.glass = Option(
            *(key("glass_attenuation"), var("glass_attenuation"), number(0.1, 100), 1.0),
            help="factor by which a cover dims the light",
        )

    def all(self) -> tuple[Option[Any], ...]:
        """Return all options of the group."""
        return tuple(vars(self).values())

    def driver(self, values: Values, line: Line[I2cBus], clock: Clock) -> Tcs3472:
        """Return the driver on its bus."""
        settings = Tcs3472Settings(values[self.integration], values[self.gain], values[self.glass])
        return Tcs3472(SmbusRegisters(line, values[self.address]), clock, settings)


class Lsm303dOptions:
    """Options of an LSM303D."""

    def __init__(self, naming: Naming) -> None:
        key, var = naming.key, naming.variable
        self.address = Option(
            key("address"), var("address"), address(0x1D, 0x1E), 0x1D, "I2C address"
        )
        self.interval = Option(
            *(key("interval"), var("interval"), INTERVAL, 1.0, "time between samples"),
            also=_OTHER_WORDS_FOR_INTERVAL,
        )
        self.acceleration_scale = Option(
            *(key("acceleration_scale"), var("acceleration_scale")),
            choice(_by_text(ACCELERATION_SCALES)),
            2,
            "full scale in g: 2, 4, 6, 8 or 16",
        )
        self.field_scale = Option(
            *(key("field_scale"), var("field_scale"), choice(_by_text(FIELD_SCALES)), 2),
            help="full scale in gauss: 2, 4, 8 or 12",
        )
        self.field_offset: Option[tuple[float, ...]] = Option(
            *(key("field_offset_ut"), var("field_offset_ut"), numbers(3, -1000, 1000)),
            (0.0, 0.0, 0.0),
            "hard-iron offset of x,y,z in µT, which is subtracted",
        )

    def all(self) -> tuple[Option[Any], ...]:
        """Return all options of the group."""
        return tuple(vars(self).values())

    def driver(self, values: Values, line: Line[I2cBus], clock: Clock) -> Lsm303d:
        """Return the driver on its bus."""
        x, y, z = (axis * 1e-6 for axis in values[self.field_offset])
        settings = Lsm303dSettings(
            values[self.acceleration_scale], values[self.field_scale], (x, y, z)
        )
        return Lsm303d(SmbusRegisters(line, values[self.address]), clock, settings)


class Ads1015Options:
    """Options of an ADS1015 or ADS1115."""

    def __init__(self, naming: Naming) -> None:
        key, var = naming.key, naming.variable
        chips = {c.value.lower(): c for c in AdsChip}
        self.chip = Option(
            *(key("chip"), var("chip"), choice(chips), AdsChip.ADS1015),
            help="ads1015 or ads1115",
            also=("model", "type", "variant"),
        )
        self.address = Option(
            *(key("address"), var("address"), address(0x48, 0x49, 0x4A, 0x4B), 0x49),
            help="I2C address",
        )
        self.interval = Option(
            *(key("interval"), var("interval"), INTERVAL, 1.0, "time between samples"),
            also=_OTHER_WORDS_FOR_INTERVAL,
        )
        self.full_scale = Option(
            *(key("full_scale"), var("full_scale"), choice(_by_text(FULL_SCALES)), 4.096),
            help="full scale in volts: 6.144, 4.096, 2.048, 1.024, 0.512 or 0.256",
        )
        self.dividers: Option[tuple[float, ...]] = Option(
            *(key("dividers"), var("dividers"), _dividers, (1.0, 1.0, 1.0, 1.0)),
            help="factor from the voltage at the pin to the one of interest, for each input",
        )

    def all(self) -> tuple[Option[Any], ...]:
        """Return all options of the group."""
        return tuple(vars(self).values())

    def driver(self, values: Values, line: Line[I2cBus], clock: Clock) -> Ads1015:
        """Return the driver on its bus."""
        a, b, c, d = values[self.dividers]
        settings = Ads1015Settings(
            values[self.full_scale], dividers=(a, b, c, d), chip=values[self.chip]
        )
        registers = SmbusRegisters(line, values[self.address])
        return Ads1015(registers, clock, settings, self.chip.names)


def _dividers(text: str) -> tuple[float, ...]:
    """Parse four factors. A factor 0 is refused: it would publish 0 V for any voltage."""
    factors = numbers(4, -1000, 1000)(text)
    if 0 in factors:
        raise ValueError("has a factor 0, which makes 0 V of any voltage")
    return factors


def bosch_plan(
    name: str, options: BoschOptions, values: Values, buses: Buses, clock: Clock
) -> Plan:
    """Return the plan of a BMP280 or BME280 with its corrections and derived channels."""
    driver = options.driver(values, buses, clock)
    corrections = options.corrections(values, CpuThermometer())
    derived = {SeaLevelPressure: SEA_LEVEL_CHANNEL, Altitude: ALTITUDE_CHANNEL}
    added = tuple(derived[type(c)] for c in corrections if type(c) in derived)
    interval = values[options.interval]
    channels = driver.channels + added
    return plan(name, driver, interval, clock, corrections=corrections, channels=channels)


def plan(
    name: str,
    driver: Driver,
    interval: float,
    clock: Clock,
    *,
    corrections: tuple[Correction, ...] = (),
    channels: tuple[Channel, ...] | None = None,
) -> Plan:
    """Return the plan of a chip; a value expires after three intervals and two seconds."""
    chip = Supervised(name, driver, clock, max_age=3 * interval + 2, corrections=corrections)
    return Plan(chip, interval, driver.channels if channels is None else channels)
