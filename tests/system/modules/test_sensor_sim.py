"""The kernel's own drivers on models in user space, through sensor-sim."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.boot.conftest import Pi

PYTHON = "PYTHONPATH=/usr/lib/chipmodels.zip python3"
PLACES = (
    "i2c-0:0x76=bmp280 i2c-0:0x29=tcs3472,clear=20,red=6 i2c-0:0x49=ads1015,in1=1.0 "
    "spidev0.0=bmp280 spidev0.1=bme280"
)
BUS = "$(grep -lx sensor-sim /sys/bus/i2c/devices/i2c-*/name | xargs dirname)"
SPI = "/sys/class/misc/sensor-sim"

# IIO's in_temp_input is in thousandths of a degree, in_pressure_input in kilopascals: the data
# sheet's example, 25.08 degrees and 100653.25 Pa.
EXAMPLE = ["25080.000000000", "100.653253906"]


def drop(pi: Pi) -> str:
    """Take the chips and the models away."""
    return pi.say(
        f"for chip in 0x76 0x29 0x49 0x10; do echo $chip 2>/dev/null >{BUS}/delete_device; done; "
        f"for chip in 0 1; do echo $chip 2>/dev/null >{SPI}/delete_spi_device; done; "
        "[ ! -f /run/sim.pid ] || kill $(cat /run/sim.pid); rm -f /run/sim.pid"
    )


@pytest.fixture(scope="module")
def served(pi: Pi) -> Iterator[Pi]:
    """The models, answering."""
    pi.say(
        f"{PYTHON} -m chipmodels.simdaemon --control /run/chips.sock {PLACES} "
        "</dev/null >/run/sim.log 2>&1 & echo $! >/run/sim.pid; "
        "for n in $(seq 1500); do [ -S /run/chips.sock ] && exit 0; sleep 0.2; done; "
        "cat /run/sim.log; exit 1"
    )
    yield pi
    drop(pi)


def iio(pi: Pi, device: str, *attributes: str) -> list[str]:
    """Attributes of the IIO device below a bus's device."""
    names = " ".join(f"$d/{name}" for name in attributes)
    return pi.say(f"d=$(echo {device}/iio:device*); cat {names}").split()


def test_iio_reads_the_worked_example_over_i2c(served: Pi) -> None:
    served.say(f"echo bmp280 0x76 >{BUS}/new_device")
    device = f"{BUS}/*-0076"
    assert iio(served, device, "name", "in_temp_input", "in_pressure_input") == ["bmp280", *EXAMPLE]


def test_iio_reads_the_worked_example_over_spi(served: Pi) -> None:
    served.say(f"echo bmp280 0 1000000 >{SPI}/new_spi_device")
    device = "$(dirname $(grep -lx spi:bmp280 /sys/bus/spi/devices/*/modalias))"
    assert iio(served, device, "name", "in_temp_input", "in_pressure_input") == ["bmp280", *EXAMPLE]


def test_other_drivers_bind_and_read_what_was_planted(served: Pi) -> None:
    served.say(f"echo tcs3472 0x29 >{BUS}/new_device; echo ads1015 0x49 >{BUS}/new_device")
    (name,) = iio(served, f"{BUS}/*-0029", "name")
    assert name == "tcs3472"
    clear, red = iio(served, f"{BUS}/*-0029", "in_intensity_clear_raw", "in_intensity_red_raw")
    assert int(clear) / int(red) == pytest.approx(20 / 6, rel=0.05)
    raw, scale = iio(served, f"{BUS}/*-0049", "in_voltage1_raw", "in_voltage1_scale")
    assert int(raw) * float(scale) == pytest.approx(1000, abs=2)  # millivolts


def test_what_is_planted_changes_what_iio_reads(served: Pi) -> None:
    control = f"{PYTHON} -m chipmodels.control /run/chips.sock i2c-0:0x76"
    served.say(f"{control} unplugged=true || {control} nack=1.0")
    assert served.shell.run(
        ["sh", "-c", f"cat {BUS}/*-0076/iio:device*/in_temp_input"], 60
    ).status != 0  # fmt: skip
    served.say(f"{control} unplugged=false; {control} nack=0.0 || :")


def test_nobody_at_an_address_is_what_a_pi_says(served: Pi) -> None:
    done = served.shell.run(
        ["sh", "-c", "n=$(basename " + BUS + " | cut -d- -f2); "
         "python3 -c 'import fcntl, os, sys\n"
         "file = os.open(\"/dev/i2c-\" + sys.argv[1], os.O_RDWR)\n"
         "fcntl.ioctl(file, 0x0703, 0x10)\n"
         "try: os.read(file, 1)\n"
         "except OSError as error: print(error.errno)' $n"], 60
    )  # fmt: skip
    assert done.text.strip() == "121", done


def test_faults_of_the_module_need_no_program(served: Pi) -> None:
    parameters = "/sys/module/sensor_sim/parameters"
    read = f"cat {BUS}/*-0076/iio:device*/in_temp_input"
    served.say(f"echo 110 >{parameters}/fault_errno; echo 1 >{parameters}/fault_every")
    failed = served.shell.run(["sh", "-c", read], 60)
    served.say(f"echo 0 >{parameters}/fault_every")
    assert failed.status != 0
    assert "timed out" in failed.stderr.decode().lower()
    assert served.say(read).strip() == EXAMPLE[0]


def test_without_a_program_the_bus_is_silent_and_nothing_hangs(served: Pi) -> None:
    drop(served)
    refused = served.shell.run(["sh", "-c", f"echo bmp280 0x76 >{BUS}/new_device; "
                             f"ls {BUS}/*-0076/driver"], 60)  # fmt: skip
    assert refused.status != 0
    served.say("rmmod sensor_sim && modprobe sensor_sim && ls /dev/sensor-sim")
    assert "BUG" not in served.say("dmesg")
