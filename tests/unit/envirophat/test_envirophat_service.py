"""The envirophat command line on models of its four chips."""

from __future__ import annotations

import io
import json
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import envirophat
import pytest
from chipmodels.ads1015 import Ads1015Model
from chipmodels.bosch import BoschModel
from chipmodels.lsm303d import Lsm303dModel
from chipmodels.tcs3472 import Tcs3472Model
from sensor_rig import Rig
from sensorkit.chips import Buses
from sensorkit.cli import run
from sensorkit.drivers.leds import open_leds
from sensorkit.errors import BusError


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
    factory.pin(4).output_with_state(True)  # as whoever had it before may have left it
    leds = open_leds(4)
    assert not factory.pin(4).state
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


class FakeGpiod:
    """libgpiod 2 as the LEDs use it."""

    class line:
        Value = SimpleNamespace(ACTIVE=1, INACTIVE=0)
        Direction = SimpleNamespace(OUTPUT="out")

    def __init__(self, label: str) -> None:
        self.label = label
        self.values: list[int] = []

    def Chip(self, path: str) -> object:
        info = SimpleNamespace(label=self.label if path.endswith("4") else "other")
        return nullcontext(SimpleNamespace(get_info=lambda: info))

    def LineSettings(self, **settings: object) -> object:
        return settings

    def request_lines(self, path: str, **options: object) -> object:
        self.path, self.options = path, options
        return SimpleNamespace(set_value=lambda pin, value: self.values.append(value))


def gpiod_only(monkeypatch: pytest.MonkeyPatch, gpiod: FakeGpiod | None) -> None:
    monkeypatch.setitem(sys.modules, "gpiozero", None)
    monkeypatch.setitem(sys.modules, "gpiod", gpiod)


def test_leds_through_libgpiod_on_the_headers_chip(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = FakeGpiod("pinctrl-rp1")
    gpiod_only(monkeypatch, fake)
    (tmp_path / "gpiochip0").touch()
    (tmp_path / "gpiochip4").touch()
    leds = open_leds(4, tmp_path)
    leds.on()
    leds.off()
    assert (fake.path, fake.values) == (str(tmp_path / "gpiochip4"), [1, 0])
    off = {"direction": "out", "output_value": 0}
    assert fake.options == {"consumer": "leds", "config": {4: off}}


@pytest.mark.parametrize("label", ["pinctrl-bcm2835", "pinctrl-bcm2711", "pinctrl-rp1"])
def test_the_chips_of_the_header_by_their_drivers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, label: str
) -> None:
    """drivers/pinctrl/bcm/pinctrl-bcm2835.c and pinctrl-rp1.c."""
    gpiod_only(monkeypatch, FakeGpiod(label))
    (tmp_path / "gpiochip4").touch()
    open_leds(4, tmp_path)


@pytest.mark.parametrize("gpiod", [None, FakeGpiod("something else")])
def test_leds_without_library_or_chip_are_a_bus_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gpiod: FakeGpiod | None
) -> None:
    gpiod_only(monkeypatch, gpiod)
    (tmp_path / "gpiochip4").touch()
    with pytest.raises(BusError):
        open_leds(4, tmp_path)


def test_selftest_covers_every_chip() -> None:
    status, out = Bench().run("selftest")
    assert status == 0
    assert {line.split()[1] for line in out.splitlines()} == {
        "bmp280:", "tcs3472:", "lsm303d:", "ads1015:"
    }  # fmt: skip


def test_a_divider_that_makes_0_volts_of_everything_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, out = Bench().run("read", "--once", ENVIROPHAT_ADS1015_DIVIDERS="11,0,1,1")
    assert (status, out) == (2, "")
    assert "has a factor 0" in capsys.readouterr().err
