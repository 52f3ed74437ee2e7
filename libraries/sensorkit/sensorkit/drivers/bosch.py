"""BMP280 (temperature, pressure) and BME280 (humidity as well), over I2C or SPI.

Each sample is one burst. It begins before the data registers, at the control registers, so that the
same transfer shows whether the chip still has its settings. This detects a reset of the chip, a
floating bus and random bytes at no cost. Bosch's shadowing keeps the data of one conversion
consistent during a burst (DS001 section 3.10).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sensorkit.bus.registers import Registers
from sensorkit.clock import Clock
from sensorkit.drivers.bosch_math import (
    Calibration,
    HumidityCalibration,
    fine_temperature,
    humidity_q22_10,
    pressure_q24_8,
    unlimited_humidity_q22_10,
)
from sensorkit.errors import (
    BadCalibration,
    BusError,
    InvalidReading,
    LostSettings,
    NotReady,
    WrongChip,
)
from sensorkit.measurement import (
    HUMIDITY,
    PRESSURE,
    TEMPERATURE,
    Channel,
    Limits,
    Sample,
    SampleBuilder,
)

TEMPERATURE_CHANNEL = Channel(TEMPERATURE, "Temperature")
PRESSURE_CHANNEL = Channel(PRESSURE, "Pressure")
HUMIDITY_CHANNEL = Channel(HUMIDITY, "Humidity")

# The chips' ranges: DS001 table 2, DS002 tables 2 to 4.
_TEMPERATURES, _PRESSURES = Limits(-40, 85), Limits(30_000, 110_000)
# The data sheet's code limits humidity to 0..1. In fog, a good chip exceeds that slightly, by its
# tolerance, hysteresis and drift (DS002 table 2: 3 %, 1 % and 0.5 % a year). A value far beyond is
# no humidity, so its limit would be no measurement.
_HUMIDITIES = Limits(-0.1, 1.1)

# Register addresses: DS001 section 4.2, DS002 section 5.3.
_CALIBRATION, _H1, _H2 = 0x88, 0xA1, 0xE1
_ID, _RESET, _CONTROL_HUMIDITY, _STATUS = 0xD0, 0xE0, 0xF2, 0xF3
_CONTROL_MEASURE, _CONFIG = 0xF4, 0xF5
_RESET_WORD = 0xB6
_MEASURING, _COPYING = 0x08, 0x01
_SKIPPED, _HUMIDITY_SKIPPED = 0x80000, 0x8000
# A saturated converter. Without the filter the lowest four bits are zero (DS001 table 5).
_LOWEST, _HIGHEST, _HUMIDITY_HIGHEST = 0x00000, 0xFFFF0, 0xFFFF
_STARTUP_SECONDS = 0.002
_POLLS = 5

OVERSAMPLING = {0: 0, 1: 1, 2: 2, 4: 3, 8: 4, 16: 5}
FILTER = {0: 0, 2: 1, 4: 2, 8: 3, 16: 4}


class Mode(Enum):
    """How the chip measures (DS001 section 3.6); the value is the mode field's."""

    FORCED = 1
    """One conversion for each sample: the least heat and the newest values."""
    NORMAL = 3
    """Conversions by the chip's own timer; a sample is one transfer."""


class Chip(Enum):
    """Which chip of the family, by its id register (DS001 4.3.1; 0x56, 0x57 are samples)."""

    BMP280 = "BMP280"
    BME280 = "BME280"


_IDS = {0x56: Chip.BMP280, 0x57: Chip.BMP280, 0x58: Chip.BMP280, 0x60: Chip.BME280}
# Related chips with the same addresses and id register, which have no driver here.
_OTHERS = {0x55: "BMP180", 0x61: "BME680 or BME688"}
_STANDBY_MS = {
    Chip.BMP280: (0.5, 62.5, 125, 250, 500, 1000, 2000, 4000),
    Chip.BME280: (0.5, 62.5, 125, 250, 500, 1000, 10, 20),
}


@dataclass(frozen=True)
class BoschSettings:
    """Oversampling (0 skips, 1, 2, 4, 8, 16), IIR filter (0, 2, 4, 8, 16), and when to measure.

    `interval` is the time between samples in seconds; in normal mode, the chip's timer is set to
    the longest standby time below it. The default `filter` is 4 in normal mode. It is off in forced
    mode, where it would mix a value with those of much older samples.
    """

    temperature_oversampling: int = 2
    pressure_oversampling: int = 16
    humidity_oversampling: int = 1
    filter: int | None = None
    mode: Mode = Mode.NORMAL
    interval: float = 1.0

    @property
    def filter_coefficient(self) -> int:
        """The coefficient of the filter; 0 means off."""
        if self.filter is not None:
            return self.filter
        return 0 if self.mode is Mode.FORCED else 4


