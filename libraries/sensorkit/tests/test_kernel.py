"""The kernel's sensors, on trees of files as its drivers make them."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from chipmodels.clock import VirtualClock
from sensorkit.errors import BusError, InvalidReading
from sensorkit.gpio.sensor import NamedLine
from sensorkit.kernel.devices import I2cPlace, KernelSensor, OtherSensors, SpiPlace, W1Place
from sensorkit.kernel.file import Listed, read_list
from sensorkit.kernel.quantities import HWMON, IIO
from sensorkit.kernel.sysfs import device_sources, hwmon_sources, iio_sources, number
from sensorkit.measurement import Sample
from sensorkit.outputs.home_assistant import discovery
from sensorkit.station import Identity


class Sys:
    """A folder that stands for /sys."""

    def __init__(self, folder: Path) -> None:
        self.path = folder

    def write(self, folder: str, **files: object) -> Path:
        """Write files; ``__`` in a name stands for -, as Python's names cannot have it."""
        target = self.path / folder
        target.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (target / name.replace("__", "-")).write_text(f"{text}\n")
        return target

    def link(self, place: str, target: str) -> None:
        link = self.path / place
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(self.path / target, link.parent))

    def i2c(self, number: int, address: int, chip: str = "", **files: object) -> str:
        """A bound I2C device with an IIO device; its folder below /sys."""
        device = f"devices/i2c-{number}/{number}-{address:04x}"
        self.write(device, name=chip)
        self.write(f"{device}/iio:device0", name=chip, **files)
        self.write("bus/i2c/drivers/x")
        self.link(f"{device}/driver", "bus/i2c/drivers/x")
        if not (self.path / f"bus/i2c/devices/i2c-{number}").exists():
            self.link(f"bus/i2c/devices/i2c-{number}", f"devices/i2c-{number}")
        self.link(f"bus/i2c/devices/{number}-{address:04x}", device)
        self.link(f"bus/iio/devices/iio:device{address}", f"{device}/iio:device0")
        return device


@pytest.fixture
def sys(tmp_path: Path) -> Sys:
    return Sys(tmp_path / "sys")


def values(sample: Sample) -> dict[str, float]:
    return {m.channel.metric_key: m.rounded for m in sample}


def iio(sys: Sys, **files: object) -> dict[str, float]:
    folder = sys.write("iio:device0", **files)
    found = iio_sources(folder, "x", (("sensor", "x"),))
    return {s.channel.metric_key: pytest.approx(s.read()) for s in found}


# -- IIO: sysfs-bus-iio --------------------------------------------------------------------


def test_a_value_that_the_driver_converted(sys: Sys) -> None:
    found = iio(
        sys, in_temp_input=25080, in_pressure_input="100.653253906", in_humidityrelative_input=45123
    )
    assert found == {
        "temperature_x_celsius": 25.08, "pressure_x_pascals": 100653.253906,
        "humidity_x_ratio": 0.45123,
    }  # fmt: skip


def test_raw_plus_offset_times_scale(sys: Sys) -> None:
    found = iio(sys, in_temp_raw=5000, in_temp_offset=-100, in_temp_scale="2.5")
    assert found == {"temperature_x_celsius": 12.25}


def test_a_value_that_is_converted_is_not_converted_twice(sys: Sys) -> None:
    found = iio(sys, in_temp_input=25080, in_temp_raw=1, in_temp_scale=3)
    assert found == {"temperature_x_celsius": 25.08}


def test_channels_share_a_scale_and_may_have_one_of_their_own(sys: Sys) -> None:
    found = iio(
        sys, in_voltage0_raw=100, in_voltage1_raw=100, in_voltage_scale=2, in_voltage1_scale=3
    )
    assert found == {"voltage_x_0_volts": 0.2, "voltage_x_1_volts": 0.3}


def test_a_differential_input(sys: Sys) -> None:
    found = iio(
        sys, in_voltage0__voltage3_raw=-50, in_voltage__voltage_scale=2, in_voltage_scale=100
    )
    assert found == {"voltage_x_0_3_volts": -0.1}


def test_axes_and_their_common_scale(sys: Sys) -> None:
    found = iio(sys, in_accel_x_raw=10, in_accel_y_raw=-10, in_accel_scale="0.0383")
    key = "acceleration_x_{}_meters_per_second_squared"
    assert found == {key.format("x"): 0.383, key.format("y"): -0.383}


