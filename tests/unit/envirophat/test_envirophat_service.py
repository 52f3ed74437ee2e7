"""The envirophat command line on models of its four chips."""

from __future__ import annotations

import io
import json

import envirophat
import pytest
from chipmodels.ads1015 import Ads1015Model
from chipmodels.bosch import BoschModel
from chipmodels.lsm303d import Lsm303dModel
from chipmodels.tcs3472 import Tcs3472Model
from sensorkit.chips import Buses
from sensorkit.cli import run
from sensorkit.drivers.leds import open_leds
from sensorkit.errors import BusError

from tests.unit.sensorkit.rig import Rig


class FakeLeds:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def on(self) -> None:
        self.calls.append("on")

    def off(self) -> None:
        self.calls.append("off")

    def close(self) -> None:
        self.calls.append("close")


class Bench:
    def __init__(self) -> None:
        self.rig = Rig()
        clock = self.rig.clock
        self.rig.chips |= {
            0x77: BoschModel(clock),
            0x29: Tcs3472Model(clock),
            0x1D: Lsm303dModel(clock),
            0x49: Ads1015Model(clock, volts=(0.5, 1.0, 2.0, 3.3)),
        }
        clock.sleep(1)
        self.leds = FakeLeds()
        self.pins: list[int] = []

    def light(self, pin: int) -> FakeLeds:
        self.pins.append(pin)
        return self.leds

    def run(self, *arguments: str, **variables: str) -> tuple[int, str]:
        out = io.StringIO()
        service = envirophat.service(Buses(lines={"i2c1": self.rig.line}), self.light)
        return run(service, arguments, variables, out, self.rig.clock), out.getvalue()


def test_all_four_chips_are_read() -> None:
    status, out = Bench().run("read", "--once", "--json")
    samples = {(s := json.loads(line))["sensor"]: s for line in out.splitlines()}
    assert status == 0
    assert samples["bmp280"]["temperature_celsius"] == 25.08
    assert samples["tcs3472"]["illuminance_lux"] == pytest.approx(181.95)
    assert samples["lsm303d"]["heading_degrees"] == 0
    assert samples["ads1015"]["voltage_3_volts"] == pytest.approx(3.3, abs=0.001)


def test_a_missing_chip_fails_alone(capsys: pytest.CaptureFixture[str]) -> None:
    bench = Bench()
    del bench.rig.chips[0x49]
    status, out = bench.run("read", "--once", "--json")
    assert status == 1
    assert len(out.splitlines()) == 3
    assert capsys.readouterr().err.startswith("ads1015: ")


def test_chosen_sensors_only() -> None:
    _, out = Bench().run("read", "--once", "--json", ENVIROPHAT_SENSORS="tcs3472")
    assert [json.loads(line)["sensor"] for line in out.splitlines()] == ["tcs3472"]


def test_leds_are_lit_on_their_gpio_when_wanted() -> None:
    bench = Bench()
    bench.run("read", "--once")
    assert bench.pins == []
    bench.run("read", "--once", ENVIROPHAT_LEDS="on")
    assert (bench.pins, bench.leds.calls) == ([4], ["on"])


def test_leds_through_gpiozero(monkeypatch: pytest.MonkeyPatch) -> None:
    from gpiozero import Device
    from gpiozero.pins.mock import MockFactory

    factory = MockFactory()
    monkeypatch.setattr(Device, "pin_factory", factory)
    leds = open_leds(4)
    leds.on()
    assert factory.pin(4).state
    leds.off()
    assert not factory.pin(4).state
    leds.close()


def test_leds_without_a_gpio_are_a_bus_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from gpiozero import Device

    monkeypatch.setattr(Device, "pin_factory", None)
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "native")
    with pytest.raises(BusError):
        open_leds(4)


def test_selftest_covers_every_chip() -> None:
    status, out = Bench().run("selftest")
    assert status == 0
    assert {line.split()[1] for line in out.splitlines()} == {
        "bmp280:", "tcs3472:", "lsm303d:", "ads1015:"
    }  # fmt: skip
