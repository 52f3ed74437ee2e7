"""Contents for the kernel's i2c-stub, which remembers registers and does nothing else.

The stub keeps 256 cells of 16 bits, one for each SMBus command byte: byte and block transfers
touch the low half, word transfers one whole cell. A chip that takes register and flags in one
command byte therefore needs its registers at each alias that a driver may use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from chipmodels.ads1015 import Ads1015Model
from chipmodels.bosch import BoschModel
from chipmodels.dump import Dump
from chipmodels.lsm303d import Lsm303dModel
from chipmodels.tcs3472 import Tcs3472Model

LSM303D_FLAGS = (0x00, 0x80)
TCS3472_FLAGS = (0x80, 0xA0)


class StubBus(Protocol):
    """The calls of ``smbus2.SMBus`` that fill an i2c-stub."""

    def write_byte_data(self, i2c_addr: int, register: int, value: int) -> None:
        """Write the low half of a cell."""
        ...

    def write_word_data(self, i2c_addr: int, register: int, value: int) -> None:
        """Write a whole cell."""
        ...


def bosch_contents(model: BoschModel) -> Dump:
    """A BMP280 or BME280 with the conversion that it would show now."""
    return Dump({register: model.reg_read(register) for register in range(0x88, 0x100)}, False)


def tcs3472_contents(model: Tcs3472Model) -> Dump:
    """A TCS3472 under each of its command forms, status and data as they are now."""
    return _aliased(range(0x20), TCS3472_FLAGS, model.i2c_write, model.i2c_read)


def lsm303d_contents(model: Lsm303dModel) -> Dump:
    """An LSM303D under each of its sub-address forms."""
    return _aliased(range(0x40), LSM303D_FLAGS, model.i2c_write, model.i2c_read)


class _Write(Protocol):
    def __call__(self, data: bytes) -> None: ...


class _Read(Protocol):
    def __call__(self, length: int) -> bytes: ...


def _aliased(registers: Iterable[int], flags: Iterable[int], write: _Write, read: _Read) -> Dump:
    values: dict[int, int] = {}
    for register in registers:
        write(bytes([register | max(flags)]))
        value = read(1)[0]
        values |= {register | flag: value for flag in flags}
    return Dump(values, False)


def ads1015_contents(model: Ads1015Model) -> Dump:
    """An ADS1015 as words, swapped: SMBus words go low byte first, this chip's high first."""
    words = {pointer: model.reg_read(pointer) for pointer in range(4)}
    return Dump({p: (w >> 8 | w << 8) & 0xFFFF for p, w in words.items()}, True)


def preload(bus: StubBus, address: int, contents: Dump) -> None:
    """Write the contents into the stub chip at `address`. Raises OSError."""
    write = bus.write_word_data if contents.words else bus.write_byte_data
    for register, value in sorted(contents.values.items()):
        write(address, register, value)


def stub_parameters(chips: Mapping[int, Dump]) -> dict[str, str]:
    """The module parameters that give i2c-stub these chips."""
    return {"chip_addr": ",".join(f"0x{address:02x}" for address in sorted(chips))}
