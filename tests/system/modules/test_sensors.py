"""`sensors:` and `use: sensors`: the kernel's drivers on models, from the file to /metrics."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence

import pytest

from tests.system.boot.conftest import Pi

PYTHON = "PYTHONPATH=/usr/lib/chipmodels.zip python3"
CONTROL = f"{PYTHON} -m chipmodels.control /run/sensors.sock"
PLACES = (
    "i2c-0:0x75=bme280,temperature_celsius=21.5,pressure_pascals=98765,humidity_percent=45 "
    "i2c-0:0x23=bh1750,lux=320 "
    "i2c-0:0x44=sht3x,temperature_celsius=17.25,humidity_percent=61.5 "
    "i2c-0:0x40=ina219,volts=12.4,amperes=0.25,ohms=0.1 "
    "i2c-0:0x48=ads1015,in0=0.5,in1=1.25,in2=0.75,in3=2.0 "
    "i2c-0:0x2a=tcs3472,clear=20,red=6,green=8,blue=5 "
    "i2c-0:0x70=srf08,meters=0.73 "
    "i2c-0:0x1c=mma8452,x=0.25,y=-0.5,z=0.75 "
    "i2c-0:0x1d=mma8452,x=-0.5,y=0.25,z=1.0 "
    "spidev0.1=bme280,temperature_celsius=9.5,pressure_pascals=100123,humidity_percent=80 "
    "i2c-0:0x18=ds2482,temperature_celsius=18.25"
)
SAMPLED = "knock"  # by the kernel itself, at a rate
NAMED = (
    *("air", "window", "bed", "panel", "soil", "colour", "water", "gate", "shed", "tank"),
    SAMPLED,
)
SELECT = "spidev0.1"
# On SPI, a chip that is absent cannot be told from one that answers with ones.
ON_I2C = [word.partition("=")[0] for word in PLACES.split() if word.startswith("i2c")]
ACCELERATION = "sensors_acceleration_meters_per_second_squared"
SPI = "/sys/class/misc/sensor-sim"
PATIENCE = 600.0
WHY = "wget -q -O - http://127.0.0.1:9284/api/current; dmesg | tail -40; cat /run/sensors.log"

Metrics = dict[str, float]


def metrics(pi: Pi) -> Metrics:
    """The samples of the service; those with its labels in the order of the text."""
    text = pi.say("wget -q -O - http://127.0.0.1:9284/metrics || :")
    rows = re.findall(r"^(sensors_\S+?(?:\{.*?\})?) (\S+)$", text, re.M)
    return {name: float(value) for name, value in rows}


def healthy(found: Metrics) -> set[str]:
    return {n for n in NAMED if found.get(f'sensors_sensor_healthy{{sensor="{n}"}}') == 1}


def wait_for(pi: Pi, names: set[str]) -> Metrics:
    """Wait until each of these was healthy. On a slow machine not all are at the same time."""
    found: Metrics = {}
    seen: set[str] = set()
    end = time.monotonic() + PATIENCE
    while not names <= seen:
        assert time.monotonic() < end, (names - seen, pi.say(WHY))
        now = metrics(pi)
        seen |= healthy(now)
        found |= now
        time.sleep(1)
    return found


@pytest.fixture(scope="module")
def planted(pi: Pi) -> Iterator[Pi]:
    """The models, plugged in long after the boot: the system looks for them again."""
    pi.say(
        f"{PYTHON} -m chipmodels.simdaemon --control /run/sensors.sock {PLACES} "
        "</dev/null >/run/sensors.log 2>&1 & echo $! >/run/sensors.pid; "
        "for n in $(seq 1500); do [ -S /run/sensors.sock ] && exit 0; sleep 0.2; done; "
        "cat /run/sensors.log; exit 1"
    )
    pi.say(f"echo bme280 1 1000000 >{SPI}/new_spi_device")  # on a board, an overlay does it
    yield pi
    pi.say(
        f"echo 1 2>/dev/null >{SPI}/delete_spi_device; "
        "for chip in 75 23 44 40 48 2a 70 1c 1d 18; do "
        "echo 0x$chip 2>/dev/null >/sys/bus/i2c/devices/i2c-1/delete_device; done; "
        "kill $(cat /run/sensors.pid); rm -f /run/sensors.pid"
    )


@pytest.fixture(scope="module")
def measured(planted: Pi) -> Metrics:
    return wait_for(planted, set(NAMED))


EXPECTED = {
    'sensors_temperature_celsius{sensor="air"}': (21.5, 0.01),
    'sensors_pressure_pascals{sensor="air"}': (98765, 0.2),
    'sensors_humidity_ratio{sensor="air"}': (0.45, 0.0002),
    'sensors_illuminance_lux{sensor="window"}': (330, 0.9),  # with an offset of 10
    'sensors_temperature_celsius{sensor="bed"}': (17.25, 0.01),
    'sensors_humidity_ratio{sensor="bed"}': (0.615, 0.0001),
    'sensors_voltage_volts{channel="1",sensor="panel"}': (12.4, 0.004),
    'sensors_voltage_volts{channel="0",sensor="panel"}': (0.025, 0.00001),
    'sensors_current_amperes{channel="3",sensor="panel"}': (0.25, 0.0001),
    'sensors_power_watts{channel="2",sensor="panel"}': (3.1, 0.01),
    'sensors_voltage_volts{channel="0",sensor="soil"}': (0.5, 0.001),
    'sensors_voltage_volts{channel="1",sensor="soil"}': (1.25, 0.001),
    'sensors_voltage_volts{channel="2",sensor="soil"}': (0.75, 0.001),
    'sensors_voltage_volts{channel="3",sensor="soil"}': (2.0, 0.001),
    'sensors_distance_meters{sensor="water"}': (0.73, 0.005),
    f'{ACCELERATION}{{channel="x",sensor="gate"}}': (2.4517, 0.005),
    f'{ACCELERATION}{{channel="y",sensor="gate"}}': (-4.9033, 0.005),
    f'{ACCELERATION}{{channel="z",sensor="gate"}}': (7.3550, 0.005),
    f'{ACCELERATION}{{channel="x",sensor="knock"}}': (-4.9033, 0.005),
    f'{ACCELERATION}{{channel="y",sensor="knock"}}': (2.4517, 0.005),
    f'{ACCELERATION}{{channel="z",sensor="knock"}}': (9.8066, 0.005),
    f'{ACCELERATION}{{channel="x",sensor="knock",statistic="minimum"}}': (-4.9033, 0.005),
    f'{ACCELERATION}{{channel="x",sensor="knock",statistic="maximum"}}': (-4.9033, 0.005),
    'sensors_temperature_celsius{sensor="shed"}': (9.5, 0.01),
    'sensors_pressure_pascals{sensor="shed"}': (100123, 0.3),
    'sensors_humidity_ratio{sensor="shed"}': (0.8, 0.0002),
    'sensors_temperature_celsius{sensor="tank",serial="28-000005e2fdc3"}': (18.25, 0.0001),
}
"""What was planted, and the resolution of the chip or of the kernel's driver for it."""
RED, CLEAR = (f'sensors_intensity{{channel="{name}",sensor="colour"}}' for name in ("red", "clear"))


