"""TCS3472 colour and light sensor (ams TCS3472 data sheet v1-10, design note DN40).

Each sample is one burst, from ENABLE to the last data byte. It contains settings, identity, status
and colours, so that a reset or a bus fault cannot be mistaken for darkness.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from sensorkit.bus.registers import Registers
from sensorkit.clock import Clock
from sensorkit.errors import InvalidReading, LostSettings, NotReady, WrongChip
from sensorkit.measurement import (
    COLOR,
    COLOR_TEMPERATURE,
    ILLUMINANCE,
    Channel,
    Sample,
    SampleBuilder,
)

ILLUMINANCE_CHANNEL = Channel(ILLUMINANCE, "Illuminance")
COLOR_TEMPERATURE_CHANNEL = Channel(COLOR_TEMPERATURE, "Colour temperature")
COLOR_CHANNELS = tuple(
    Channel(COLOR, f"{name.capitalize()} share", (("color", name),))
    for name in ("red", "green", "blue")
)

# Command byte: bit 7 is always set, 0x20 means auto-increment (data sheet "Command register").
_COMMAND = 0xA0
_ENABLE, _ATIME, _CONTROL, _ID, _STATUS, _DATA = 0x00, 0x01, 0x0F, 0x12, 0x13, 0x14
_BURST = _DATA + 8
_POWER_ON, _ACTIVE = 0x01, 0x03
_VALID = 0x01
_IDS = frozenset({0x44, 0x4D})
# Related chips with the same id register, at the same address or one that can be selected.
_OTHERS = {
    0x14: "TCS34711 or TCS34715",
    0x1D: "TCS34713 or TCS34717",
    0x50: "TSL2591",
    0x90: "TCS34001 or TCS34005",
    0x93: "TCS34003 or TCS34007",
}
# The defined bits of ENABLE and CONTROL. The others are reserved, as is most of STATUS.
_ENABLE_BITS, _CONTROL_BITS = 0x1B, 0x03
_CYCLE_MS = 2.4
_POLLS = 5
GAINS = (1, 4, 16, 60)

# Coefficients of DN40 table 1 for this chip.
_DEVICE_FACTOR = 310.0
_RED, _GREEN, _BLUE = 0.136, 1.0, -0.444
_CT_COEFFICIENT, _CT_OFFSET = 3810.0, 1391.0
_HIGHEST_KELVINS = 40_000.0
_NOISE_COUNTS = 2.0


@dataclass(frozen=True)
class Tcs3472Settings:
    """Integration time in milliseconds (2.4..614.4), gain (1, 4, 16, 60), glass attenuation."""

    integration_ms: float = 153.6
    gain: int = 4
    glass_attenuation: float = 1.0

    @property
    def cycles(self) -> int:
        """Integration cycles of 2.4 ms, 1..256."""
        return min(256, max(1, round(self.integration_ms / _CYCLE_MS)))

    @property
    def full_scale(self) -> int:
        """The lowest saturated count (data sheet, "RGBC timing"; DN40 section 3.7).

        Below 150 ms, the ripple of mains light can saturate the converter within an integration,
        so a quarter is subtracted.
        """
        highest = min(65535, 1024 * self.cycles)
        return highest if self.cycles * _CYCLE_MS >= 150 else highest * 3 // 4


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts of the four photodiodes."""

    clear: int
    red: int
    green: int
    blue: int


