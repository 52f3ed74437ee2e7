"""BMP280 and BME280 (Bosch BST-BMP280-DS001 rev 1.26, BST-BME280-DS002 rev 1.23).

The model has the registers, the timing and the IIR filter, and also the pitfalls for drivers: no
answer during start-up, 0x80000 before the first conversion, a configuration register that ignores
writes in normal mode, and writes that are (register, value) pairs without auto-increment.
"""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from chipmodels.clock import TimeSource
from chipmodels.target import Nack

STARTUP_SECONDS = 0.002
NEVER_MEASURED = 0x80000
_STANDBY_MS = (0.5, 62.5, 125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0)
_STANDBY_MS_BME280 = (*_STANDBY_MS[:6], 10.0, 20.0)


class Variant(Enum):
    """The chip of the family; the value is that of the id register."""

    BMP280 = 0x58
    BMP280_SAMPLE = 0x56
    BME280 = 0x60


@dataclass(frozen=True)
class Calibration:
    """The factory trimming of a chip, with the names of the data sheet."""

    t1: int = 27504
    t2: int = 26435
    t3: int = -1000
    p1: int = 36477
    p2: int = -10685
    p3: int = 3024
    p4: int = 2855
    p5: int = 140
    p6: int = -7
    p7: int = 15500
    p8: int = -14600
    p9: int = 6000
    h1: int = 75
    h2: int = 367
    h3: int = 0
    h4: int = 301
    h5: int = 50
    h6: int = 30

    def pressure_block(self) -> bytes:
        """Return registers 0x88..0x9F."""
        return struct.pack(
            "<HhhHhhhhhhhh",
            *(self.t1, self.t2, self.t3, self.p1, self.p2, self.p3, self.p4),
            *(self.p5, self.p6, self.p7, self.p8, self.p9),
        )

    def humidity_block(self) -> bytes:
        """Return registers 0xE1..0xE7; h4 and h5 have 12 bits and share 0xE5."""
        h4, h5 = self.h4 & 0xFFF, self.h5 & 0xFFF
        shared = (h4 & 0xF) | ((h5 & 0xF) << 4)
        return struct.pack("<hBBBBb", self.h2, self.h3, h4 >> 4, shared, h5 >> 4, self.h6)


@dataclass(frozen=True)
class RawSample:
    """Converter outputs of 20, 20 and 16 bits; the defaults are the data sheet's example."""

    temperature: int = 519888
    pressure: int = 415148
    humidity: int = 30000


@dataclass
class Air:
    """The air around the chip; a test may change it at any time."""

    temperature_celsius: float = 21.5
    pressure_pascals: float = 101_325.0
    humidity_percent: float = 45.0


def temperature_of(raw: int, c: Calibration) -> float:
    """Return degrees Celsius for a raw temperature, by real arithmetic (section 8.1, "double")."""
    x = raw / 16384 - c.t1 / 1024
    y = raw / 131072 - c.t1 / 8192
    return (x * c.t2 + y * y * c.t3) / 5120


def pressure_of(raw: int, celsius: float, c: Calibration) -> float:
    """Return pascals for a raw pressure at a chip temperature (section 8.1, "double")."""
    a = celsius * 5120 / 2 - 64000
    b = (a * a * c.p6 / 32768 + a * c.p5 * 2) / 4 + c.p4 * 65536
    d = (1 + (c.p3 * a * a / 524288 + c.p2 * a) / 524288 / 32768) * c.p1
    if d == 0:
        return math.nan
    p = (1048576 - raw - b / 4096) * 6250 / d
    return p + (c.p9 * p * p / 2147483648 + p * c.p8 / 32768 + c.p7) / 16


def humidity_of(raw: int, celsius: float, c: Calibration) -> float:
    """Return per cent relative humidity (BME280, section 8.1), without limits."""
    t = celsius * 5120 - 76800
    slope = c.h2 / 65536 * (1 + c.h6 / 67108864 * t * (1 + c.h3 / 67108864 * t))
    h = (raw - (c.h4 * 64 + c.h5 / 16384 * t)) * slope
    return h * (1 - c.h1 * h / 524288)


def raw_for(air: Air, c: Calibration) -> RawSample:
    """Return the raw values of a chip with this trimming in this air."""
    return _raw_for(air.temperature_celsius, air.pressure_pascals, air.humidity_percent, c)


