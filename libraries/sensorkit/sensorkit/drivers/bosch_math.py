"""Compensation formulas of the Bosch BMP280 and BME280 from their data sheets.

Sections are those of BST-BMP280-DS001 (rev 1.26) and BST-BME280-DS002 (rev 1.23). Python's
integers do not overflow and its ``>>`` is arithmetic, as the data sheets' C code requires. Only
division needs a function that truncates.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from sensorkit.errors import BadCalibration, InvalidReading


@dataclass(frozen=True, slots=True)
class Calibration:
    """Trimming values of temperature and pressure (DS001 section 3.11.2, table 17)."""

    t1: int
    t2: int
    t3: int
    p1: int
    p2: int
    p3: int
    p4: int
    p5: int
    p6: int
    p7: int
    p8: int
    p9: int

    @classmethod
    def parse(cls, block: bytes) -> Calibration:
        """Parse registers 0x88..0x9F, little-endian. Raises `BadCalibration` if they are empty."""
        values = cls(*struct.unpack("<HhhHhhhhhhhh", block))
        if values.t1 in (0, 0xFFFF) or values.p1 in (0, 0xFFFF) or values.t2 in (0, -1):
            raise BadCalibration(f"calibration {block.hex()} is empty")
        return values


@dataclass(frozen=True, slots=True)
class HumidityCalibration:
    """Trimming values of humidity (DS002 section 4.2.2, table 16)."""

    h1: int
    h2: int
    h3: int
    h4: int
    h5: int
    h6: int

    @classmethod
    def parse(cls, h1: int, block: bytes) -> HumidityCalibration:
        """Parse register 0xA1 and registers 0xE1..0xE7; h4 and h5 share the nibbles of 0xE5.

        Raises `BadCalibration` if they are empty: with all zeros or ones, H2, which multiplies
        every value, is 0 or -1.
        """
        h2, h3, high4, shared, high5, h6 = struct.unpack("<hBbBbb", block)
        if h2 <= 0:
            raise BadCalibration(f"humidity calibration {h1:02x} {block.hex()} is empty")
        return cls(h1, h2, h3, high4 << 4 | shared & 0xF, high5 << 4 | shared >> 4, h6)


def fine_temperature(raw: int, c: Calibration) -> int:
    """Return ``t_fine``, 1/5120 degrees Celsius, from a 20-bit raw temperature (DS001 3.11.3)."""
    linear = ((raw >> 3) - (c.t1 << 1)) * c.t2 >> 11
    deviation = (raw >> 4) - c.t1
    return linear + ((deviation * deviation >> 12) * c.t3 >> 14)


def centidegrees(t_fine: int) -> int:
    """Return hundredths of a degree Celsius (DS001 3.11.3)."""
    return t_fine * 5 + 128 >> 8


def pressure_q24_8(raw: int, t_fine: int, c: Calibration) -> int:
    """Return 1/256 pascals from a 20-bit raw pressure, by the 64-bit form (DS001 3.11.3).

    Raises `InvalidReading` if the data sheet's code avoids a division by zero.
    """
    d = t_fine - 128000
    offset = d * d * c.p6 + (d * c.p5 << 17) + (c.p4 << 35)
    slope = (d * d * c.p3 >> 8) + (d * c.p2 << 12)
    slope = ((1 << 47) + slope) * c.p1 >> 33
    if slope == 0:
        raise InvalidReading("the calibration makes the pressure a division by zero")
    p = _truncated_quotient(((1048576 - raw << 31) - offset) * 3125, slope)
    square = c.p9 * (p >> 13) * (p >> 13) >> 25
    return (p + square + (c.p8 * p >> 19) >> 8) + (c.p7 << 4)


def pressure_int32(raw: int, t_fine: int, c: Calibration) -> int:
    """Return whole pascals by the 32-bit form (DS001 8.2), for comparison.

    Raises `InvalidReading` if the data sheet's code avoids a division by zero.
    """
    d = (t_fine >> 1) - 64000
    squared = (d >> 2) * (d >> 2)
    offset = (squared >> 11) * c.p6 + (d * c.p5 << 1)
    offset = (offset >> 2) + (c.p4 << 16)
    slope = (c.p3 * (squared >> 13) >> 3) + (c.p2 * d >> 1) >> 18
    slope = (32768 + slope) * c.p1 >> 15
    if slope == 0:
        raise InvalidReading("the calibration makes the pressure a division by zero")
    p = ((1048576 - raw - (offset >> 12)) * 3125) & 0xFFFFFFFF
    p = (p << 1 & 0xFFFFFFFF) // slope if p < 0x80000000 else p // slope * 2
    square = c.p9 * ((p >> 3) * (p >> 3) >> 13) >> 12
    return p + (square + ((p >> 2) * c.p8 >> 13) + c.p7 >> 4)


def temperature_float(raw: int, c: Calibration) -> tuple[float, float]:
    """Return degrees Celsius and an unrounded ``t_fine``, by the double form (DS001 8.1)."""
    x = (raw / 16384.0 - c.t1 / 1024.0) * c.t2
    y = raw / 131072.0 - c.t1 / 8192.0
    t_fine = x + y * y * c.t3
    return t_fine / 5120.0, t_fine


def pressure_float(raw: int, t_fine: float, c: Calibration) -> float:
    """Return pascals by the double form (DS001 8.1). Raises `InvalidReading` for a zero slope."""
    d = t_fine / 2.0 - 64000.0
    offset = (d * d * c.p6 / 32768.0 + d * c.p5 * 2.0) / 4.0 + c.p4 * 65536.0
    slope = (c.p3 * d * d / 524288.0 + c.p2 * d) / 524288.0
    slope = (1.0 + slope / 32768.0) * c.p1
    if slope == 0:
        raise InvalidReading("the calibration makes the pressure a division by zero")
    p = (1048576.0 - raw - offset / 4096.0) * 6250.0 / slope
    return p + (c.p9 * p * p / 2147483648.0 + p * c.p8 / 32768.0 + c.p7) / 16.0


def humidity_q22_10(raw: int, t_fine: int, c: HumidityCalibration) -> int:
    """Return 1/1024 per cent humidity, 0..102400, from a 16-bit raw value (DS002 4.2.3)."""
    return min(max(unlimited_humidity_q22_10(raw, t_fine, c), 0), 102400)


def unlimited_humidity_q22_10(raw: int, t_fine: int, c: HumidityCalibration) -> int:
    """Return `humidity_q22_10` before its limits, which shows how far it exceeds them."""
    d = t_fine - 76800
    deviation = (raw << 14) - (c.h4 << 20) - c.h5 * d + 16384 >> 15
    slope = (d * c.h6 >> 10) * ((d * c.h3 >> 11) + 32768) >> 10
    h = deviation * ((slope + 2097152) * c.h2 + 8192 >> 14)
    h -= ((h >> 15) * (h >> 15) >> 7) * c.h1 >> 4
    return h >> 12


def _truncated_quotient(a: int, b: int) -> int:
    """Divide as C does, rounding towards zero."""
    return a // b if (a < 0) == (b < 0) else -(-a // b)
