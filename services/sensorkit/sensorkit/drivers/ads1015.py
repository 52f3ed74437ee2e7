"""ADS1015 four-input converter (TI SBAS473E).

Four transfers an input: start, read the result, read back the configuration, read the result
again. The configuration proves that the chip is still set up and had finished; without it a chip
that has reset itself gives a plausible 0 V. The result has no redundancy of its own, and rests
until the next start: two equal reads are what tells it from noise on the bus.
"""

from __future__ import annotations

from dataclasses import dataclass

from sensorkit.bus.registers import WordRegisters
from sensorkit.clock import Clock
from sensorkit.errors import InvalidReading, LostSettings, NotReady
from sensorkit.measurement import VOLTAGE, Channel, Measurement, Sample

INPUTS = (0, 1, 2, 3)
VOLTAGE_CHANNELS = tuple(Channel(VOLTAGE, f"Input {i}", (("input", str(i)),)) for i in INPUTS)

# Registers and the fields of Config, section 8.6.
_CONVERSION, _CONFIG = 0, 1
_START = 0x8000
_SINGLE_SHOT = 0x0100
_COMPARATOR_OFF = 0x0003
FULL_SCALES = {6.144: 0, 4.096: 1, 2.048: 2, 1.024: 3, 0.512: 4, 0.256: 5}
RATES = {128: 0, 250: 1, 490: 2, 920: 3, 1600: 4, 2400: 5, 3300: 6}
_RATE_TOLERANCE = 1.1  # section 7.5, "data rate variation"
_WAKE_SECONDS = 50e-6
_POLLS = 5


@dataclass(frozen=True)
class Ads1015Settings:
    """Full scale in volts (6.144 ... 0.256), conversions a second, and which inputs to read.

    `dividers` are the factors from the pin's voltage to the one of interest, such as a divider's.
    """

    full_scale: float = 4.096
    rate: int = 1600
    inputs: tuple[int, ...] = INPUTS
    dividers: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)


class Ads1015:
    """An ADS1015, its inputs measured one after another against ground."""

    model = "ADS1015"

    def __init__(
        self, registers: WordRegisters, clock: Clock, settings: Ads1015Settings | None = None
    ) -> None:
        self._registers = registers
        self._clock = clock
        self._settings = settings or Ads1015Settings()

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The voltages of the chosen inputs."""
        return tuple(VOLTAGE_CHANNELS[i] for i in self._settings.inputs)

    def start(self) -> None:
        """See that it answers; it has no identity register and keeps nothing between samples."""
        self._registers.read_word(_CONFIG)

    def sample(self) -> Sample:
        """All chosen inputs. Raises `InvalidReading` when none of them has a valid value.

        An input beyond the full scale is left out.
        """
        readings = [(i, self._convert(i)) for i in self._settings.inputs]
        now = self._clock.time()
        valid = [(i, counts) for i, counts in readings if -2048 < counts < 2047]
        if not valid:
            raise InvalidReading(f"every input is beyond {self._settings.full_scale} V")
        return tuple(Measurement(VOLTAGE_CHANNELS[i], self._volts(i, c), now) for i, c in valid)

    def _volts(self, pin: int, counts: int) -> float:
        """Section 8.4.2: full scale is 2048 counts."""
        return counts * self._settings.full_scale / 2048 * self._settings.dividers[pin]

    def _command(self, pin: int) -> int:
        s = self._settings
        mux = 4 + pin << 12
        return (
            _START
            | mux
            | FULL_SCALES[s.full_scale] << 9
            | _SINGLE_SHOT
            | RATES[s.rate] << 5
            | _COMPARATOR_OFF
        )

    def _convert(self, pin: int) -> int:
        """One single-shot conversion in counts, -2048..2047."""
        command = self._command(pin)
        self._registers.write_word(_CONFIG, command)
        self._clock.sleep(_RATE_TOLERANCE / self._settings.rate + _WAKE_SECONDS)
        for _ in range(_POLLS):
            word = self._registers.read_word(_CONVERSION)
            state = self._registers.read_word(_CONFIG)
            again = self._registers.read_word(_CONVERSION)
            if state | _START != command or word & 0xF:
                raise LostSettings(f"config is 0x{state:04x}, not 0x{command:04x}")
            if state & _START and again == word:
                return (word - 0x10000 if word & 0x8000 else word) >> 4
            self._clock.sleep(1 / self._settings.rate)
        raise NotReady(f"input {pin} still converts after {_POLLS} polls")