@lru_cache(maxsize=64)  # constant air is measured many times
def _raw_for(celsius: float, pascals: float, percent: float, c: Calibration) -> RawSample:
    t = _invert(lambda r: temperature_of(r, c), celsius, 0xFFFFF)
    chip = temperature_of(t, c)
    p = _invert(lambda r: pressure_of(r, chip, c), pascals, 0xFFFFF)
    h = _invert(lambda r: humidity_of(r, chip, c), percent, 0xFFFF)
    return RawSample(t, p, h)


def _invert(function: Callable[[int], float], wanted: float, top: int) -> int:
    """Return the integer in 0..top for which a monotonic function is nearest to `wanted`."""
    low, high = 0, top
    rising = function(top) > function(0)
    while low < high:
        middle = (low + high) // 2
        if (function(middle) < wanted) == rising:
            low = middle + 1
        else:
            high = middle
    candidates = [low, max(0, low - 1)]
    return min(candidates, key=lambda r: abs(function(r) - wanted))


@dataclass
class _Converter:
    """The state of the converter, and the results of the last conversion."""

    busy_until: float = -1.0
    next_start: float | None = None
    results: RawSample = RawSample(NEVER_MEASURED, NEVER_MEASURED, 0x8000)
    filtered: tuple[float | None, float | None] = (None, None)