def test_a_scale_of_one_colour(sys: Sys) -> None:
    found = iio(sys, in_intensity_red_raw=7, in_intensity_red_scale=2, in_intensity_scale=5)
    assert found == {"intensity_x_red": 14}


def test_counts_need_no_scale_and_other_raw_values_do(sys: Sys) -> None:
    assert iio(sys, in_intensity_both_raw=7, in_illuminance_raw=9) == {"intensity_x_both": 7}


def test_a_proximity_with_a_scale_is_a_distance(sys: Sys) -> None:
    assert iio(sys, in_proximity_raw=7) == {"proximity_x": 7}
    assert iio(sys, in_proximity_scale="0.001") == {"distance_x_meters": 0.007}


def test_labels_of_the_driver_name_channels(sys: Sys) -> None:
    found = iio(
        sys, in_voltage0_raw=1, in_voltage1_raw=2, in_voltage_scale=1000,
        in_voltage0_label="VBus (main)", in_voltage1_label="VBus (main)",
    )  # fmt: skip
    assert found == {"voltage_x_vbus_main_volts": 1, "voltage_x_vbus_main_2_volts": 2}


def test_gases_and_particles(sys: Sys) -> None:
    found = iio(
        sys, in_concentration_co2_raw=600, in_concentration_scale="0.0001",
        in_massconcentration_pm2p5_input=12,
    )  # fmt: skip
    assert found == {
        "concentration_x_co2_ratio": 0.0006,
        "mass_concentration_x_pm2p5_grams_per_cubic_meter": 12e-6,
    }


def test_what_is_no_measurement_is_left_out(sys: Sys) -> None:
    found = iio(
        sys, in_accel_x_peak_raw=1, in_accel_scale=1, in_temp_mean_raw=1, in_temp_scale=1,
        in_rot_quaternion_raw="0 0 0 1", out_voltage0_raw=5, sampling_frequency=3, name="x",
    )  # fmt: skip
    assert found == {}


# -- hwmon: sysfs-interface ----------------------------------------------------------------


def hwmon(sys: Sys, **files: object) -> dict[str, float]:
    folder = sys.write("hwmon0", **files)
    found = hwmon_sources(folder, "x", (("sensor", "x"),))
    return {s.channel.metric_key: pytest.approx(s.read()) for s in found}


def test_hwmon_units(sys: Sys) -> None:
    found = hwmon(
        sys, temp1_input=17250, humidity1_input=61500, in0_input=3300, curr1_input=-250,
        power1_input=1_500_000, energy1_input=2_000_000, fan1_input=1200, temp1_max=60000,
    )  # fmt: skip
    assert found == {
        "temperature_x_celsius": 17.25, "humidity_x_ratio": 0.615, "voltage_x_volts": 3.3,
        "current_x_amperes": -0.25, "power_x_watts": 1.5, "energy_x_joules": 2.0, "fan_x_rpm": 1200,
    }  # fmt: skip


def test_several_inputs_are_numbered_and_labels_have_precedence(sys: Sys) -> None:
    found = hwmon(sys, temp1_input=1000, temp2_input=2000, temp10_input=10000, temp2_label="Die")
    assert found == {
        "temperature_x_1_celsius": 1, "temperature_x_die_celsius": 2,
        "temperature_x_10_celsius": 10,
    }  # fmt: skip


def test_power_may_be_an_average_only(sys: Sys) -> None:
    assert hwmon(sys, power1_average=5_000_000) == {"power_x_watts": 5}
    assert hwmon(sys, power1_input=6_000_000) == {"power_x_watts": 6}


def test_a_fault_of_an_input_is_no_value(sys: Sys) -> None:
    folder = sys.write("hwmon0", temp1_input=1000, temp1_fault=1)
    (source,) = hwmon_sources(folder, "x", ())
    with pytest.raises(InvalidReading, match="fault"):
        source.read()


# -- reading -------------------------------------------------------------------------------


def test_a_file_that_is_gone_is_a_failure_of_the_bus(tmp_path: Path) -> None:
    with pytest.raises(BusError, match=r"in_temp_input: the device is gone \(ENOENT\)"):
        number(tmp_path / "in_temp_input")


