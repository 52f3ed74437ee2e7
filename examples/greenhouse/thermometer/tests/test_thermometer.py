"""The driver on a bus with a model of the chip; it runs in a guest if the kernel has no I2C."""

import errno

import pytest
from smbus2 import SMBus
from thermometer import read_celsius


class Lm75:
    """The chip: a pointer, and two bytes of temperature."""

    def __init__(self, celsius):
        self.celsius = celsius

    def i2c_write(self, data):
        """Set the pointer, which this model does not need."""

    def i2c_read(self, length):
        """Return the temperature in units of 1/256 degree, the high byte first."""
        return (round(self.celsius * 256) & 0xFFFF).to_bytes(2, "big")[:length]


@pytest.mark.parametrize("celsius", [21.5, 0.0, -10.25])
def test_temperature(i2c_sim, celsius):
    bus = i2c_sim({0x48: Lm75(celsius)})
    with SMBus(bus.path) as opened:
        assert read_celsius(opened) == celsius


def test_a_sensor_that_is_unplugged(i2c_sim):
    bus = i2c_sim({0x48: Lm75(20.0)})
    bus.chip(0x48).unplug()
    with SMBus(bus.path) as opened, pytest.raises(OSError) as caught:
        read_celsius(opened)
    assert caught.value.errno == errno.EREMOTEIO
