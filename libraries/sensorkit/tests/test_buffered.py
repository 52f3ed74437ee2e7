"""Chips that the kernel samples by itself: records of its buffers, through a FIFO."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from chipmodels.clock import VirtualClock
from sensorkit.errors import BusError
from sensorkit.kernel.buffered import Fifo
from sensorkit.kernel.devices import BufferedSensor, I2cPlace
from sensorkit.kernel.scan import read_scan
from sensorkit.measurement import Sample

GATE = I2cPlace("mma8452", "i2c1", 0x1C)
RECORD = struct.Struct(">hhhxx8x")  # three axes, and a time of eight bytes


class Chip:
    """A chip with three axes as its driver shows it, and the writing end of its FIFO."""

    def __init__(self, folder: Path) -> None:
        self.sys = folder / "sys"
        self.device = self.sys / "bus/i2c/devices/1-001c/iio:device0"
        (self.sys / "bus/i2c/devices/i2c-1").mkdir(parents=True)
        (self.device / "scan_elements").mkdir(parents=True)
        (self.device.parent / "driver").mkdir()
        self.write(in_accel_scale="0.01")
        for index, axis in enumerate("xyz"):
            self.write(**{f"in_accel_{axis}_raw": 0})
            self.element(f"in_accel_{axis}", index, "be:s12/16>>4")
        self.element("in_timestamp", 3, "le:s64/64>>0")
        self.fifo = folder / "gate"
        os.mkfifo(self.fifo)
        # For reading too, so that it opens without a reader.
        self.end = os.open(self.fifo, os.O_RDWR | os.O_NONBLOCK)

    def write(self, **files: object) -> None:
        for name, value in files.items():
            (self.device / name).write_text(f"{value}\n")

    def element(self, name: str, index: int, kind: str, enabled: int = 1) -> None:
        for end, value in (("en", enabled), ("index", index), ("type", kind)):
            (self.device / "scan_elements" / f"{name}_{end}").write_text(f"{value}\n")

    def sampled(self, *axes: tuple[int, int, int]) -> None:
        for each in axes:
            os.write(self.end, RECORD.pack(*(number << 4 for number in each)))

    def sensor(self) -> BufferedSensor:
        return BufferedSensor("gate", GATE, VirtualClock(), Fifo(self.fifo), self.sys)


@pytest.fixture
def chip(tmp_path: Path) -> Iterator[Chip]:
    made = Chip(tmp_path)
    yield made
    os.close(made.end)


def values(sample: Sample) -> dict[str, float]:
    return {m.channel.part: m.rounded for m in sample}


def started(chip: Chip) -> BufferedSensor:
    """A sensor whose first look has found nothing, as after a start of the service."""
    sensor = chip.sensor()
    sensor.start()
    with pytest.raises(BusError, match="no new values"):
        sensor.sample()
    return sensor


def test_a_sample_is_the_mean_the_lowest_and_the_highest_of_all_records(chip: Chip) -> None:
    sensor = started(chip)
    chip.sampled((100, -200, 0), (200, -200, 30), (600, -200, -30))
    assert values(sensor.sample()) == {
        "x": 3.0, "x_minimum": 1.0, "x_maximum": 6.0,
        "y": -2.0, "y_minimum": -2.0, "y_maximum": -2.0,
        "z": 0.0, "z_minimum": -0.3, "z_maximum": 0.3,
    }  # fmt: skip
    chip.sampled((100, 0, 0))
    assert values(sensor.sample())["x_maximum"] == 1.0
    assert [c.part for c in sensor.channels][:3] == ["x", "x_minimum", "x_maximum"]


def test_a_record_that_is_not_complete_waits_for_its_rest(chip: Chip) -> None:
    sensor = started(chip)
    first, second = RECORD.pack(16, 16, 16), RECORD.pack(160, 160, 160)
    os.write(chip.end, first + second[:5])
    assert values(sensor.sample())["x"] == 0.01
    os.write(chip.end, second[5:])
    assert values(sensor.sample())["x"] == 0.1


def test_what_an_earlier_reader_has_left_is_not_read(chip: Chip) -> None:
    os.write(chip.end, b"\xff" * 11)
    sensor = started(chip)
    chip.sampled((100, 0, 0))
    assert values(sensor.sample())["x"] == 1.0


def test_many_samples_wait_until_they_are_read(chip: Chip) -> None:
    sensor = started(chip)
    for _ in range(20):
        os.write(chip.end, RECORD.pack(160, 0, 0) * 1000)
    assert values(sensor.sample())["x"] == 0.1


def test_a_negative_scale_exchanges_the_lowest_and_the_highest(chip: Chip) -> None:
    chip.write(in_accel_scale="-0.01")
    sensor = started(chip)
    chip.sampled((100, 0, 0), (200, 0, 0))
    found = values(sensor.sample())
    assert (found["x_minimum"], found["x_maximum"]) == (-2.0, -1.0)


def test_a_sensor_that_was_started_again_has_what_came_meanwhile(chip: Chip) -> None:
    sensor = started(chip)
    chip.sampled((100, 0, 0))
    sensor.start()
    assert values(sensor.sample())["x"] == 1.0


@pytest.mark.parametrize(
    ("kind", "data", "value"),
    [
        ("be:s12/16>>4", b"\x80\x00", -2048),
        ("le:u12/16>>0", b"\xff\x0f", 4095),
        ("le:u12/16>>0", b"\xff\xff", 4095),
        ("le:s24/32>>8", b"\x00\xff\xff\xff", -1),
        ("be:u16/16>>0", b"\x01\x02", 0x102),
        ("le:s8/8>>0", b"\x80", -128),
    ],
)
def test_numbers_of_all_forms(chip: Chip, kind: str, data: bytes, value: int) -> None:
    for axis in "xyz":
        chip.element(f"in_accel_{axis}", 0, kind, enabled=int(axis == "x"))
    chip.element("in_timestamp", 3, "le:s64/64>>0", enabled=0)
    scan = read_scan(chip.device)
    assert scan.size == len(data)
    assert scan.elements["in_accel_x"].of(data) == value


def test_each_number_is_aligned_to_its_size_and_a_record_to_the_widest(chip: Chip) -> None:
    chip.element("in_accel_x", 2, "le:s16/16>>0")
    chip.element("in_accel_y", 0, "le:u8/8>>0")
    chip.element("in_accel_z", 10, "le:u8/8>>0")
    chip.element("in_rot_quaternion", 4, "le:s16/16X4>>0")
    chip.element("in_timestamp", 9, "le:s64/64>>0")
    scan = read_scan(chip.device)
    starts = {name: element.start for name, element in scan.elements.items()}
    assert starts == {"in_accel_y": 0, "in_accel_x": 2, "in_timestamp": 16, "in_accel_z": 24}
    assert scan.size == 32


def test_a_driver_without_a_buffer_is_told(chip: Chip) -> None:
    for path in (chip.device / "scan_elements").iterdir():
        path.unlink()
    with pytest.raises(BusError, match="the driver has no buffer, which rate: needs"):
        chip.sensor().start()


def test_a_chip_without_an_iio_driver_is_told(chip: Chip) -> None:
    chip.device.rename(chip.device.with_name("other"))
    hwmon = chip.device.parent / "hwmon/hwmon0"
    hwmon.mkdir(parents=True)
    (hwmon / "temp1_input").write_text("1000\n")
    with pytest.raises(BusError, match="the driver has no buffer"):
        chip.sensor().start()


def test_a_buffer_without_a_unit_is_told(chip: Chip) -> None:
    for axis in "xyz":
        chip.element(f"in_accel_{axis}", 0, "be:s12/16>>4", enabled=0)
    with pytest.raises(BusError, match="no value that this service can read"):
        chip.sensor().start()


def test_a_form_that_is_not_known_is_told(chip: Chip) -> None:
    chip.element("in_accel_x", 0, "float")
    with pytest.raises(BusError, match="'float' is no type"):
        chip.sensor().start()


def test_a_fifo_that_is_not_there_is_told(chip: Chip) -> None:
    sensor = chip.sensor()
    sensor.start()
    chip.fifo.unlink()
    with pytest.raises(BusError, match="gate: No such file"):
        sensor.sample()


def test_a_sensor_that_was_not_started_has_no_sample(chip: Chip) -> None:
    sensor = chip.sensor()
    assert sensor.channels == ()
    assert sensor.model == "mma8452"
    with pytest.raises(BusError, match="not started"):
        sensor.sample()