@pytest.mark.parametrize("code", [errno.EREMOTEIO, errno.ETIMEDOUT, errno.ENXIO])
def test_a_chip_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def fail(_: Path) -> str:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "read_text", fail)
    with pytest.raises(BusError, match=errno.errorcode[code]):
        number(Path("temp"))


def test_one_value_that_cannot_be_read_now_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path) -> str:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    monkeypatch.setattr(Path, "read_text", fail)
    with pytest.raises(InvalidReading, match="EBUSY"):
        number(Path("temp"))


def test_text_that_is_no_number_is_refused(tmp_path: Path) -> None:
    (tmp_path / "temp").write_text("0.1 0.2\n")
    with pytest.raises(InvalidReading, match=r"temp: '0.1 0.2' is not a number"):
        number(tmp_path / "temp")


# -- chips ---------------------------------------------------------------------------------


def sensor(sys: Sys, place: I2cPlace | SpiPlace | W1Place, name: str = "shed") -> KernelSensor:
    return KernelSensor(name, place, VirtualClock(), sys.path)


AIR = I2cPlace("bme280", "i2c1", 0x76)


def test_a_chip_on_i2c_is_found_by_its_address(sys: Sys) -> None:
    sys.i2c(1, 0x76, "bme280", in_temp_input=25080)
    sys.i2c(1, 0x77, "bme280", in_temp_input=99000)
    shed = sensor(sys, AIR)
    assert shed.channels == ()
    shed.start()
    assert values(shed.sample()) == {"temperature_shed_celsius": 25.08}
    assert [c.title for c in shed.channels] == ["shed: Temperature"]


def test_a_bus_that_is_not_there_a_chip_that_does_not_answer_and_one_without_values(
    sys: Sys,
) -> None:
    with pytest.raises(BusError, match=r"there is no bus i2c1; is its overlay applied\?"):
        sensor(sys, AIR).start()
    sys.i2c(1, 0x76)
    with pytest.raises(BusError, match="the driver of bme280 at 0x76 on i2c1 has no value"):
        sensor(sys, AIR).start()
    (sys.path / "devices/i2c-1/1-0076/driver").unlink()
    with pytest.raises(BusError, match="no bme280 answers at 0x76 on i2c1; check wiring"):
        sensor(sys, AIR).start()


SOIL = SpiPlace("mcp3008", "spi0", 1)


def on_spi(sys: Sys) -> None:
    device = "devices/spi0/spi0.1"
    sys.write(f"{device}/iio:device7", name="mcp3008", in_voltage0_raw=512, in_voltage_scale=3.2)
    sys.write(device, driver="")
    sys.link("bus/spi/devices/spi0.1", device)
    sys.link("bus/iio/devices/iio:device7", f"{device}/iio:device7")


def test_a_chip_on_spi_is_measured_by_its_chip_select(sys: Sys) -> None:
    on_spi(sys)
    soil = sensor(sys, SOIL, "soil")
    soil.start()
    assert values(soil.sample()) == {"voltage_soil_0_volts": 1.6384}
    assert not OtherSensors({"soil": SOIL}, VirtualClock(), sys.path).present()


def test_what_is_missing_on_spi_is_named(sys: Sys) -> None:
    with pytest.raises(BusError, match=r"no device at chip select 1 of spi0; is the overlay spi0"):
        sensor(sys, SOIL).start()
    on_spi(sys)
    (sys.path / "devices/spi0/spi0.1/driver").unlink()
    with pytest.raises(BusError, match="no mcp3008 answers at chip select 1 of spi0; check wiring"):
        sensor(sys, SOIL).start()


def test_iio_and_hwmon_of_one_chip(sys: Sys) -> None:
    device = sys.i2c(1, 0x76, in_humidityrelative_input=45000)
    sys.write(f"{device}/hwmon/hwmon3", temp1_input=1500)
    found = device_sources(sys.path / device, "shed", ())
    assert [s.channel.quantity.name for s in found] == ["humidity", "temperature"]


def thermometer(sys: Sys, serial: str, celsius: float) -> None:
    device = f"devices/w1_bus_master1/{serial}"
    sys.write(f"{device}/hwmon/hwmon1", name="w1_slave_temp", temp1_input=round(celsius * 1000))
    sys.link(f"bus/w1/devices/{serial}", device)
    sys.link(f"class/hwmon/hwmon{serial[-1]}", f"{device}/hwmon/hwmon1")


