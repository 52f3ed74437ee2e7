"""Our drivers and the kernel's, on the same chips: i2c-stub, and the models through sensor-sim."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.system.boot.conftest import Pi

RUN = "PYTHONPATH=/usr/lib/chipmodels.zip exec python3 -m oracle"


def answer(pi: Pi, arguments: str, seconds: float) -> dict[str, Any]:
    done = pi.shell.run(["sh", "-c", f"{RUN} {arguments}"], seconds)
    assert done.status == 0, done.stderr.decode(errors="replace")[-3000:]
    return dict(json.loads(done.text))


@pytest.fixture(scope="module")
def chips(pi: Pi) -> dict[str, Any]:
    return answer(pi, "chips", 200)


@pytest.mark.parametrize("bus", ["smbus", "rdwr", "spi"])
def test_our_driver_gives_the_worked_example_on_sensor_sim(chips: dict[str, Any], bus: str) -> None:
    """BST-BMP280-DS001 section 3.12, to the last digit."""
    assert chips[f"ours {bus}"] == [
        128422, 128422, 2508, 25767233, "25.08248", "100653.267"
    ]  # fmt: skip


@pytest.mark.parametrize("bus", ["i2c", "spi"])
def test_the_kernels_bmp280_agrees(chips: dict[str, Any], bus: str) -> None:
    assert chips[f"iio {bus}"] == ["25080.000000000", "100.653253906"]


def test_the_kernels_tcs3472_counts_the_same(chips: dict[str, Any]) -> None:
    assert chips["iio light"] == chips["ours light"]
    assert chips["ours light"][0] == pytest.approx(20.0 * 153.6 * 4, abs=1)


def test_the_kernels_ads1015_measures_the_same(chips: dict[str, Any]) -> None:
    """Ours has 2 mV a count (4.096 V), the kernel's default 1 mV (2.048 V)."""
    ours = [volts * 1000 for volts in chips["ours volts"]]
    assert chips["iio volts"] == pytest.approx(ours, abs=1.01)
    assert ours == pytest.approx([500, 1000, 1536, 2020], abs=0.01)


def test_a_thousand_random_calibrations_and_raw_values_agree(pi: Pi) -> None:
    """To the resolution of in_temp_input (0.01 degrees) and in_pressure_input (1/256 Pa)."""
    found = answer(pi, "sweep 280 1000", 600)
    print(f"{found['cases']} cases in {found['seconds']:.1f} s")  # noqa: T201
    assert found["different"] == []
    assert found["cases"] == 1000