def wrong(found: Metrics) -> dict[str, tuple[float, float]]:
    """The published values that are not what was planted; one that is missing is not wrong."""
    values = {
        name: (found[name], value)
        for name, (value, within) in EXPECTED.items()
        if name in found and found[name] != pytest.approx(value, abs=within)
    }
    if RED in found and found[CLEAR] / found[RED] != pytest.approx(20 / 6, rel=0.05):
        values[CLEAR] = (found[CLEAR] / found[RED], 20 / 6)
    return values


def test_what_was_planted_is_what_is_published(measured: Metrics) -> None:
    assert {*EXPECTED, RED, CLEAR} - set(measured) == set()
    assert wrong(measured) == {}


def test_the_console_tells_when_a_chip_was_missing_and_when_it_came(
    planted: Pi, measured: Metrics
) -> None:
    told = [line.text for line in planted.session.lines() if "piimage: sensor window" in line.text]
    missing, *_, found = told
    assert "no bh1750 answers at 0x23 on i2c-1; it will be tried again" in missing
    assert "sensor window: bh1750 at 0x23 on i2c-1" in found


def test_a_chip_that_goes_leaves_the_others_and_comes_back(planted: Pi, measured: Metrics) -> None:
    planted.say(f"{CONTROL} i2c-0:0x44 unplugged=true")
    end = time.monotonic() + PATIENCE
    while "bed" in healthy(without := metrics(planted)):
        assert time.monotonic() < end, planted.say(WHY)
        time.sleep(1)
    assert not any('sensor="bed"' in name and "temperature" in name for name in without)
    until_counted(planted, "samples", set(NAMED) - {"bed"}, 2)
    reasons = planted.say("wget -q -O - http://127.0.0.1:9284/healthz")
    # The kernel's reason; or, if the system has started the driver again meanwhile, the service's.
    assert re.search(r"no (chip|sht3x) answers.*; check wiring", reasons)
    assert json.loads(reasons)["healthy"]
    planted.say(f"{CONTROL} i2c-0:0x44 unplugged=false")
    wait_for(planted, {"bed"})


def test_the_container_has_neither_device_nodes_nor_a_writable_sys(
    planted: Pi, measured: Metrics
) -> None:
    inside = "runc --root /run/containerd/runc/services.linuxkit exec sensors /usr/bin/python3 -c "
    nodes = planted.say(f"{inside} 'import os; print(os.listdir(\"/dev\"))'")
    assert "i2c" not in nodes
    write = 'open("/sys/bus/i2c/drivers_probe", "w")'
    done = planted.shell.run(["sh", "-c", f"{inside} '{write}'"], 300)
    assert done.status != 0
    assert b"Read-only file system" in done.stderr or b"Permission denied" in done.stderr