@dataclass(frozen=True, slots=True)
class RawSample:
    """Converter outputs; None if the chip skipped one or has not measured it yet."""

    temperature: int | None
    pressure: int | None
    humidity: int | None


class Bosch280:
    """A BMP280 or BME280. `start` raises `WrongChip` if the chip is not `chip`.

    `chip_option` is the user's name of that setting, for the message.
    """

    def __init__(
        self,
        registers: Registers,
        clock: Clock,
        settings: BoschSettings | None = None,
        chip: Chip = Chip.BMP280,
        chip_option: str = "chip",
    ) -> None:
        self._registers = registers
        self._clock = clock
        self._settings = settings or BoschSettings()
        self._chip = chip
        self._chip_option = chip_option
        self._calibration: Calibration | None = None
        self._humidity: HumidityCalibration | None = None

    @property
    def model(self) -> str:
        """The chip's name."""
        return self._chip.value

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channels that the settings do not skip."""
        s = self._settings
        pressure = (PRESSURE_CHANNEL,) if s.pressure_oversampling else ()
        humid = self._has_humidity and s.humidity_oversampling
        return (TEMPERATURE_CHANNEL, *pressure, *((HUMIDITY_CHANNEL,) if humid else ()))

    @property
    def _has_humidity(self) -> bool:
        return self._chip is Chip.BME280

    # -- start -------------------------------------------------------------------------------

    def start(self) -> None:
        """Reset, identify, read the calibration twice, configure in sleep mode, then measure.

        The order is required: ``config`` may be ignored in normal mode (DS001 4.3.5), and
        ``ctrl_hum`` takes effect with the write to ``ctrl_meas`` (DS002 5.4.3).
        """
        self._reset()
        self._identify()
        self._read_calibration()
        if self._has_humidity:
            self._registers.write(_CONTROL_HUMIDITY, OVERSAMPLING[self._humidity_oversampling])
        self._registers.write(_CONFIG, self._config)
        self._registers.write(_CONTROL_MEASURE, self._control_measure)
        self._clock.sleep(self.conversion_seconds())

    def _reset(self) -> None:
        """Reset by software (DS001 4.3.2) and wait until the calibration is copied."""
        self._registers.write(_RESET, _RESET_WORD)
        for _ in range(_POLLS):
            self._clock.sleep(_STARTUP_SECONDS)
            try:
                if not self._registers.read(_STATUS, 1)[0] & _COPYING:
                    return
            except BusError:
                continue  # the chip may not answer while it starts
        raise NotReady(f"{self.model} does not answer after its reset")

    def _identify(self) -> None:
        identity = self._registers.read(_ID, 1)[0]
        chip = _IDS.get(identity)
        if chip is self._chip:
            return
        expected = f"expected {self.model}"
        if chip:
            advice = f"set {self._chip_option} to {chip.value.lower()}"
            raise WrongChip(f"id 0x{identity:02x} is a {chip.value}; {expected}: {advice}")
        other = f"a {_OTHERS[identity]}" if identity in _OTHERS else "no chip of this family"
        raise WrongChip(f"id 0x{identity:02x} is {other}; {expected}")

    def _read_calibration(self) -> None:
        """Read twice and compare, because an error would falsify all later values."""
        first, second = self._calibration_bytes(), self._calibration_bytes()
        if first != second:
            raise BadCalibration("two reads of the calibration differ")
        self._calibration = Calibration.parse(first[:24])
        if self._has_humidity:
            self._humidity = HumidityCalibration.parse(first[25], first[26:])

    def _calibration_bytes(self) -> bytes:
        if not self._has_humidity:
            return self._registers.read(_CALIBRATION, 24)
        return self._registers.read(_CALIBRATION, 26) + self._registers.read(_H2, 7)

    @property
    def _humidity_oversampling(self) -> int:
        return self._settings.humidity_oversampling if self._has_humidity else 0

    @property
    def _control_measure(self) -> int:
        s = self._settings
        temperature = OVERSAMPLING[s.temperature_oversampling] << 5
        return temperature | OVERSAMPLING[s.pressure_oversampling] << 2 | s.mode.value

    @property
    def _config(self) -> int:
        table = _STANDBY_MS[self._chip]
        budget = (self._settings.interval - self.conversion_seconds()) * 1000
        fitting = [ms for ms in table if ms <= budget] or [min(table)]
        return table.index(max(fitting)) << 5 | FILTER[self._settings.filter_coefficient] << 2

    def conversion_seconds(self) -> float:
        """Return the longest time of one conversion (DS001 3.8.1, DS002 9.1)."""
        s = self._settings
        ms = 1.25 + 2.3 * s.temperature_oversampling
        for oversampling in (s.pressure_oversampling, self._humidity_oversampling):
            ms += 2.3 * oversampling + 0.575 if oversampling else 0
        return ms / 1000

    # -- sample ------------------------------------------------------------------------------

    def sample(self) -> Sample:
        """Read one burst; in forced mode, start a conversion and wait for it first."""
        if self._settings.mode is Mode.FORCED:
            self._registers.write(_CONTROL_MEASURE, self._control_measure)
            self._clock.sleep(self.conversion_seconds())
        return self._measurements(self._raw())

    def _raw(self) -> RawSample:
        first = _CONTROL_HUMIDITY if self._has_humidity else _STATUS
        for _ in range(_POLLS):
            block = self._registers.read(first, 0xF7 - first + (8 if self._has_humidity else 6))
            if self._is_finished(block):
                return parse_data(block[0xF7 - first :])
            self._clock.sleep(_STARTUP_SECONDS)
        raise NotReady(f"{self.model} still converts after {_POLLS} polls")

    def _is_finished(self, block: bytes) -> bool:
        """Return whether the burst holds a finished conversion. Raises `LostSettings`."""
        if self._has_humidity:
            expected = OVERSAMPLING[self._humidity_oversampling]
            if block[0] & 7 != expected:
                raise LostSettings(f"{self.model}: ctrl_hum is 0x{block[0]:02x}")
            block = block[1:]
        status, control, config = block[0], block[1], block[2]
        forced = self._settings.mode is Mode.FORCED
        mask = 0xFC if forced else 0xFF
        if (control ^ self._control_measure) & mask or config & 0xFD != self._config:
            raise LostSettings(
                f"{self.model}: ctrl_meas 0x{control:02x} and config 0x{config:02x} are not "
                f"0x{self._control_measure:02x} and 0x{self._config:02x}"
            )
        return not (forced and (status & _MEASURING or control & 3))

    def _measurements(self, raw: RawSample) -> Sample:
        """Return the valid values. All of them depend on a valid temperature."""
        if self._calibration is None:
            raise LostSettings(f"{self.model} was not started")
        c, builder = self._calibration, SampleBuilder(self._clock.time())
        t_fine = fine_temperature(self._converted(raw.temperature, TEMPERATURE_CHANNEL), c)
        celsius = _TEMPERATURES.checked(TEMPERATURE_CHANNEL, t_fine / 5120)
        values = {
            TEMPERATURE_CHANNEL: lambda: celsius,
            PRESSURE_CHANNEL: lambda: self._pascals(raw.pressure, t_fine, c),
            HUMIDITY_CHANNEL: lambda: self._humidity_ratio(raw.humidity, t_fine),
        }
        for channel in self.channels:
            builder.add(channel, values[channel])
        return builder.sample()

    def _pascals(self, raw: int | None, t_fine: int, c: Calibration) -> float:
        counts = self._converted(raw, PRESSURE_CHANNEL)
        return _PRESSURES.checked(PRESSURE_CHANNEL, pressure_q24_8(counts, t_fine, c) / 256)

    def _humidity_ratio(self, raw: int | None, t_fine: int) -> float:
        if raw is None or self._humidity is None:
            raise InvalidReading(f"{self.model} has not measured humidity (0x8000)")
        if raw in (_LOWEST, _HUMIDITY_HIGHEST):
            raise InvalidReading(f"humidity saturates its converter (0x{raw:04x})")
        unlimited = unlimited_humidity_q22_10(raw, t_fine, self._humidity) / 102400
        _HUMIDITIES.checked(HUMIDITY_CHANNEL, unlimited)
        return humidity_q22_10(raw, t_fine, self._humidity) / 102400

    def _converted(self, raw: int | None, channel: Channel) -> int:
        if raw is None:
            raise InvalidReading(f"{self.model} has not measured {channel.key} (0x80000)")
        if raw == _LOWEST or raw >= _HIGHEST:
            raise InvalidReading(f"{channel.key} saturates its converter (0x{raw:05x})")
        return raw


def parse_data(block: bytes) -> RawSample:
    """Parse pressure, temperature and any humidity, from register 0xF7 on (DS001 4.3.6).

    Raises `LostSettings` if bits are set that these chips do not have.
    """
    if block[2] & 0xF or block[5] & 0xF:
        raise LostSettings(f"data {block.hex()} has bits set that are always zero")
    pressure = int.from_bytes(block[0:3], "big") >> 4
    temperature = int.from_bytes(block[3:6], "big") >> 4
    humidity = int.from_bytes(block[6:8], "big") if len(block) >= 8 else _HUMIDITY_SKIPPED
    return RawSample(
        None if temperature == _SKIPPED else temperature,
        None if pressure == _SKIPPED else pressure,
        None if humidity == _HUMIDITY_SKIPPED else humidity,
    )
