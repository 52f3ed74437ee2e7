"""Retries, restarts, counts and health; and the long run with faults."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from chipmodels.ads1015 import Ads1015Model
from chipmodels.bosch import Air, BoschModel, Variant
from chipmodels.clock import VirtualClock
from chipmodels.faults import FaultRates, FaultyChip
from chipmodels.lsm303d import Attitude, Lsm303dModel
from chipmodels.target import Chip
from chipmodels.tcs3472 import Light, Tcs3472Model
from sensor_rig import Rig
from sensorkit.drivers.ads1015 import Ads1015
from sensorkit.drivers.bosch import Bosch280, BoschSettings, Mode
from sensorkit.drivers.bosch import Chip as BoschChip
from sensorkit.drivers.driver import Driver
from sensorkit.drivers.lsm303d import Lsm303d
from sensorkit.drivers.tcs3472 import Tcs3472
from sensorkit.errors import BusError, InvalidReading, SensorError
from sensorkit.measurement import TEMPERATURE, Channel, Measurement, Sample
from sensorkit.station import Plan, Station
from sensorkit.supervise import RetryPolicy, Supervised

CHANNEL = Channel(TEMPERATURE, "Temperature")


@dataclass
class ScriptedDriver:
    """A driver whose starts and samples are scripted: a number, or an error to raise."""

    script: Iterator[float | SensorError]
    starts: int = 0
    start_error: SensorError | None = None
    model = "SCRIPTED"
    channels = (CHANNEL,)

    def start(self) -> None:
        self.starts += 1
        if self.start_error:
            raise self.start_error

    def sample(self) -> Sample:
        step = next(self.script)
        if isinstance(step, SensorError):
            raise step
        return Sample([Measurement(CHANNEL, step, 0.0)])


def supervised(
    *script: float | SensorError, policy: RetryPolicy | None = None
) -> tuple[ScriptedDriver, Supervised, VirtualClock]:
    driver, clock = ScriptedDriver(iter(script)), VirtualClock()
    return driver, Supervised("t", driver, clock, max_age=5, policy=policy), clock


def test_a_failed_transfer_is_tried_again_without_a_new_start() -> None:
    driver, chip, _ = supervised(20.0, 20.0, BusError("x"), 20.1)
    chip.poll()
    assert [m.value for m in chip.poll()] == [20.1]
    assert driver.starts == 1
    assert chip.health().errors == {"bus": 1}


def test_a_chip_that_stays_away_is_tried_at_growing_intervals() -> None:
    driver, chip, clock = supervised()
    driver.start_error = BusError("gone")
    tries = []
    for _ in range(1300):
        before = driver.starts
        chip.poll()
        if driver.starts > before:
            tries.append(clock.monotonic())
        clock.sleep(0.1)
    gaps = [b - a for a, b in itertools.pairwise(tries)]
    assert gaps[:8] == pytest.approx([0.5, 1, 2, 4, 8, 16, 30, 30], abs=0.15)


def test_health_tells_the_reason_and_recovers() -> None:
    driver, chip, clock = supervised(*[20.0] * 10)
    driver.start_error = BusError("no chip answers")
    chip.poll()
    assert not chip.health().healthy
    assert chip.health().reason == "no chip answers"
    driver.start_error = None
    clock.sleep(1)
    chip.poll()
    assert chip.health().healthy
    assert chip.health().reason == ""


def test_an_old_value_is_unhealthy() -> None:
    _, chip, clock = supervised(20.0, 20.0)
    chip.poll()
    clock.sleep(5.1)
    assert not chip.health().healthy


def test_a_jump_that_a_second_sample_denies_is_not_published() -> None:
    _, chip, _ = supervised(20.0, 20.0, 35.0, 20.0, 20.0)
    chip.poll()
    assert [m.value for m in chip.poll()] == [20.0]
    assert chip.health().errors == {"unconfirmed": 1}


def test_a_jump_that_a_second_sample_denies_shows_in_the_health_of_what_is_published() -> None:
    other = Channel(TEMPERATURE, "Other", (("place", "roof"),))
    readings = iter([(20.0, 5.0), (20.0, 5.0), (35.0, 5.1), (20.0, 5.1)])
    driver, chip, _ = supervised()
    driver.sample = lambda: Sample(  # type: ignore[method-assign]
        Measurement(channel, value, 0.0)
        for channel, value in zip((CHANNEL, other), next(readings), strict=True)
    )
    chip.poll()
    assert chip.health().refused == ()
    assert [m.value for m in chip.poll()] == [5.1]
    assert chip.health().refused == ("temperature jumped and a second sample disagreed",)


def test_a_jump_that_a_second_sample_confirms_is_published() -> None:
    _, chip, _ = supervised(20.0, 20.0, 35.0, 35.1)
    chip.poll()
    assert [m.value for m in chip.poll()] == [35.0]


def test_invalid_values_in_a_row_make_the_chip_start_again() -> None:
    invalid = [InvalidReading("saturated")] * 5
    driver, chip, _ = supervised(20.0, 20.0, *invalid, 20.0)
    for _ in range(6):
        chip.poll()
    assert driver.starts == 1
    assert chip.poll()
    assert driver.starts == 2


def test_other_chips_go_on_while_one_is_away() -> None:
    rig = Rig()
    rig.chips[0x29] = Tcs3472Model(rig.clock)
    plans = [
        Plan(
            Supervised("bmp280", Bosch280(rig.smbus(0x77), rig.clock), rig.clock, max_age=5), 1, ()
        ),
        Plan(
            Supervised("tcs3472", Tcs3472(rig.smbus(0x29), rig.clock), rig.clock, max_age=5), 1, ()
        ),
    ]
    station = Station(plans, [], rig.clock)
    while rig.clock.monotonic() < 60:
        rig.clock.sleep(station.step())
    states = station.states()
    assert states["tcs3472"].health.samples >= 55
    assert not states["bmp280"].health.healthy
    assert "no chip answers" in states["bmp280"].health.reason
    assert not station.healthy()


def test_a_chip_plugged_in_late_is_found() -> None:
    rig = Rig()
    chip = Supervised("bmp280", Bosch280(rig.smbus(0x77), rig.clock), rig.clock, max_age=5)
    for _ in range(20):
        assert chip.poll() == ()
        rig.clock.sleep(1)
    rig.chips[0x77] = BoschModel(rig.clock)
    rig.clock.sleep(31)
    assert chip.poll()


def test_intervals_do_not_drift() -> None:
    _, chip, clock = supervised(*[20.0] * 1000)
    times: list[float] = []

    class Noting:
        def publish(self, state: object) -> None:
            times.append(clock.monotonic())
            clock.sleep(0.123)

    station = Station([Plan(chip, 1.0, ())], [Noting()], clock)
    for _ in range(100):
        clock.sleep(station.step())
    assert times == pytest.approx(range(100), abs=1e-6)


# -- the long run ------------------------------------------------------------------------------

TRUTH = {"temperature": 21.5, "pressure": 98_765.0, "humidity": 0.45}
MakeChip = tuple[Callable[[VirtualClock], Chip], Callable[[Rig], Driver], dict[str, float], float]
AIR = Air(21.5, 98_765.0, 45.0)
VOLTS = (0.5, 1.0, 2.0, 3.3)
ATTITUDE = Attitude((0.0, 0.0, 1.0), (0.25, 0.0, -0.4))
NORMAL, FORCED = (BoschSettings(mode=m) for m in (Mode.NORMAL, Mode.FORCED))
CASES: dict[str, MakeChip] = {
    "bmp280": (
        lambda t: BoschModel(t, source=AIR),
        lambda r: Bosch280(r.smbus(0x10), r.clock, NORMAL),
        {"temperature": 21.5, "pressure": 98_765.0},
        1e-4,
    ),
    "bmp280 forced": (
        lambda t: BoschModel(t, source=AIR),
        lambda r: Bosch280(r.rdwr(0x10), r.clock, FORCED),
        {"temperature": 21.5, "pressure": 98_765.0},
        1e-4,
    ),
    "bme280": (
        lambda t: BoschModel(t, source=AIR, variant=Variant.BME280),
        lambda r: Bosch280(r.smbus(0x10), r.clock, NORMAL, BoschChip.BME280),
        TRUTH,
        1e-3,
    ),
    "tcs3472": (
        lambda t: Tcs3472Model(t, light=Light()),
        lambda r: Tcs3472(r.smbus(0x10), r.clock),
        {"illuminance": 181.95, "color_red": 0.4},
        1e-3,
    ),
    "lsm303d": (
        lambda t: Lsm303dModel(t, attitude=ATTITUDE),
        lambda r: Lsm303d(r.smbus(0x10), r.clock),
        {"acceleration_z": 9.80665, "magnetic_flux_density_x": 25e-6},
        1e-3,
    ),
    "ads1015": (
        lambda t: Ads1015Model(t, volts=VOLTS),
        lambda r: Ads1015(r.smbus(0x10), r.clock),
        {f"voltage_{i}": volts for i, volts in enumerate(VOLTS)},
        2e-3,
    ),
}
ALLOWED_AWAY_SECONDS = 61.0  # one back-off at its longest, a second failure right after it


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_thousand_samples_with_faults(name: str) -> None:
    """A shorter form of tests/system/sensorkit/test_faults.py, which takes 10,000 samples."""
    sample_with_faults(name, 1_000)


def sample_with_faults(name: str, samples: int) -> None:
    """5 % of messages are not acknowledged, meet a reset, or come back as garbage."""
    make, make_driver, truth, tolerance = CASES[name]
    rig = Rig()
    rates = FaultRates(nack=0.02, reset=0.01, garbage=0.02)
    faulty = FaultyChip(make(rig.clock), rates, random.Random(f"{name} 1"))
    rig.chips[0x10] = faulty
    chip = Supervised(name, make_driver(rig), rig.clock, max_age=5)
    good = 0
    last_good = 0.0
    for _ in range(samples):
        sample = chip.poll()
        for m in sample:
            expected = truth.get(m.channel.key)
            assert expected is None or m.value == pytest.approx(expected, rel=tolerance), m
        if sample:
            good += 1
            last_good = rig.clock.monotonic()
        assert rig.clock.monotonic() - last_good < ALLOWED_AWAY_SECONDS
        rig.clock.sleep(1)
    # An ADS1015 sample is 28 messages: three in four samples meet a fault at the first attempt.
    assert good > samples * (0.6 if name == "ads1015" else 0.9), f"only {good} of {samples}"
    assert min(faulty.counts[kind] for kind in ("nack", "reset", "garbage")) > samples / 200
