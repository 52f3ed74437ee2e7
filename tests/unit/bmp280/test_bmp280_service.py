"""The bmp280 command line on a model: samples, self-test, exit status."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import bmp280
import pytest
import yaml
from chipmodels.bosch import BoschModel, RawSample, Variant
from sensor_rig import Rig
from sensorkit.chips import Buses
from sensorkit.cli import run

FOLDER = Path(__file__).parents[3] / "services/bmp280"


class Bench:
    def __init__(self, variant: Variant = Variant.BMP280, source: RawSample | None = None) -> None:
        self.rig = Rig()
        self.rig.chips[0x77] = BoschModel(self.rig.clock, variant=variant, source=source)
        self.rig.clock.sleep(1)

    def run(self, *arguments: str, **variables: str) -> tuple[int, str]:
        out = io.StringIO()
        buses = Buses(lines={"i2c1": self.rig.line})
        status = run(bmp280.service(buses), arguments, variables, out, self.rig.clock)
        return status, out.getvalue()


@pytest.mark.parametrize("transfer", ["smbus", "rdwr"])
def test_read_once_json_gives_the_worked_example(transfer: str) -> None:
    status, out = Bench().run("read", "--once", "--json", BMP280_TRANSFER=transfer)
    sample = json.loads(out)
    assert status == 0
    assert (sample["temperature_celsius"], sample["pressure_pascals"]) == (25.08, 100653.25)


def test_read_for_people_is_in_their_units() -> None:
    status, out = Bench().run("read", "--once")
    assert status == 0
    assert re.findall(r"([\d.]+) (\S+)$", out, re.M) == [("25.08", "°C"), ("1006.53", "hPa")]


def test_a_bme280_has_humidity() -> None:
    status, out = Bench(Variant.BME280).run("read", "--once", "--json", BMP280_CHIP="bme280")
    assert status == 0
    assert 0 < json.loads(out)["humidity_ratio"] < 1


def test_derived_channels() -> None:
    _, out = Bench().run("read", "--once", "--json", BMP280_ALTITUDE="100")
    assert json.loads(out)["sea_level_pressure_pascals"] == pytest.approx(101_850, abs=10)
    _, out = Bench().run("read", "--once", "--json", BMP280_SEA_LEVEL_PRESSURE="101325")
    assert json.loads(out)["altitude_meters"] == pytest.approx(56.1, abs=0.5)


def test_no_chip_exits_1_and_says_what_to_check(capsys: pytest.CaptureFixture[str]) -> None:
    status, out = Bench().run("read", "--once", BMP280_ADDRESS="0x76")
    assert (status, out) == (1, "")
    assert "no chip answers; check wiring" in capsys.readouterr().err


def test_selftest_steps() -> None:
    status, out = Bench().run("--selftest")
    assert status == 0
    assert all(line.startswith("ok ") for line in out.splitlines())
    status, out = Bench(Variant.BME280).run("selftest")
    assert status == 1
    assert "id 0x60 is a BME280" in out


def test_an_impossible_value_is_no_output() -> None:
    status, out = Bench(source=RawSample(0xFFFFF, 415148)).run("read", "--once", "--json")
    assert (status, out) == (1, "")


def test_service_file_matches_the_program() -> None:
    service = yaml.safe_load((FOLDER / "service.yml").read_text())
    variables = {o.variable for o in bmp280.service(Buses()).all_options()} | {"BMP280_CONFIG"}
    for entry in service["config"]["env"]:
        name = entry.partition("=")[0]
        assert not name.startswith(("BMP280_", "MQTT_")) or name in variables
    assert service["health"]["http"].endswith(":9280/healthz")
    assert [(FOLDER / folder).is_dir() for folder in service["python"]] == [True, True]
