"""LSM303D accelerometer and magnetometer (ST DocID023312 rev 2).

Two bursts a sample, one for each half; each also brings registers whose content is known
(WHO_AM_I with the field, all of the control registers with the acceleration).
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from sensorkit.bus.registers import Registers
from sensorkit.clock import Clock
from sensorkit.errors import InvalidReading, LostSettings, NotReady, WrongChip
from sensorkit.measurement import (
    ACCELERATION,
    HEADING,
    MAGNETIC_FIELD,
    Channel,
    Measurement,
    Sample,
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
STANDARD_GRAVITY = 9.80665
_TESLAS_PER_GAUSS = 1e-4

# Sensitivities, section 2.1 table 3: g and gauss a count, by full scale.
ACCELERATION_SCALES = {2: 0.061e-3, 4: 0.122e-3, 6: 0.183e-3, 8: 0.244e-3, 16: 0.732e-3}
FIELD_SCALES = {2: 0.080e-3, 4: 0.160e-3, 8: 0.320e-3, 12: 0.479e-3}

_RUN_ON = 0x80  # bit 7 of the sub-address, section 5.1.1
_WHO_AM_I, _STATUS_M, _FIELD, _CONTROL1, _STATUS_A, _ACCELERATION = (
    0x0F,
    0x07,
    0x08,
    0x20,
    0x27,
    0x28,
)
_IDENTITY = 0x49
_DATA_READY = 0x08
_PERIOD_SECONDS = 0.02
_POLLS = 5


@dataclass(frozen=True)
class Lsm303dSettings:
    """Full scales in g (2, 4, 6, 8, 16) and gauss (2, 4, 8, 12); hard-iron offset in teslas."""

    acceleration_scale: int = 2
    field_scale: int = 2
    field_offset: Vector = (0.0, 0.0, 0.0)


class Lsm303d:
    """An LSM303D, 50 samples a second on both halves."""

    model = "LSM303D"

    def __init__(
        self, registers: Registers, clock: Clock, settings: Lsm303dSettings | None = None
    ) -> None:
        self._registers = registers
        self._clock = clock
        self._settings = settings or Lsm303dSettings()

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Acceleration and field on three axes, and the heading made of them."""
        return (*ACCELERATION_CHANNELS, *FIELD_CHANNELS, HEADING_CHANNEL)

    @property
    def _control(self) -> bytes:
        """CTRL1..CTRL7 (sections 8.18 to 8.24), written and expected back."""
        s = self._settings
        afs = tuple(ACCELERATION_SCALES).index(s.acceleration_scale) << 3
        mfs = tuple(FIELD_SCALES).index(s.field_scale) << 5
        return bytes([0x57, afs, 0x00, 0x00, 0x70, mfs, 0x00])

    def start(self) -> None:
        """Identify, configure in one write, wait for the first conversion of both halves."""
        identity = self._registers.read(_RUN_ON | _WHO_AM_I, 1)[0]
        if identity != _IDENTITY:
            raise WrongChip(f"WHO_AM_I 0x{identity:02x} is no LSM303D (0x49)")
        self._registers.write(_RUN_ON | _CONTROL1, *self._control)
        self._clock.sleep(2 * _PERIOD_SECONDS)

    def sample(self) -> Sample:
        """Two bursts. Raises `InvalidReading` when an axis is at its end."""
        field = self._field()
        acceleration = self._acceleration()
        now = self._clock.time()
        offset = self._settings.field_offset
        teslas = tuple(f * _TESLAS_PER_GAUSS - o for f, o in zip(field, offset, strict=True))
        values = [a * STANDARD_GRAVITY for a in acceleration] + list(teslas)
        channels = ACCELERATION_CHANNELS + FIELD_CHANNELS
        measured = [Measurement(c, v, now) for c, v in zip(channels, values, strict=True)]
        angle = heading(acceleration, (teslas[0], teslas[1], teslas[2]))
        if angle is not None:
            measured.append(Measurement(HEADING_CHANNEL, angle, now))
        return tuple(measured)

    def _field(self) -> Vector:
        for _ in range(_POLLS):
            block = self._registers.read(_RUN_ON | _STATUS_M, _WHO_AM_I - _STATUS_M + 1)
            if block[-1] != _IDENTITY:
                raise LostSettings(f"WHO_AM_I reads 0x{block[-1]:02x} in a sample")
            if block[0] & _DATA_READY or any(block[1:7]):
                return _scaled(block[1:7], FIELD_SCALES[self._settings.field_scale], "field")
            self._clock.sleep(_PERIOD_SECONDS)
        raise NotReady("no magnetic conversion finished")

    def _acceleration(self) -> Vector:
        scale = ACCELERATION_SCALES[self._settings.acceleration_scale]
        for _ in range(_POLLS):
            block = self._registers.read(_RUN_ON | _CONTROL1, _ACCELERATION + 6 - _CONTROL1)
            if block[:7] != self._control:
                raise LostSettings(f"control registers are {block[:7].hex(' ')}")
            data = block[_ACCELERATION - _CONTROL1 :]
            if block[_STATUS_A - _CONTROL1] & _DATA_READY or any(data):
                return _scaled(data, scale, "acceleration")
            self._clock.sleep(_PERIOD_SECONDS)
        raise NotReady("no acceleration conversion finished")


def _scaled(data: bytes, scale: float, what: str) -> Vector:
    x, y, z = struct.unpack("<3h", data)
    if not all(-32767 <= count < 32767 for count in (x, y, z)):
        raise InvalidReading(f"{what} is beyond the full scale")
    return (x * scale, y * scale, z * scale)


def heading(acceleration: Vector, field: Vector) -> float | None:
    """Tilt-compensated compass angle of the x axis, 0..360 degrees.

    The roll is undone, then the pitch, both taken from gravity. (The formula of ST AN3192
    undoes them in the other order with the same angles, and errs when both are large.) None in
    free fall, with the x axis upright, or where there is no horizontal field.
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
    # Just below zero, the remainder rounds to 360 itself.
    return math.degrees(math.atan2(y, x)) % 360.0 % 360.0
