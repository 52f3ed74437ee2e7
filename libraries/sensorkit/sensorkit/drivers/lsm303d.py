"""LSM303D accelerometer and magnetometer (ST DocID023312 rev 2).

A sample is two bursts, one for each half of the chip. Each also reads registers whose content is
known: WHO_AM_I with the field, all control registers with the acceleration. Data that were read
before, as the status registers show, are not used again.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from sensorkit.bus.registers import Registers
from sensorkit.clock import Clock
from sensorkit.errors import InvalidReading, LostSettings, NotReady, WrongChip
from sensorkit.measurement import (
    ACCELERATION,
    HEADING,
    MAGNETIC_FIELD,
    Channel,
    Sample,
    SampleBuilder,
)

AXES = ("x", "y", "z")
ACCELERATION_CHANNELS = tuple(
    Channel(ACCELERATION, f"Acceleration {axis}", (("axis", axis),)) for axis in AXES
)
FIELD_CHANNELS = tuple(
    Channel(MAGNETIC_FIELD, f"Magnetic field {axis}", (("axis", axis),)) for axis in AXES
)
HEADING_CHANNEL = Channel(HEADING, "Heading")

Vector = tuple[float, float, float]
Readings = tuple[float | None, float | None, float | None]
STANDARD_GRAVITY = 9.80665
_TESLAS_PER_GAUSS = 1e-4

# Sensitivities (section 2.1, table 3): g or gauss for each count, by full scale.
ACCELERATION_SCALES = {2: 0.061e-3, 4: 0.122e-3, 6: 0.183e-3, 8: 0.244e-3, 16: 0.732e-3}
FIELD_SCALES = {2: 0.080e-3, 4: 0.160e-3, 8: 0.320e-3, 12: 0.479e-3}

_AUTO_INCREMENT = 0x80  # bit 7 of the sub-address, section 5.1.1
_WHO_AM_I, _STATUS_M, _FIELD, _CONTROL0, _STATUS_A, _ACCELERATION = (
    0x0F,
    0x07,
    0x08,
    0x1F,
    0x27,
    0x28,
)
_IDENTITY = 0x49
# Related chips with the same WHO_AM_I register and one of the same addresses.
_OTHERS = {0x3C: "LSM303DLHC or LSM303DLM", 0x3D: "LIS3MDL or LSM9DS1"}
_DATA_READY = 0x08  # new data on all three axes, sections 8.6 and 8.25; reading clears it
_PERIOD_SECONDS = 0.02
_POLLS = 5


@dataclass(frozen=True)
class Lsm303dSettings:
    """Full scales in g (2, 4, 6, 8, 16) and gauss (2, 4, 8, 12); hard-iron offset in teslas."""

    acceleration_scale: int = 2
    field_scale: int = 2
    field_offset: Vector = (0.0, 0.0, 0.0)


class Lsm303d:
    """An LSM303D, of which both halves sample 50 times a second."""

    model = "LSM303D"

    def __init__(
        self, registers: Registers, clock: Clock, settings: Lsm303dSettings | None = None
    ) -> None:
        self._registers = registers
        self._clock = clock
        self._settings = settings or Lsm303dSettings()

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Acceleration and field on three axes, and the heading, which is computed from them."""
        return (*ACCELERATION_CHANNELS, *FIELD_CHANNELS, HEADING_CHANNEL)

    @property
    def _control(self) -> bytes:
        """CTRL0..CTRL7 (sections 8.17 to 8.24), as written and as expected in each sample.

        CTRL0 is 0 after power-on but is written too, because the chip has no reset: a FIFO that
        another program enabled would give old samples.
        """
        s = self._settings
        afs = tuple(ACCELERATION_SCALES).index(s.acceleration_scale) << 3
        mfs = tuple(FIELD_SCALES).index(s.field_scale) << 5
        # 50 Hz, three axes, and no update between the bytes of a value (BDU).
        return bytes([0x00, 0x5F, afs, 0x00, 0x00, 0x70, mfs, 0x00])

    def start(self) -> None:
        """Identify, configure in one write, and wait for the first conversions."""
        identity = self._registers.read(_AUTO_INCREMENT | _WHO_AM_I, 1)[0]
        if identity != _IDENTITY:
            other = f"a {_OTHERS[identity]}, not an" if identity in _OTHERS else "no"
            raise WrongChip(f"WHO_AM_I 0x{identity:02x} is {other} LSM303D (0x49)")
        self._registers.write(_AUTO_INCREMENT | _CONTROL0, *self._control)
        self._clock.sleep(2 * _PERIOD_SECONDS)

    def sample(self) -> Sample:
        """Read two bursts. Raises `InvalidReading` if no axis has a value within its scale.

        The heading needs valid values of all six axes.
        """
        field = self._field()
        acceleration = self._acceleration()
        builder = SampleBuilder(self._clock.time())
        g_limit, gauss_limit = self._settings.acceleration_scale, self._settings.field_scale
        for channel, g in zip(ACCELERATION_CHANNELS, acceleration, strict=True):
            builder.add(channel, partial(_si, channel, g, g_limit, STANDARD_GRAVITY))
        for channel, gauss, offset in zip(
            FIELD_CHANNELS, field, self._settings.field_offset, strict=True
        ):
            builder.add(
                channel, partial(_si, channel, gauss, gauss_limit, _TESLAS_PER_GAUSS, offset)
            )
        sample = builder.sample()
        values = {m.channel: m.value for m in sample}
        builder.add(HEADING_CHANNEL, lambda: self._heading(values))
        return builder.sample()

    def _heading(self, values: Mapping[Channel, float]) -> float:
        if not values.keys() >= {*ACCELERATION_CHANNELS, *FIELD_CHANNELS}:
            raise InvalidReading("heading needs valid values of all six axes")
        ax, ay, az = (values[c] / STANDARD_GRAVITY for c in ACCELERATION_CHANNELS)
        mx, my, mz = (values[c] for c in FIELD_CHANNELS)
        angle = heading((ax, ay, az), (mx, my, mz))
        if angle is None:
            raise InvalidReading("heading: free fall, x axis upright, or no horizontal field")
        return angle

    def _field(self) -> Readings:
        for _ in range(_POLLS):
            block = self._registers.read(_AUTO_INCREMENT | _STATUS_M, _WHO_AM_I - _STATUS_M + 1)
            if block[-1] != _IDENTITY:
                raise LostSettings(f"WHO_AM_I is 0x{block[-1]:02x} in a sample")
            if block[0] & _DATA_READY:
                return _scaled(block[1:7], FIELD_SCALES[self._settings.field_scale])
            self._clock.sleep(_PERIOD_SECONDS)
        raise NotReady("no magnetic conversion finished")

    def _acceleration(self) -> Readings:
        scale = ACCELERATION_SCALES[self._settings.acceleration_scale]
        for _ in range(_POLLS):
            block = self._registers.read(_AUTO_INCREMENT | _CONTROL0, _ACCELERATION + 6 - _CONTROL0)
            if block[:8] != self._control:
                raise LostSettings(f"control registers are {block[:8].hex(' ')}")
            data = block[_ACCELERATION - _CONTROL0 :]
            if block[_STATUS_A - _CONTROL0] & _DATA_READY:
                return _scaled(data, scale)
            self._clock.sleep(_PERIOD_SECONDS)
        raise NotReady("no acceleration conversion finished")


