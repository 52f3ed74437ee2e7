"""ADS1015 and ADS1115 four-input converters (TI SBAS473E, SBAS444E).

Each input takes four transfers: start, read the result, read back the configuration, read the
result again. The configuration proves that the chip still has its settings and has finished;
without it, a chip that was reset gives a plausible 0 V. The result has no redundancy of its own and
does not change until the next start, so two equal reads distinguish it from noise on the bus.

The two chips have the same registers and no identity register. Only time tells them apart: with the
same rate code, the ADS1015 converts in 0.6 ms and the ADS1115 in 7.8 ms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial

from sensorkit.bus.registers import WordRegisters
from sensorkit.clock import Clock
from sensorkit.errors import InvalidReading, LostSettings, NotReady, WrongChip
from sensorkit.measurement import VOLTAGE, Channel, Sample, SampleBuilder

INPUTS = (0, 1, 2, 3)
VOLTAGE_CHANNELS = tuple(Channel(VOLTAGE, f"Input {i}", (("input", str(i)),)) for i in INPUTS)

# Registers and the fields of Config, section 8.6.
_CONVERSION, _CONFIG = 0, 1
_START = 0x8000
_SINGLE_SHOT = 0x0100
_COMPARATOR_OFF = 0x0003
FULL_SCALES = {6.144: 0, 4.096: 1, 2.048: 2, 1.024: 3, 0.512: 4, 0.256: 5}
_RATE_TOLERANCE = 1.1  # section 7.5, "data rate variation"
_WAKE_SECONDS = 50e-6
_POLLS = 5
# At rate code 4 and 10 % tolerance, an ADS1015 takes 0.7 ms and an ADS1115 7.1 to 8.7 ms.
_DETECTION_RATE_CODE, _ADS1015_IS_DONE, _BOTH_ARE_DONE = 4, 0.004, 0.009


class Chip(Enum):
    """Which of the two chips; the value is its name."""

    ADS1015 = "ADS1015"
    ADS1115 = "ADS1115"


@dataclass(frozen=True)
class _Traits:
    """The bits of a result, at the top of its word, and rate codes; `rate` is the default."""

    bits: int
    rates: Mapping[int, int]
    rate: int


_TRAITS = {
    Chip.ADS1015: _Traits(
        12, {128: 0, 250: 1, 490: 2, 920: 3, 1600: 4, 2400: 5, 3300: 6}, rate=1600
    ),
    Chip.ADS1115: _Traits(
        16, {8: 0, 16: 1, 32: 2, 64: 3, 128: 4, 250: 5, 475: 6, 860: 7}, rate=860
    ),
}


@dataclass(frozen=True)
class Ads1015Settings:
    """Full scale in volts (6.144 ... 0.256), conversions a second, and the inputs to read.

    `dividers` are the factors from the voltage at the pin to the one of interest. The default
    `rate` is 1600 conversions a second, and 860 of an ADS1115.
    """

    full_scale: float = 4.096
    rate: int | None = None
    inputs: tuple[int, ...] = INPUTS
    dividers: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    chip: Chip = Chip.ADS1015


class Ads1015:
    """An ADS1015 or ADS1115, which measures its inputs one after another against ground.

    `chip_option` is the user's name of the setting of the chip, for the message of `WrongChip`.
    """

    def __init__(
        self,
        registers: WordRegisters,
        clock: Clock,
        settings: Ads1015Settings | None = None,
        chip_option: str = "chip",
    ) -> None:
        self._registers = registers
        self._clock = clock
        self._settings = settings or Ads1015Settings()
        self._chip_option = chip_option
        self._traits = _TRAITS[self._settings.chip]
        self._rate = self._settings.rate or self._traits.rate

    @property
    def model(self) -> str:
        """The chip's name."""
        return self._settings.chip.value

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The voltages of the selected inputs, each with its divider as scale."""
        return tuple(self._channel(pin) for pin in self._settings.inputs)

    def _channel(self, pin: int) -> Channel:
        return replace(VOLTAGE_CHANNELS[pin], scale=self._settings.dividers[pin])

    # -- start -------------------------------------------------------------------------------

    def start(self) -> None:
        """Check that the chip answers and which one it is; it keeps no settings."""
        chip = self._detected()
        if chip not in (None, self._settings.chip):
            raise self._wrong(chip, "by the time that a conversion takes")

    def _detected(self) -> Chip | None:
        """Return the chip whose conversion time fits; None if neither's does."""
        self._registers.write_word(_CONFIG, self._command(0, _DETECTION_RATE_CODE))
        self._clock.sleep(_ADS1015_IS_DONE)
        if self._registers.read_word(_CONFIG) & _START:
            return Chip.ADS1015
        self._clock.sleep(_BOTH_ARE_DONE - _ADS1015_IS_DONE)
        return Chip.ADS1115 if self._registers.read_word(_CONFIG) & _START else None

    def _wrong(self, chip: Chip, evidence: str) -> WrongChip:
        advice = f"set {self._chip_option} to {chip.value.lower()}"
        return WrongChip(f"{evidence} this is an {chip.value}; expected {self.model}: {advice}")

    # -- sample ------------------------------------------------------------------------------

    def sample(self) -> Sample:
        """Read all selected inputs. Raises `InvalidReading` if none of them has a valid value.

        An input beyond the full scale is refused.
        """
        readings = [(pin, self._convert(pin)) for pin in self._settings.inputs]
        builder = SampleBuilder(self._clock.time())
        for pin, counts in readings:
            builder.add(self._channel(pin), partial(self._volts, pin, counts))
        return builder.sample()

    def _volts(self, pin: int, counts: int) -> float:
        """Convert counts to volts: the full scale is half of all counts (section 8.4.2)."""
        s, half = self._settings, 1 << self._traits.bits - 1
        if not -half < counts < half - 1:
            raise InvalidReading(f"input {pin} is beyond {s.full_scale} V at the pin")
        return counts * s.full_scale / half * s.dividers[pin]

    def _command(self, pin: int, rate_code: int) -> int:
        mux = 4 + pin << 12
        gain = FULL_SCALES[self._settings.full_scale] << 9
        return _START | mux | gain | _SINGLE_SHOT | rate_code << 5 | _COMPARATOR_OFF

    def _convert(self, pin: int) -> int:
        """Return the result of one single-shot conversion, in counts."""
        command = self._command(pin, self._traits.rates[self._rate])
        self._registers.write_word(_CONFIG, command)
        self._clock.sleep(_RATE_TOLERANCE / self._rate + _WAKE_SECONDS)
        for _ in range(_POLLS):
            word = self._registers.read_word(_CONVERSION)
            state = self._registers.read_word(_CONFIG)
            again = self._registers.read_word(_CONVERSION)
            if state | _START != command:
                raise LostSettings(f"config is 0x{state:04x}, not 0x{command:04x}")
            if state & _START and again == word:
                return self._counts(word)
            self._clock.sleep(1 / self._rate)
        raise NotReady(f"input {pin} still converts after {_POLLS} polls")

    def _counts(self, word: int) -> int:
        """Return the signed counts; the bits below them are zero (section 8.6.2)."""
        spare = 16 - self._traits.bits
        if word & (1 << spare) - 1:
            raise self._wrong(Chip.ADS1115, f"by its result 0x{word:04x}, which has 16 bits,")
        return (word - 0x10000 if word & 0x8000 else word) >> spare