class Tcs3472:
    """A TCS34725 or TCS34727."""

    model = "TCS3472"

    def __init__(
        self, registers: Registers, clock: Clock, settings: Tcs3472Settings | None = None
    ) -> None:
        self._registers = registers
        self._clock = clock
        self._settings = settings or Tcs3472Settings()

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Illuminance, colour temperature, and the shares of red, green and blue."""
        return (ILLUMINANCE_CHANNEL, COLOR_TEMPERATURE_CHANNEL, *COLOR_CHANNELS)

    def start(self) -> None:
        """Identify, configure with the converters off, then power on and start them."""
        identity = self._registers.read(_COMMAND | _ID, 1)[0]
        if identity not in _IDS:
            other = f"a {_OTHERS[identity]}, not a" if identity in _OTHERS else "no"
            raise WrongChip(f"id 0x{identity:02x} is {other} TCS3472 (0x44 or 0x4d)")
        write = self._registers.write
        write(_COMMAND | _ENABLE, 0)
        write(_COMMAND | _ATIME, 256 - self._settings.cycles)
        write(_COMMAND | _CONTROL, GAINS.index(self._settings.gain))
        write(_COMMAND | _ENABLE, _POWER_ON)
        self._clock.sleep(_CYCLE_MS / 1000)  # PON to AEN, "Enable register"
        write(_COMMAND | _ENABLE, _ACTIVE)
        self._clock.sleep((self._settings.cycles + 1) * _CYCLE_MS / 1000 * 1.05)

    def sample(self) -> Sample:
        """Read one burst. Raises `InvalidReading` if a photodiode saturates."""
        counts = self._counts()
        now = self._clock.time()
        full_scale = self._settings.full_scale
        if max(counts.clear, counts.red, counts.green, counts.blue) >= full_scale:
            raise InvalidReading(
                f"light saturates the sensor at {full_scale} counts; lower the gain"
            )
        builder = SampleBuilder(now)
        builder.add(ILLUMINANCE_CHANNEL, lambda: self._lux(counts))
        builder.add(COLOR_TEMPERATURE_CHANNEL, partial(_kelvins, counts))
        colours = (counts.red, counts.green, counts.blue)
        for channel, count in zip(COLOR_CHANNELS, colours, strict=True):
            builder.add(channel, partial(_share, count, sum(colours)))
        return builder.sample()

    def _lux(self, counts: Counts) -> float:
        """Raises `InvalidReading` for light that is outside of the formula, as of a remote."""
        if _weighted(counts) < -_NOISE_COUNTS:
            raise InvalidReading("illuminance would be negative: the light is nearly all infrared")
        return illuminance(counts, self._settings)

    def _counts(self) -> Counts:
        for _ in range(_POLLS):
            block = self._registers.read(_COMMAND | _ENABLE, _BURST)
            self._check(block)
            if block[_STATUS] & _VALID:
                words = (
                    int.from_bytes(block[_DATA + i : _DATA + i + 2], "little")
                    for i in range(0, 8, 2)
                )
                return Counts(*words)
            self._clock.sleep(self._settings.cycles * _CYCLE_MS / 1000 / 2)
        raise NotReady(f"no light conversion finished in {_POLLS} polls")

    def _check(self, block: bytes) -> None:
        s = self._settings
        expected = (_ACTIVE, 256 - s.cycles, GAINS.index(s.gain))
        enable, control = block[_ENABLE] & _ENABLE_BITS, block[_CONTROL] & _CONTROL_BITS
        actual = (enable, block[_ATIME], control)
        if actual != expected or block[_ID] not in _IDS:
            raise LostSettings(f"{self.model} has the settings {actual}, not {expected}")


def _kelvins(counts: Counts) -> float:
    kelvins = color_temperature(counts)
    if kelvins is None:
        raise InvalidReading("color_temperature: the light is too dim or too coloured for one")
    return kelvins


def _share(count: int, total: int) -> float:
    if not total:
        raise InvalidReading("color: there is no light")
    return count / total


def illuminance(counts: Counts, settings: Tcs3472Settings) -> float:
    """Return lux, not below zero (DN40 section 3, less the infrared share)."""
    per_lux = settings.cycles * _CYCLE_MS * settings.gain
    per_lux /= settings.glass_attenuation * _DEVICE_FACTOR
    return max(0.0, _weighted(counts) / per_lux)


def _weighted(counts: Counts) -> float:
    """Return the visible part of the counts; negative if no visible light caused them."""
    infrared = _infrared(counts)
    r, g, b = counts.red - infrared, counts.green - infrared, counts.blue - infrared
    return _RED * r + _GREEN * g + _BLUE * b


def color_temperature(counts: Counts) -> float | None:
    """Return kelvins (DN40 section 4); None if the light is too dim or too coloured."""
    infrared = _infrared(counts)
    red, blue = counts.red - infrared, counts.blue - infrared
    if red <= 0 or blue <= 0:
        return None
    kelvins = _CT_COEFFICIENT * blue / red + _CT_OFFSET
    return kelvins if kelvins <= _HIGHEST_KELVINS else None


def _infrared(counts: Counts) -> float:
    """Return the infrared part of each colour's count (DN40 section 2)."""
    return max(0.0, (counts.red + counts.green + counts.blue - counts.clear) / 2)