def everywhere(pi: Pi, places: Sequence[str], *words: str) -> None:
    """Do something to chips: a fault, or the name of a method."""
    each = (
        "import sys; from chipmodels.control import main; "
        "[main(['/run/sensors.sock', place, *sys.argv[1:]]) for place in PLACES]"
    ).replace("PLACES", repr(list(places)))
    pi.say(f'{PYTHON} -c "{each}" {" ".join(words)}')


def counted(found: Metrics, what: str) -> dict[str, float]:
    """The counts of each sensor, of all kinds."""
    return {
        name: sum(
            count
            for key, count in found.items()
            if key.startswith(f"sensors_{what}_total") and f'sensor="{name}"' in key
        )
        for name in NAMED
    }


def until_counted(pi: Pi, what: str, names: set[str], least: float) -> None:
    """Wait until each of these has `least` more of what is counted; no value is wrong meanwhile."""
    start, end = counted(metrics(pi), what), time.monotonic() + PATIENCE
    while True:
        found = metrics(pi)
        now = counted(found, what)
        lacking = [name for name in names if now[name] < start[name] + least]
        assert wrong(found) == {}
        if not lacking:
            return
        assert time.monotonic() < end, (lacking, pi.say(WHY))
        time.sleep(1)


@pytest.mark.parametrize("fault", ["unplugged", "nack"])
def test_each_chip_that_failed_has_right_values_again_and_never_a_wrong_one(
    planted: Pi, measured: Metrics, fault: str
) -> None:
    """Absent, and every second message without an answer."""
    begin, end = {"unplugged": ("true", "false"), "nack": ("0.5", "0")}[fault]
    everywhere(planted, ON_I2C, f"{fault}={begin}")
    # Of many samples in a row that the kernel takes, some succeed in spite of the faults.
    until_counted(planted, "read_errors", set(NAMED) - {"shed", SAMPLED}, 1)
    everywhere(planted, ON_I2C, f"{fault}={end}")
    until_counted(planted, "samples", set(NAMED), 2)


# Ends the pause of the system's program, and waits for the next one.
LOOK = """
program=$(initctl status _sensors | sed -n 's/^ *PID : //p')
asleep() {
	for child in $(cat /proc/$program/task/$program/children); do
		grep -qsx sleep /proc/$child/comm && return
	done
	return 1
}
until asleep; do sleep 0.2; done
before=$child
kill $before
until asleep && [ $child != $before ]; do sleep 0.2; done
"""


def look(pi: Pi) -> None:
    """Let the system look at its chips now, and not in a minute; return when it has."""
    pi.say(LOOK)


def told(pi: Pi) -> list[str]:
    """What the console has had of sensors."""
    lines = (line.text.partition("piimage: sensor ")[2] for line in pi.session.lines())
    return [line for line in lines if line]


def until_told(pi: Pi, start: int, text: str) -> None:
    """Wait until the console has this, after the first `start` lines of sensors."""
    end = time.monotonic() + PATIENCE
    while not any(text in line for line in told(pi)[start:]):
        assert time.monotonic() < end, (text, pi.say(WHY))
        time.sleep(1)


def until_published(pi: Pi, expected: dict[str, tuple[float, float]]) -> None:
    """Wait for these values; with each is how far from it the published one may be."""
    end = time.monotonic() + PATIENCE
    while True:
        found = metrics(pi)
        other = {
            name: found.get(name)
            for name, (value, within) in expected.items()
            if found.get(name) != pytest.approx(value, abs=within)
        }
        if not other:
            return
        assert time.monotonic() < end, (other, pi.say(WHY))
        time.sleep(1)


RESTARTED = "its driver is started again"


def test_chips_that_lost_their_settings_are_set_up_again(planted: Pi, measured: Metrics) -> None:
    """But for the one that the kernel samples. An INA219 goes on to answer, and measures 0 A."""
    places = [place for place in (*ON_I2C, SELECT) if not place.endswith("0x1d")]
    look(planted)
    start = len(told(planted))
    everywhere(planted, places, "power_cycle")
    look(planted)
    until_told(planted, start, "air: bme280 at 0x75 on i2c-1 has values again")
    until_told(planted, start, "shed: bme280 at 1 on spi0 has values again")
    until_told(planted, start, f"panel: ina219 at 0x40 on i2c-1 has fallen to 0; {RESTARTED}")
    until_published(planted, EXPECTED)
    until_counted(planted, "samples", set(NAMED), 2)


def test_the_dark_starts_the_driver_of_one_chip_again_once(planted: Pi, measured: Metrics) -> None:
    light = 'sensors_illuminance_lux{sensor="window"}'
    look(planted)
    start = len(told(planted))
    planted.say(f"{CONTROL} i2c-0:0x23 lux=0")
    look(planted)
    until_told(planted, start, RESTARTED)
    for _ in range(2):
        look(planted)
    until_published(planted, {light: (10, 0)})  # the offset
    assert [line for line in told(planted)[start:] if RESTARTED in line] == [
        f"window: bh1750 at 0x23 on i2c-1 has fallen to 0; {RESTARTED}, once"
    ]
    planted.say(f"{CONTROL} i2c-0:0x23 lux=320")
    until_published(planted, {light: EXPECTED[light]})
