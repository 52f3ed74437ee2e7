"""How the chips of `sensors:` are made known to the kernel, and tried again."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.programs.appliance.scripts import Pi, end, environment, wait_until

AIR = "air i2c-1 bme280 0x76"
# Stands for the kernel: a write to its files makes a device, whose driver is bound if the device is
# in the list `present`. A redirected function has the file as its own output.
KERNEL = """
bind() {
	local bus=i2c
	case $1 in spi*) bus=spi ;; esac
	! grep -qx "$1" ROOT/present || mkdir -p "ROOT/sys/bus/$bus/devices/$1/driver"
}
echo() {
	local file=$(readlink /proc/$$/fd/1) device
	case $file in
	*/new_device)
		command echo "$1" >>ROOT/made
		device=1-00${1##*0x}
		mkdir ROOT/sys/bus/i2c/devices/$device
		bind $device
		;;
	*/drivers_probe)
		command echo "$1" >>ROOT/probed
		bind "$1"
		;;
	*/driver/unbind)
		command echo "$1" >>ROOT/unbound
		rm -r "${file%/unbind}"
		;;
	*) command echo "$@" ;;
	esac
}
"""
VALUE = "sys/bus/i2c/devices/1-0076/iio:device0/in_temp_input"


class Bus:
    """The program's functions, with the Pi's paths led into a folder."""

    def __init__(self, folder: Path) -> None:
        self.pi = Pi(folder)
        self.pi.install_library()
        self.script = self.pi.install_functions("sensors")
        self.pi.write("sys/bus/i2c/devices/i2c-1/name", "bcm2835\n")
        self.plug()

    def plug(self, *devices: str) -> None:
        self.pi.write("present", "".join(f"{device}\n" for device in devices))

    def listed(self, *lines: str) -> None:
        self.pi.write("etc/piimage/sensors", "".join(f"{line}\n" for line in lines))

    def round(self, times: int = 1, between: str = ":", first: str = ":") -> str:
        """Run `first`, then look `times` times; return the pauses after each."""
        looks = f"round; echo $PERIOD; {between};" * times
        kernel = KERNEL.replace("ROOT", str(self.pi.root))
        return self.pi.sh(f". {self.script}; {kernel} {first}; {looks}")

    def lines(self, name: str) -> list[str]:
        path = self.pi.path(name)
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def bus(tmp_path: Path) -> Bus:
    return Bus(tmp_path)


def test_a_chip_is_made_known_once_and_its_driver_is_told(bus: Bus) -> None:
    bus.listed(AIR)
    bus.plug("1-0076")
    assert bus.round(times=2) == "60\n60\n"
    assert bus.lines("made") == ["bme280 0x76"]
    assert bus.lines("probed") == []
    assert bus.pi.console() == ["piimage: sensor air: bme280 at 0x76 on i2c-1"]


def test_a_chip_is_not_suspended_between_two_reads(bus: Bus) -> None:
    bus.listed(AIR)
    control = bus.pi.write("sys/bus/i2c/devices/1-0076/power/control", "auto\n")
    bus.pi.path("sys/bus/i2c/devices/1-0076/driver/x")
    bus.round()
    assert control.read_text() == "on\n"


def test_a_chip_that_does_not_answer_is_tried_again_ever_later_and_told_once(bus: Bus) -> None:
    bus.listed(AIR, "bed i2c-1 sht3x 0x44")
    bus.plug("1-0044")
    plugged = f"[ $PERIOD != 40 ] || command echo 1-0076 >{bus.pi.root}/present"
    assert bus.round(times=4, between=plugged) == "10\n20\n40\n60\n"
    assert bus.lines("made") == ["bme280 0x76", "sht3x 0x44"]
    assert bus.lines("probed") == ["1-0076"] * 3
    assert bus.pi.console() == [
        "piimage: sensor air: no bme280 answers at 0x76 on i2c-1; it will be tried again",
        "piimage: sensor bed: sht3x at 0x44 on i2c-1",
        "piimage: sensor air: bme280 at 0x76 on i2c-1",
    ]


def test_a_bus_that_is_not_there_yet_is_waited_for(bus: Bus) -> None:
    bus.listed("air i2c-7 bme280 0x76")
    assert bus.round() == "10\n"
    assert bus.lines("made") == []


def test_a_chip_on_spi_is_made_known_by_its_overlay_and_tried_again(bus: Bus) -> None:
    bus.listed("oven spi0 max31855 1 sampling=8")
    assert bus.round() == "10\n"
    assert bus.lines("probed") == []
    file = bus.pi.write("sys/bus/spi/devices/spi0.1/iio:device0/sampling", "1\n")
    plugged = f"command echo spi0.1 >{bus.pi.root}/present"
    bus.round(times=2, between=plugged)
    assert bus.lines("probed") == ["spi0.1"] * 2
    assert bus.lines("made") == []
    assert file.read_text() == "8\n"
    assert bus.pi.console()[-1] == "piimage: sensor oven: max31855 at 1 on spi0"


def test_settings_are_written_once_the_driver_is_bound(bus: Bus) -> None:
    bus.listed(f"{AIR} in_temp_oversampling_ratio=16 update_interval=500 nothing=1")
    folder = "sys/bus/i2c/devices/1-0076"
    iio = bus.pi.write(f"{folder}/iio:device0/in_temp_oversampling_ratio", "2\n")
    hwmon = bus.pi.write(f"{folder}/hwmon/hwmon1/update_interval", "1000\n")
    bus.plug("1-0076")
    bus.round(times=2)
    assert (iio.read_text(), hwmon.read_text()) == ("16\n", "500\n")
    assert bus.lines("probed") == ["1-0076"]
    assert bus.pi.console() == [
        "piimage: sensor air: bme280 at 0x76 on i2c-1",
        "piimage: sensor air: the driver has no setting nothing",
    ]


def test_a_setting_that_the_driver_refuses_is_told(bus: Bus) -> None:
    bus.listed(f"{AIR} in_temp_oversampling_ratio=3")
    folder = "sys/bus/i2c/devices/1-0076"
    bus.pi.write(f"{folder}/iio:device0/in_temp_oversampling_ratio", "2\n")
    bus.plug("1-0076")
    kernel = KERNEL.replace("ROOT", str(bus.pi.root))
    refusing = kernel.replace("*) command", "*oversampling*) return 1 ;;\n\t*) command")
    bus.pi.sh(f". {bus.script}; {refusing} round")
    refused = "piimage: sensor air: the driver refuses in_temp_oversampling_ratio=3"
    assert bus.pi.console()[-1] == refused


@pytest.mark.parametrize(
    "file", ["iio:device0/in_temp_input", "iio:device0/in_accel_x_raw", "hwmon/hwmon1/temp1_input"]
)
def test_a_chip_that_gives_no_value_at_two_looks_has_its_driver_started_again(
    bus: Bus, file: str
) -> None:
    bus.listed(AIR)
    bus.plug("1-0076")
    value = bus.pi.write(f"sys/bus/i2c/devices/1-0076/{file}", "21500\n")
    # An empty file stands for one that cannot be read. The new start sets the chip up again.
    lost = f"case $n in 1) : >{value} ;; 3) command echo 21500 >{value} ;; esac; n=$((n + 1))"
    assert bus.round(times=5, between=lost, first="n=0") == "60\n60\n5\n10\n60\n"
    assert bus.lines("unbound") == ["1-0076"]
    assert bus.lines("probed") == ["1-0076"] * 2
    assert bus.pi.console() == [
        "piimage: sensor air: bme280 at 0x76 on i2c-1",
        "piimage: sensor air: bme280 at 0x76 on i2c-1 gives no value; its driver is started again",
        "piimage: sensor air: bme280 at 0x76 on i2c-1 has values again",
    ]


def test_one_look_without_a_value_starts_nothing_again(bus: Bus) -> None:
    bus.listed(AIR)
    bus.plug("1-0076")
    value = bus.pi.write(VALUE, "21500\n")
    lost = f"case $n in 0) : >{value} ;; 1) command echo 21500 >{value} ;; esac; n=$((n + 1))"
    assert bus.round(times=4, between=lost, first="n=0") == "60\n5\n60\n60\n"
    assert bus.lines("unbound") == []
    assert bus.pi.console() == ["piimage: sensor air: bme280 at 0x76 on i2c-1"]


def test_a_chip_that_never_had_a_value_keeps_its_driver(bus: Bus) -> None:
    """Its driver may have files that nobody can read."""
    bus.listed(AIR)
    bus.plug("1-0076")
    bus.pi.write(VALUE, "")
    assert bus.round(times=4) == "60\n60\n60\n60\n"
    assert bus.lines("unbound") == []


def test_one_value_of_several_keeps_the_driver(bus: Bus) -> None:
    bus.listed(AIR)
    bus.plug("1-0076")
    bus.pi.write(VALUE, "")
    bus.pi.write(VALUE.replace("temp", "pressure"), "100\n")
    assert bus.round(times=3) == "60\n60\n60\n"
    assert bus.lines("unbound") == []


def test_a_chip_that_gives_no_value_and_does_not_answer_is_told_once_and_tried_ever_later(
    bus: Bus,
) -> None:
    bus.listed(AIR)
    bus.plug("1-0076")
    value = bus.pi.write(VALUE, "21500\n")
    present = bus.pi.path("present")
    lost = (
        f"case $n in 0) : >{value}; : >{present} ;; "
        f"5) command echo 1 >{value}; command echo 1-0076 >{present} ;; esac; n=$((n + 1))"
    )
    assert bus.round(times=9, between=lost, first="n=0") == ("60\n5\n10\n20\n40\n60\n60\n60\n60\n")
    assert bus.lines("unbound") == ["1-0076"]
    assert bus.pi.console()[1:] == [
        "piimage: sensor air: bme280 at 0x76 on i2c-1 gives no value; its driver is started again",
        "piimage: sensor air: no bme280 answers at 0x76 on i2c-1; it will be tried again",
        "piimage: sensor air: bme280 at 0x76 on i2c-1 has values again",
    ]


def test_settings_are_written_again_when_the_driver_was_started_again(bus: Bus) -> None:
    bus.listed(f"{AIR} in_temp_oversampling_ratio=16")
    bus.plug("1-0076")
    value = bus.pi.write(VALUE, "21500\n")
    ratio = bus.pi.write(VALUE.replace("temp_input", "temp_oversampling_ratio"), "2\n")
    lost = f"case $n in 0) : >{value}; command echo 2 >{ratio} ;; esac; n=$((n + 1))"
    bus.round(times=3, between=lost, first="n=0")
    assert ratio.read_text() == "16\n"


def measures(bus: Bus, file: str = "iio:device0/in_illuminance_raw", value: str = "320") -> Path:
    """A listed chip that measures `value`."""
    bus.listed(AIR)
    bus.plug("1-0076")
    return bus.pi.write(f"sys/bus/i2c/devices/1-0076/{file}", f"{value}\n")


def changing(value: Path, *readings: str) -> str:
    """What happens after each look: the chip measures the next of `readings`."""
    cases = " ".join(
        f"{n}) command echo '{reading}' >{value} ;;" for n, reading in enumerate(readings)
    )
    return f"case $n in {cases} esac; n=$((n + 1))"


@pytest.mark.parametrize(
    ("file", "zero"),
    [
        ("iio:device0/in_illuminance_raw", "0"),
        ("iio:device0/in_illuminance0_input", "0.000000"),
        ("iio:device0/in_intensity_both_raw", "0"),
        ("iio:device0/in_current3_raw", "0"),
        ("iio:device0/in_power2_raw", "0"),
        ("iio:device0/in_accel_x_raw", "0"),
        ("iio:device0/in_magn_x_raw", "0"),
        ("hwmon/hwmon1/curr1_input", "0"),
        ("hwmon/hwmon1/power1_input", "0"),
    ],
)
def test_a_chip_that_fell_to_zero_at_two_looks_has_its_driver_started_again(
    bus: Bus, file: str, zero: str
) -> None:
    value = measures(bus, file)
    readings = changing(value, "320", zero, zero, "320")
    assert bus.round(times=5, between=readings, first="n=0") == "60\n60\n5\n60\n60\n"
    assert bus.lines("unbound") == ["1-0076"]
    assert bus.lines("probed") == ["1-0076"] * 2
    assert bus.pi.console()[1:] == [
        "piimage: sensor air: bme280 at 0x76 on i2c-1 has fallen to 0; "
        "its driver is started again, once",
        "piimage: sensor air: bme280 at 0x76 on i2c-1",
    ]


def test_a_night_starts_the_driver_again_once_and_the_next_night_once_more(bus: Bus) -> None:
    value = measures(bus)
    night = ("0",) * 6
    readings = changing(value, "320", *night, "0.5", "320", *night)
    bus.round(times=16, between=readings, first="n=0")
    assert bus.lines("unbound") == ["1-0076"] * 2


def test_a_chip_that_never_measured_anything_but_zero_keeps_its_driver(bus: Bus) -> None:
    measures(bus, value="0")
    assert bus.round(times=4) == "60\n60\n60\n60\n"
    assert bus.lines("unbound") == []


def test_what_a_chip_measures_right_after_its_start_does_not_count(bus: Bus) -> None:
    """It may be older than the start."""
    value = measures(bus)
    bus.round(times=5, between=changing(value, "0"), first="n=0")
    assert bus.lines("unbound") == []


def test_one_look_at_zero_starts_nothing_again(bus: Bus) -> None:
    value = measures(bus)
    readings = changing(value, "320", "0", "7", "0", "7")
    bus.round(times=6, between=readings, first="n=0")
    assert bus.lines("unbound") == []
    assert len(bus.pi.console()) == 1


@pytest.mark.parametrize(
    "other", ["in_intensity_blue_raw", "in_current3_raw"], ids=["same kind", "another kind"]
)
def test_one_value_other_than_zero_keeps_the_driver(bus: Bus, other: str) -> None:
    value = measures(bus, "iio:device0/in_intensity_both_raw")
    value.with_name(other).write_text("-3\n")
    bus.round(times=5, between=changing(value, "320", "0", "0", "0"), first="n=0")
    assert bus.lines("unbound") == []


def test_a_voltage_beside_a_current_that_fell_to_zero_does_not_keep_the_driver(bus: Bus) -> None:
    """As in an INA219 without its calibration."""
    value = measures(bus, "iio:device0/in_current3_raw")
    value.with_name("in_voltage1_raw").write_text("24800\n")
    bus.round(times=4, between=changing(value, "320", "0", "0"), first="n=0")
    assert bus.lines("unbound") == ["1-0076"]


@pytest.mark.parametrize(
    "file", ["in_voltage0_raw", "in_temp_raw", "in_proximity_raw", "in_humidityrelative_input"]
)
def test_zero_of_a_kind_that_is_often_zero_keeps_the_driver(bus: Bus, file: str) -> None:
    value = measures(bus, f"iio:device0/{file}")
    bus.round(times=5, between=changing(value, "320", "0", "0", "0"), first="n=0")
    assert bus.lines("unbound") == []


def test_a_value_that_cannot_be_read_is_not_zero(bus: Bus) -> None:
    value = measures(bus, "iio:device0/in_accel_x_raw")
    value.with_name("in_accel_y_raw").write_text("")
    bus.round(times=5, between=changing(value, "320", "0", "0", "0"), first="n=0")
    assert bus.lines("unbound") == []


@pytest.mark.parametrize("total", ["iio:device0/in_energy0_raw", "hwmon/hwmon1/energy1_input"])
def test_a_chip_that_counts_a_total_keeps_its_driver_at_zero(bus: Bus, total: str) -> None:
    value = measures(bus, "hwmon/hwmon1/power1_input")
    bus.pi.write(f"sys/bus/i2c/devices/1-0076/{total}", "5000\n")
    bus.round(times=5, between=changing(value, "320", "0", "0", "0"), first="n=0")
    assert bus.lines("unbound") == []


def test_a_chip_that_the_kernel_samples_keeps_its_driver_at_zero(bus: Bus) -> None:
    value = measures(bus, "iio:device0/in_current3_raw")
    value.parent.joinpath("buffer").mkdir()
    value.parent.joinpath("buffer/enable").write_text("1\n")
    bus.round(times=5, between=changing(value, "320", "0", "0", "0"), first="n=0")
    assert bus.lines("unbound") == []


def test_a_chip_at_zero_leaves_the_driver_of_another_alone(bus: Bus) -> None:
    value = measures(bus)
    bus.listed(AIR, "bed i2c-1 sht3x 0x44")
    bus.plug("1-0076", "1-0044")
    bus.pi.write("sys/bus/i2c/devices/1-0044/hwmon/hwmon1/temp1_input", "0\n")
    bus.round(times=5, between=changing(value, "320", "0", "0", "0"), first="n=0")
    assert bus.lines("unbound") == ["1-0076"]


def test_settings_are_written_again_to_a_chip_that_fell_to_zero(bus: Bus) -> None:
    value = measures(bus, "iio:device0/in_current3_raw")
    bus.listed(f"{AIR} in_shunt_resistor=0.1")
    shunt = value.with_name("in_shunt_resistor")
    shunt.write_text("0.01\n")
    lost = (
        f"case $n in 1) command echo 0 >{value}; command echo 0.01 >{shunt} ;; esac; n=$((n + 1))"
    )
    bus.round(times=4, between=lost, first="n=0")
    assert bus.lines("unbound") == ["1-0076"]
    assert shunt.read_text() == "0.1\n"


def test_a_chip_at_zero_whose_driver_does_not_find_it_is_tried_ever_later(bus: Bus) -> None:
    value = measures(bus)
    gone = (
        f"case $n in 1) command echo 0 >{value} ;; 2) : >{bus.pi.root}/present ;; "
        f"5) command echo 1-0076 >{bus.pi.root}/present ;; esac; n=$((n + 1))"
    )
    assert bus.round(times=7, between=gone, first="n=0") == "60\n60\n5\n10\n20\n40\n60\n"
    assert bus.lines("unbound") == ["1-0076"]
    assert bus.pi.console()[2:] == [
        "piimage: sensor air: no bme280 answers at 0x76 on i2c-1; it will be tried again",
        "piimage: sensor air: bme280 at 0x76 on i2c-1",
    ]


def test_oversampling_is_that_of_all_quantities_and_a_setting_of_one_is_stronger(bus: Bus) -> None:
    bus.listed(f"{AIR} oversampling=8 in_pressure_oversampling_ratio=16")
    names = ("temp", "pressure", "humidityrelative")
    files = [
        bus.pi.write(VALUE.replace("temp_input", f"{n}_oversampling_ratio"), "2\n") for n in names
    ]
    bus.plug("1-0076")
    bus.round()
    assert [file.read_text() for file in files] == ["8\n", "16\n", "8\n"]
    assert bus.pi.console() == ["piimage: sensor air: bme280 at 0x76 on i2c-1"]


def test_a_driver_without_oversampling_is_told(bus: Bus) -> None:
    bus.listed(f"{AIR} oversampling=8")
    bus.pi.write(VALUE, "21500\n")
    bus.plug("1-0076")
    bus.round()
    assert bus.pi.console()[-1] == "piimage: sensor air: the driver has no setting oversampling"


# A trigger is made by a folder, as in configfs.
TIMER = """
mkdir() {
	command mkdir "$@"
	case $1 in */hrtimer/*)
		command mkdir -p ROOT/sys/bus/iio/devices/trigger0
		command echo "${1##*/}" >ROOT/sys/bus/iio/devices/trigger0/name
	;; esac
}
"""


def rated(bus: Bus, *, buffer: bool = True) -> None:
    """A chip with three axes and a buffer, listed at a rate of 50 Hz."""
    bus.listed("gate i2c-1 mma8452 0x1c rate=50")
    folder = "sys/bus/i2c/devices/1-001c/iio:device3"
    bus.pi.write(f"{folder}/in_accel_x_raw", "5\n")
    if buffer:
        for name in ("buffer/length", "buffer/watermark", "buffer/enable",
                     "scan_elements/in_accel_x_en", "scan_elements/in_timestamp_en",
                     "trigger/current_trigger"):  # fmt: skip
            bus.pi.write(f"{folder}/{name}", "0\n")
    bus.pi.path("sys/kernel/config/iio/triggers/hrtimer").mkdir(parents=True)
    bus.plug("1-001c")


def test_a_chip_with_a_rate_is_sampled_by_the_kernel_and_its_records_are_passed_on(
    bus: Bus,
) -> None:
    rated(bus)
    folder = bus.pi.path("sys/bus/i2c/devices/1-001c/iio:device3")
    bus.pi.write("dev/iio:device3", "records")
    fifo = bus.pi.path("run/piimage/buffers/gate")
    timer = TIMER.replace("ROOT", str(bus.pi.root)).strip()
    reader = f"command cat {fifo} >{bus.pi.root}/read; kill $!"
    bus.round(first=timer, between=reader)
    assert fifo.is_fifo()
    assert fifo.stat().st_mode & 0o777 == 0o644
    assert bus.pi.path("read").read_text() == "records"
    values = {
        name: (folder / name).read_text().strip()
        for name in ("buffer/length", "buffer/watermark", "buffer/enable",
                     "scan_elements/in_accel_x_en", "scan_elements/in_timestamp_en",
                     "trigger/current_trigger")
    }  # fmt: skip
    assert values == {
        "buffer/length": "51", "buffer/watermark": "6", "buffer/enable": "1",
        "scan_elements/in_accel_x_en": "1", "scan_elements/in_timestamp_en": "1",
        "trigger/current_trigger": "piimage-gate",
    }  # fmt: skip
    trigger = bus.pi.path("sys/bus/iio/devices/trigger0")
    assert (trigger / "sampling_frequency").read_text() == "50\n"
    assert bus.pi.console() == ["piimage: sensor gate: mma8452 at 0x1c on i2c-1"]


def test_a_chip_that_the_kernel_samples_is_not_read_and_keeps_its_driver(bus: Bus) -> None:
    rated(bus)
    value = bus.pi.path("sys/bus/i2c/devices/1-001c/iio:device3/in_accel_x_raw")
    value.write_text("")  # its driver refuses
    timer = TIMER.replace("ROOT", str(bus.pi.root)).strip()
    assert bus.round(times=3, first=timer, between="kill $! 2>/dev/null || :") == "60\n60\n60\n"
    assert bus.lines("unbound") == []


def test_a_driver_without_a_buffer_is_told_once(bus: Bus) -> None:
    rated(bus, buffer=False)
    timer = TIMER.replace("ROOT", str(bus.pi.root)).strip()
    bus.round(times=3, first=timer)
    assert bus.pi.console()[1:] == [
        "piimage: sensor gate: the kernel cannot sample it by itself, at the rate 50"
    ]


def test_the_program_goes_on_looking(bus: Bus) -> None:
    bus.listed(AIR)
    bus.pi.install("sensors")
    process = subprocess.Popen(
        ["busybox", "sh", bus.pi.root / "usr/lib/piimage/sensors"], env=environment()
    )
    try:
        wait_until(lambda: "tried again" in "".join(bus.pi.console()), "the first look")
    finally:
        end(process)
    assert bus.lines("sys/bus/i2c/devices/i2c-1/new_device") == ["bme280 0x76"]
