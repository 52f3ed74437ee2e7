"""Bad wires: what each fault does, how often, and what is counted."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from chipmodels.faults import FaultRates, FaultyChip
from chipmodels.target import Nack, Stretched


class Chip:
    """Answers zeros; counts its messages and how often its supply failed."""

    spi_max_hz = 1000

    def __init__(self) -> None:
        self.happened: list[str] = []

    def i2c_write(self, data: bytes) -> None:
        self.happened.append(f"write {data.hex()}")

    def i2c_read(self, length: int) -> bytes:
        self.happened.append("read")
        return bytes(length)

    def spi_transfer(self, data: bytes, mode: int) -> bytes:
        self.happened.append(f"spi {data.hex()} {mode}")
        return bytes(len(data))

    def power_cycle(self) -> None:
        self.happened.append("reset")


class Half(random.Random):
    """Chance that always gives a half."""

    def random(self) -> float:
        return 0.5


def faulty(rates: FaultRates, chance: random.Random | None = None) -> tuple[FaultyChip, Chip]:
    chip = Chip()
    return FaultyChip(chip, rates, chance or random.Random(1)), chip


def test_good_wires_change_nothing() -> None:
    wrapped, chip = faulty(FaultRates())
    wrapped.i2c_write(b"ab")
    assert wrapped.i2c_read(3) == b"\0\0\0"
    assert wrapped.spi_transfer(b"cd", 3) == b"\0\0"
    assert chip.happened == ["write 6162", "read", "spi 6364 3"]
    assert wrapped.counts == {}
    assert wrapped.spi_max_hz == 1000
    assert FaultyChip(object(), FaultRates(), random.Random(1)).spi_max_hz is None  # type: ignore[arg-type]


def test_a_reset_comes_before_the_message() -> None:
    wrapped, chip = faulty(FaultRates(reset=1.0))
    wrapped.i2c_write(b"a")
    wrapped.i2c_read(1)
    assert chip.happened == ["reset", "write 61", "reset", "read"]
    assert wrapped.counts == {"reset": 2}
    supply = FaultyChip(object(), FaultRates(), random.Random(1))  # type: ignore[arg-type]
    supply.power_cycle()  # a chip without a supply to switch


@pytest.mark.parametrize(("name", "error"), [("nack", Nack), ("hang", Stretched)])
def test_a_message_that_does_not_get_through(name: str, error: type[Exception]) -> None:
    wrapped, chip = faulty(FaultRates(**{name: 1.0}))
    with pytest.raises(error):
        wrapped.i2c_write(b"a")
    with pytest.raises(error):
        wrapped.i2c_read(1)
    assert wrapped.spi_transfer(b"ab", 0) == b"\xff\xff"
    assert wrapped.counts == {name: 3}
    assert chip.happened == []


def test_an_unplugged_chip_is_silent_and_nothing_else_happens() -> None:
    wrapped, chip = faulty(FaultRates(reset=1.0, hang=1.0))
    wrapped.unplugged = True
    with pytest.raises(Nack):
        wrapped.i2c_write(b"a")
    assert (chip.happened, wrapped.counts) == ([], {})


def test_a_flipped_bit_is_any_single_bit() -> None:
    wrapped, _ = faulty(FaultRates(bit_flip=1.0))
    seen = {int.from_bytes(wrapped.i2c_read(2), "big") for _ in range(500)}
    assert seen == {1 << bit for bit in range(16)}
    assert wrapped.counts == {"bit_flip": 500}
    assert wrapped.i2c_read(0) == b""
    assert wrapped.counts == {"bit_flip": 500}


def test_garbage_is_ones_or_zeros_or_random_in_the_length_that_was_read() -> None:
    wrapped, _ = faulty(FaultRates(garbage=1.0))
    seen = Counter(wrapped.i2c_read(4) for _ in range(300))
    assert seen[b"\0" * 4] > 60
    assert seen[b"\xff" * 4] > 60
    assert len(seen) > 60
    assert {len(data) for data in seen} == {4}
    assert wrapped.counts == {"garbage": 300}


@pytest.mark.parametrize(("chance", "happens"), [(0.5, False), (0.51, True)])
def test_a_fault_happens_with_its_probability(chance: float, happens: bool) -> None:
    wrapped, chip = faulty(FaultRates(reset=chance), Half())
    wrapped.i2c_read(1)
    assert chip.happened == ["reset", "read"][not happens :]
    assert wrapped.counts == ({"reset": 1} if happens else {})