def test_each_ds18b20_has_its_serial_number(sys: Sys) -> None:
    thermometer(sys, "28-000005e2fdc3", 18.25)
    thermometer(sys, "28-000005e2fdc4", -3.5)
    thermometer(sys, "10-000000000001", 99)
    all_of_them = sensor(sys, W1Place("ds18b20", "28"), "tank")
    all_of_them.start()
    assert values(all_of_them.sample()) == {
        "temperature_tank_28_000005e2fdc3_celsius": 18.25,
        "temperature_tank_28_000005e2fdc4_celsius": -3.5,
    }
    single = sensor(sys, W1Place("ds18b20", "28", "28-000005e2fdc4"), "tank")
    single.start()
    assert values(single.sample()) == {"temperature_tank_celsius": -3.5}


def test_thermometers_of_one_entry_come_and_go_without_each_other(sys: Sys) -> None:
    thermometer(sys, "28-000005e2fdc3", 18.25)
    tank = sensor(sys, W1Place("ds18b20", "28"), "tank")
    tank.start()
    assert len(tank.sample()) == 1
    thermometer(sys, "28-000005e2fdc4", 20)
    assert len(tank.sample()) == 2
    (sys.path / "class/hwmon/hwmon3/temp1_input").write_text("")
    sample = tank.sample()
    assert values(sample) == {"temperature_tank_28_000005e2fdc4_celsius": 20.0}
    assert sample.refused == ("temp1_input: '' is not a number",)
    (sys.path / "class/hwmon/hwmon3/temp1_input").unlink()
    assert values(tank.sample()) == {"temperature_tank_28_000005e2fdc4_celsius": 20.0}


@pytest.mark.parametrize(
    ("serial", "wanted"), [(None, r"28-\*"), ("28-000005e2fdc3", "28-000005e2fdc3")]
)
def test_a_wire_without_the_thermometer(sys: Sys, serial: str | None, wanted: str) -> None:
    with pytest.raises(BusError, match=rf"no ds18b20 \({wanted}\) answers on the 1-Wire bus"):
        sensor(sys, W1Place("ds18b20", "28", serial)).start()


# -- the others ----------------------------------------------------------------------------


def zone(sys: Sys, number: int, kind: str, temp: object) -> None:
    device = f"devices/virtual/thermal/thermal_zone{number}"
    sys.write(device, type=kind, temp=temp)
    sys.link(f"class/thermal/thermal_zone{number}", device)


def test_the_others_are_all_that_has_no_name_in_the_file(sys: Sys) -> None:
    zone(sys, 0, "cpu-thermal", 48312)
    sys.i2c(1, 0x76, "bme280", in_temp_input=1000)
    sys.i2c(1, 0x77, "bme280", in_temp_input=2000)
    sys.i2c(1, 0x78, "bme280", in_temp_input=3000)
    thermometer(sys, "28-000005e2fdc3", 18.25)
    named = {"shed": AIR, "tank": W1Place("ds18b20", "28")}
    others = OtherSensors(named, VirtualClock(), sys.path)
    assert others.present()
    others.start()
    assert values(others.sample()) == {
        "temperature_cpu_thermal_celsius": 48.31, "temperature_bme280_celsius": 2.0,
        "temperature_bme280_2_celsius": 3.0,
    }  # fmt: skip


def test_the_hwmon_copy_of_a_thermal_zone_is_left_out_and_cooling_is_no_sensor(sys: Sys) -> None:
    zone(sys, 0, "cpu-thermal", 48312)
    sys.write("devices/virtual/thermal/thermal_zone0/hwmon0", name="cpu_thermal", temp1_input=48312)
    sys.link(
        "devices/virtual/thermal/thermal_zone0/hwmon0/device",
        "devices/virtual/thermal/thermal_zone0",
    )
    sys.link("class/hwmon/hwmon0", "devices/virtual/thermal/thermal_zone0/hwmon0")
    sys.write("class/thermal/cooling_device0", type="fan")
    others = OtherSensors({}, VirtualClock(), sys.path)
    assert values(others.sample()) == {"temperature_cpu_thermal_celsius": 48.31}