def _scaled(data: bytes, scale: float) -> Readings:
    """Return three axes in g or gauss; None for an axis that saturates its converter."""
    x, y, z = (
        count * scale if -32768 < count < 32767 else None for count in struct.unpack("<3h", data)
    )
    return (x, y, z)


def _si(
    channel: Channel, value: float | None, limit: float, unit: float, offset: float = 0.0
) -> float:
    """Return SI units, less an offset. Raises `InvalidReading` beyond the full scale."""
    if value is None or abs(value) > limit:
        raise InvalidReading(f"{channel.key} is beyond the full scale of {limit:g}")
    return value * unit - offset


def heading(acceleration: Vector, field: Vector) -> float | None:
    """Return the tilt-compensated compass angle of the x axis, 0..360 degrees.

    Roll and pitch come from gravity; the roll is undone first, then the pitch. (The formula of ST
    AN3192 undoes the same angles in the other order, which is wrong if both are large.) Return None
    in free fall, with the x axis upright, or without a horizontal field.
    """
    length = math.hypot(*acceleration)
    if not 0.5 <= length <= 1.5:
        return None
    ax, ay, az = (a / length for a in acceleration)
    pitch, roll = math.asin(max(-1.0, min(1.0, -ax))), math.atan2(ay, az)
    if math.cos(pitch) < 1e-3:
        return None
    mx, my, mz = field
    x = mx * math.cos(pitch) + (my * math.sin(roll) + mz * math.cos(roll)) * math.sin(pitch)
    y = my * math.cos(roll) - mz * math.sin(roll)
    if x == 0 and y == 0:
        return None
    # For an angle just below zero, the first remainder rounds to 360.
    return math.degrees(math.atan2(y, x)) % 360.0 % 360.0
