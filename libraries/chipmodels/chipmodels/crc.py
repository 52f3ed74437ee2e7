"""The checksums of sensors: CRC-8 of Sensirion's chips, and of 1-Wire."""

from __future__ import annotations

from collections.abc import Iterable


def sensirion(data: Iterable[int]) -> int:
    """Return the CRC-8 with the polynomial 0x31 and the initial value 0xFF (SHT3x, 4.12)."""
    crc = 0xFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x31) & 0xFF if crc & 0x80 else crc << 1
    return crc


def maxim(data: Iterable[int]) -> int:
    """Return the CRC-8 of 1-Wire, x^8 + x^5 + x^4 + 1, low bit first (DS18B20, figure 11)."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x8C if crc & 1 else crc >> 1
    return crc
