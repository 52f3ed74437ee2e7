"""Contents for the kernel's i2c-stub, which stores registers and does nothing else.

The stub has 256 cells of 16 bits, one for each SMBus command byte. Byte and block transfers use the
low half of a cell, word transfers the whole cell. If a chip's command byte holds the register and
flags, the registers are needed at each combination that a driver may use.

    python3 -m chipmodels.stub /dev/i2c-0 0x77=bmp280,temperature_celsius=21.5 0x29=board.dump

fills a stub that has these chips (``modprobe i2c-stub chip_addr=0x77,0x29``) with a finished
measurement of a model (`chipmodels.planted`), or with the output of ``i2cdump``. The stub is
static: a conversion that a driver starts never ends, so use chips that measure by themselves.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from chipmodels.ads1015 import Ads1015Model
from chipmodels.bosch import BoschModel
from chipmodels.clock import VirtualClock
from chipmodels.dump import Dump, DumpError, read_dump
from chipmodels.lsm303d import Lsm303dModel
from chipmodels.planted import planted
from chipmodels.smbus_device import SmbusDevice
from chipmodels.target import I2cTarget
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
    """Return the registers of a BMP280 or BME280, with its last conversion."""
    return Dump({register: model.reg_read(register) for register in range(0x88, 0x100)}, False)


def tcs3472_contents(model: Tcs3472Model) -> Dump:
    """Return the registers of a TCS3472, for each form of its command."""
    return _aliased(range(0x20), TCS3472_FLAGS, model.i2c_write, model.i2c_read)


def lsm303d_contents(model: Lsm303dModel) -> Dump:
    """Return the registers of an LSM303D, for each form of its sub-address."""
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
    """Return the words of an ADS1015, swapped: SMBus has the low byte first, the chip the high."""
    words = {pointer: model.reg_read(pointer) for pointer in range(4)}
    return Dump({p: (w >> 8 | w << 8) & 0xFFFF for p, w in words.items()}, True)


def preload(bus: StubBus, address: int, contents: Dump) -> None:
    """Write the contents into the stub chip at `address`. Raises OSError."""
    write = bus.write_word_data if contents.words else bus.write_byte_data
    for register, value in sorted(contents.values.items()):
        write(address, register, value)


def stub_parameters(chips: Mapping[int, Dump]) -> dict[str, str]:
    """Return the module parameters that give i2c-stub these chips."""
    return {"chip_addr": ",".join(f"0x{address:02x}" for address in sorted(chips))}


# Writes of common drivers before they measure: continuous conversions, usual ranges.
_STARTS: tuple[tuple[type[I2cTarget], tuple[bytes, ...]], ...] = (
    (BoschModel, (b"\xf2\x01", b"\xf4\x57")),
    (Tcs3472Model, (b"\xa1\xc0", b"\xaf\x01", b"\xa0\x03")),
    (Lsm303dModel, (b"\xa0\x57\x00\x00\x00\x70\x00\x00",)),
    (Ads1015Model, (b"\x01\xc3\x83",)),
)


def measured(model: I2cTarget, clock: VirtualClock) -> Dump:
    """Return the contents of a model after a measurement; advances its `clock`."""
    clock.sleep(1)
    for write in next(writes for kind, writes in _STARTS if isinstance(model, kind)):
        model.i2c_write(write)
    clock.sleep(1)
    if isinstance(model, BoschModel):
        model.i2c_read(1)
        return bosch_contents(model)
    if isinstance(model, Tcs3472Model):
        return tcs3472_contents(model)
    if isinstance(model, Lsm303dModel):
        return lsm303d_contents(model)
    assert isinstance(model, Ads1015Model)  # noqa: S101 -- the last row of the table
    return ads1015_contents(model)


def contents_of(text: str) -> tuple[int, Dump]:
    """Return the address and the contents for ``0x77=CHIP`` or ``0x77=FILE``.

    Raises ValueError, OSError, and `DumpError` with all invalid lines of a file.
    """
    address, equals, source = text.partition("=")
    number = int(address, 16) if equals else -1
    if not 0x03 <= number <= 0x77:
        raise ValueError(f"'{text}' is not 0xAA=CHIP or 0xAA=FILE")
    if Path(source).is_file():
        return number, read_dump(Path(source))
    clock = VirtualClock()
    return number, measured(planted(source, clock), clock)


def main(arguments: Sequence[str]) -> int:
    """Fill a stub. Return 2 for invalid arguments, 1 if the bus refuses."""
    bus, *places = arguments or ("",)
    contents: dict[int, Dump] = {}
    errors: list[str] = [] if places else ["usage: chipmodels.stub BUS 0xAA=CHIP|FILE..."]
    for place in places:
        try:
            number, dump = contents_of(place)
            contents[number] = dump
        except (DumpError, ValueError, OSError) as error:
            errors.append(str(error))
    if errors:
        sys.stderr.write("\n".join(errors) + "\n")
        return 2
    try:
        with SmbusDevice(bus) as device:
            for number, dump in contents.items():
                preload(device, number, dump)
    except OSError as error:
        sys.stderr.write(f"{bus}: {error.strerror}; is i2c-stub loaded with these chips?\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