def test_an_other_that_fails_does_not_lose_the_rest(sys: Sys) -> None:
    zone(sys, 0, "cpu-thermal", 48312)
    zone(sys, 1, "gpu-thermal", "")
    sample = OtherSensors({}, VirtualClock(), sys.path).sample()
    assert values(sample) == {"temperature_cpu_thermal_celsius": 48.31}
    assert sample.refused == ("temp: '' is not a number",)


def test_a_device_that_goes_away_is_no_failure_of_the_others(sys: Sys) -> None:
    zone(sys, 0, "cpu-thermal", 48312)
    zone(sys, 1, "gpu-thermal", 1)
    (sys.path / "devices/virtual/thermal/thermal_zone1/temp").unlink()
    sample = OtherSensors({}, VirtualClock(), sys.path).sample()
    assert sample.refused == ("temperature_gpu_thermal: temp: the device is gone (ENOENT)",)


def test_names_of_the_file_are_not_given_twice(sys: Sys) -> None:
    zone(sys, 0, "shed", 48312)
    sample = OtherSensors({"shed": AIR}, VirtualClock(), sys.path).sample()
    assert values(sample) == {"temperature_shed_2_celsius": 48.31}


def test_without_anything_there_are_no_others(sys: Sys) -> None:
    others = OtherSensors({}, VirtualClock(), sys.path)
    assert not others.present()
    with pytest.raises(InvalidReading, match="the kernel measures nothing else"):
        others.sample()


# -- the list ------------------------------------------------------------------------------


def test_the_list_of_the_file(tmp_path: Path) -> None:
    entries = [
        {"name": "shed", "chip": "bme280", "bus": "i2c1", "address": 118, "every": 30,
         "offset": {"temperature": -0.8}},
        {"name": "tank", "chip": "ds18b20", "family": "28", "serial": None, "every": 10},
        {"name": "soil", "chip": "mcp3008", "bus": "spi0", "cs": 1, "every": 10,
         "filter": {"median": 5}, "rate": 50},
    ]  # fmt: skip
    lines = [{"name": "rain", "kind": "counter", "line": 27, "every": 10}]
    path = tmp_path / "sensors.json"
    path.write_text(json.dumps({"sensors": entries, "lines": lines}))
    found = read_list(path)
    shed, tank, soil = found.sensors
    assert (soil.place, soil.smoothing, soil.is_buffered) == (SOIL, ("median", 5), True)
    assert not shed.is_buffered
    assert found.lines == (NamedLine("rain", "counter", 27, 10.0),)
    assert (shed.name, shed.place, shed.every, shed.offsets) == (
        "shed", AIR, 30.0, {"temperature": -0.8},
    )  # fmt: skip
    assert (tank.place, tank.offsets, tank.smoothing) == (W1Place("ds18b20", "28"), {}, None)
    assert read_list(tmp_path / "missing.json") == Listed()


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", '{"sensors": [{}]}', '{"sensors": 3}', '{"sensors": [], "lines": [{}]}',
        '{"sensors": [], "lines": [{"name": "a", "kind": "knob", "line": 1, "every": 1}]}',
        '{"sensors": [{"name": "a", "chip": "x", "bus": "i2c1", "address": 3, "every": 1, '
        '"filter": {"best": 5}}]}',
    ],
)  # fmt: skip
def test_a_damaged_list_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "sensors.json").write_text(text)
    with pytest.raises(ValueError, match="is not piimage's list of sensors"):
        read_list(tmp_path / "sensors.json")


# -- what all channels have ----------------------------------------------------------------


def test_keys_are_names_in_the_templates_of_home_assistant(sys: Sys) -> None:
    thermometer(sys, "28-000005e2fdc3", 18.25)
    tank = sensor(sys, W1Place("ds18b20", "28"), "tank")
    tank.start()
    document = discovery(Identity("sensors", "Sensors", "1"), "pi", "b", {"tank": tank.channels}, 9)
    (component,) = document["cmps"].values()
    assert component["value_template"] == (
        "{{ value_json.temperature_tank_28_000005e2fdc3 | default('None') }}"
    )
    assert component["device_class"] == "temperature"


def test_metric_names_follow_the_conventions_of_prometheus() -> None:
    for unit in (*IIO.values(), *HWMON.values()):
        metric = unit.quantity.metric
        assert metric == metric.lower().strip("_")
        assert not metric.endswith(("_total", "_count", "_sum", "_bucket", "_info"))