class BoschModel:
    """A BMP280 or BME280. `source` is raw values, or the air around the chip."""

    spi_max_hz = 10_000_000
    """The fastest clock (section 5.3)."""

    def __init__(
        self,
        time: TimeSource,
        *,
        variant: Variant = Variant.BMP280,
        calibration: Calibration | None = None,
        source: RawSample | Air | None = None,
        noise: float = 0.0,
        seed: int = 1,
    ) -> None:
        self.variant = variant
        self.calibration = calibration or Calibration()
        self.source: RawSample | Air = source if source is not None else RawSample()
        self.noise = noise
        self._time = time
        self._random = random.Random(seed)  # noqa: S311 -- noise, not a secret
        self._pointer = 0
        self.power_cycle()

    def power_cycle(self) -> None:
        """Return to the reset state; the chip does not answer during start-up (table 1)."""
        self._ready_at = self._time.monotonic() + STARTUP_SECONDS
        self._control_measure = 0
        self._config = 0
        self._control_humidity = 0
        self._humidity_pending = 0
        self._converter = _Converter()
        self._spi_only = False

    # -- I2C (section 5.2): writes are pairs, reads increment -----------------------------

    def i2c_write(self, data: bytes) -> None:
        """Write a register and its value, then further such pairs."""
        self._require_ready()
        if self._spi_only:
            raise Nack
        if not data:
            return
        self._pointer = data[0]
        self._write_pairs(data)

    def i2c_read(self, length: int) -> bytes:
        """Read bytes, beginning at the pointer."""
        self._require_ready()
        if self._spi_only:
            raise Nack
        return self._incrementing(self._pointer, length)

    # -- SPI (section 5.3): bit 7 of the register means read --------------------------------

    def spi_transfer(self, data: bytes, mode: int) -> bytes:
        """Transfer under one chip select. The first one disables I2C until power-on (5.1)."""
        self._spi_only = True
        if mode not in (0, 3) or self._time.monotonic() < self._ready_at or not data:
            return b"\xff" * len(data)
        self._advance()
        if data[0] & 0x80:
            return b"\xff" + self._incrementing(data[0], len(data) - 1)
        self._write_pairs(bytes([data[0] | 0x80]) + data[1:], spi=True)
        return b"\xff" * len(data)

    def _require_ready(self) -> None:
        if self._time.monotonic() < self._ready_at:
            raise Nack
        self._advance()

    def _write_pairs(self, data: bytes, *, spi: bool = False) -> None:
        for position in range(0, len(data) - 1, 2):
            register = data[position] | 0x80 if spi else data[position]
            self.reg_write(register, data[position + 1])

    def _incrementing(self, first: int, length: int) -> bytes:
        return bytes(self.reg_read((first + i) & 0xFF) for i in range(length))

    # -- registers (section 4) --------------------------------------------------------------

    def reg_read(self, register: int) -> int:
        """Return the current value of a register."""
        if 0x88 <= register < 0xA0:
            return self.calibration.pressure_block()[register - 0x88]
        if self._has_humidity and register == 0xA1:
            return self.calibration.h1
        if self._has_humidity and 0xE1 <= register <= 0xE7:
            return self.calibration.humidity_block()[register - 0xE1]
        if 0xF7 <= register <= 0xFE:
            return self._data()[register - 0xF7]
        return {
            0xD0: self.variant.value,
            0xF2: self._control_humidity,
            0xF3: self._status(),
            0xF4: self._control_measure,
            0xF5: self._config,
        }.get(register, 0)

    def reg_write(self, register: int, value: int) -> None:
        """Write a register; the others are read-only."""
        if register == 0xE0 and value == 0xB6:
            self.power_cycle()
        elif register == 0xF2 and self._has_humidity:
            self._humidity_pending = value & 7
        elif register == 0xF4:
            self._control_humidity = self._humidity_pending
            self._control_measure = value
            self._start_conversion()
        elif register == 0xF5 and self._control_measure & 3 != 3:
            self._config = value & 0xFD
            # The next values initialise the filter (section 3.3.3).
            self._converter.filtered = (None, None)

    @property
    def _has_humidity(self) -> bool:
        return self.variant is Variant.BME280

    def _status(self) -> int:
        """Return bit 3 during a conversion, but not during standby (table 21)."""
        start, now = self._converter.next_start, self._time.monotonic()
        measuring = start is not None and start <= now < self._converter.busy_until
        return 8 if measuring else 0

    def _data(self) -> bytes:
        r = self._converter.results
        pressure = (r.pressure << 4).to_bytes(3, "big")
        temperature = (r.temperature << 4).to_bytes(3, "big")
        humidity = r.humidity.to_bytes(2, "big") if self._has_humidity else b"\0\0"
        return pressure + temperature + humidity

    # -- conversion (sections 3.6 and 3.8) --------------------------------------------------

    def _oversampling(self) -> tuple[int, int, int]:
        factors = (0, 1, 2, 4, 8, 16, 16, 16)
        control = self._control_measure
        humidity = factors[self._control_humidity] if self._has_humidity else 0
        return factors[control >> 5], factors[control >> 2 & 7], humidity

    def _conversion_seconds(self) -> float:
        temperature, pressure, humidity = self._oversampling()
        ms = 1.0 + 2 * temperature
        ms += 2 * pressure + 0.5 if pressure else 0
        ms += 2 * humidity + 0.5 if humidity else 0
        return ms / 1000

    def _start_conversion(self) -> None:
        now = self._time.monotonic()
        if self._control_measure & 3:
            self._converter.busy_until = now + self._conversion_seconds()
            self._converter.next_start = now
        else:
            self._converter.next_start = None

    def _advance(self) -> None:
        """Finish the conversions that end before now."""
        converter, now = self._converter, self._time.monotonic()
        duration = self._conversion_seconds()
        while converter.next_start is not None and converter.next_start + duration <= now:
            self._finish()
            if self._control_measure & 3 != 3:
                self._control_measure &= 0xFC
                converter.next_start = None
                return
            table = _STANDBY_MS_BME280 if self._has_humidity else _STANDBY_MS
            period = duration + table[self._config >> 5] / 1000
            # Conversions before the last 32 no longer affect the filter.
            skipped = max(0, int((now - converter.next_start - duration) / period) - 32)
            converter.next_start = converter.next_start + period * (skipped + 1)
            converter.busy_until = converter.next_start + duration

    def _finish(self) -> None:
        raw = self.source if isinstance(self.source, RawSample) else self._measure(self.source)
        with_t, with_p, with_h = self._oversampling()
        t, p = self._converter.filtered
        # A skipped value leaves its filter unchanged (section 3.3.3).
        t = self._filter(t, raw.temperature) if with_t else t
        p = self._filter(p, raw.pressure) if with_p else p
        self._converter.filtered = (t, p)
        self._converter.results = RawSample(
            round(t) if with_t and t is not None else NEVER_MEASURED,
            round(p) if with_p and p is not None else NEVER_MEASURED,
            raw.humidity if with_h else 0x8000,
        )

    def _measure(self, air: Air) -> RawSample:
        raw = raw_for(air, self.calibration)
        if not self.noise:
            return raw
        gauss = self._random.gauss
        return RawSample(
            round(raw.temperature + gauss(0, self.noise)),
            round(raw.pressure + gauss(0, self.noise)),
            raw.humidity,
        )

    def _filter(self, old: float | None, raw: int) -> float:
        """Return the new state of the filter, which the registers show (section 3.3.3)."""
        coefficient = (1, 2, 4, 8, 16, 16, 16, 16)[self._config >> 2 & 7]
        return float(raw) if old is None else (old * (coefficient - 1) + raw) / coefficient
