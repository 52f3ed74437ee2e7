"""The daemons: where chips are, what the command line says, and what is missing. CUSE is a fake."""

from __future__ import annotations

import runpy
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from chipmodels import daemon, simdaemon
from chipmodels.bosch import BoschModel, Variant
from chipmodels.clock import RealClock, VirtualClock
from chipmodels.control import ControlSocket
from chipmodels.cuse_i2c import I2cNode
from chipmodels.cuse_spi import SpiNode
from chipmodels.faults import FaultRates
from chipmodels.sim import NODE, Buses

PLACES = ["i2c-7:0x77=bmp280", "i2c-7:0x29=tcs3472", "spidev0.1=bme280", "spidev0.0=bmp280"]


def test_chips_are_at_their_places() -> None:
    nodes, control = daemon.placed([*PLACES, "i2c-1:0x1d=lsm303d"], VirtualClock()).served()
    assert [node.name for node in nodes] == ["i2c-7", "i2c-1", "spidev0.1", "spidev0.0"]
    assert set(control.logs) == {"i2c-7", "i2c-1", "spi0"}
    assert set(control.chips) == {
        *("i2c-7:0x77", "i2c-7:0x29", "i2c-1:0x1d", "spidev0.1", "spidev0.0"),
    }
    chip = control.chips["spidev0.1"].chip
    assert isinstance(chip, BoschModel)
    assert chip.variant is Variant.BME280
    assert control.chips["spidev0.1"].rates == FaultRates()
    bus, *_, select = nodes
    assert isinstance(bus, I2cNode)
    assert isinstance(select, SpiNode)
    assert set(bus.adapter.chips) == {0x77, 0x29}
    assert (bus.adapter.log, select.controller.log) == (control.logs["i2c-7"], control.logs["spi0"])
    assert bus.adapter.wait is not None  # a clock that is held low takes its time


def test_the_logs_keep_the_last_thousand_transfers() -> None:
    _, control = daemon.placed(PLACES, VirtualClock()).served()
    for log in control.logs.values():
        assert isinstance(log, deque)
        assert log.maxlen == 1000


def test_the_same_faults_happen_again() -> None:
    """Chance has the same seed in each run."""
    chances = []
    for _ in range(2):
        _, control = daemon.placed(PLACES[:1], VirtualClock()).served()
        chances.append(control.chips["i2c-7:0x77"].random.random())
    assert chances[0] == chances[1]


@pytest.mark.parametrize(
    "place",
    [
        "i2c-7:0x7=bmp280", "i2c-7:0x077=bmp280", "i2c-7:77=bmp280", "i2c-7:0x77=", "i2c-7",
        "spidev0=bmp280", "spidev0.1=tcs3472", "spidev0.1=ads1015", "spidev0.1=lsm303d", "",
    ],
)  # fmt: skip
def test_what_is_no_place_is_refused(place: str) -> None:
    with pytest.raises(ValueError, match=f"'{place}' is not i2c-N:0xAA=CHIP or spidevB.C=CHIP"):
        daemon.placed([place], VirtualClock())


class Device:
    """Stands for a device node; `missing` as where the kernel lacks the module."""

    made: ClassVar[list[object]] = []
    missing = False

    def __init__(self, of: object) -> None:
        if self.missing:
            raise OSError(2, "No such file or directory")
        self.made.append(of)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Sequence[Any]]]:
    """What the daemons serve."""
    calls: list[Sequence[Any]] = []
    monkeypatch.setattr(Device, "made", [])
    monkeypatch.setattr(daemon, "CuseDevice", Device)
    monkeypatch.setattr(simdaemon, "SimDevice", Device)
    monkeypatch.setattr(daemon, "serve", calls.append)
    yield calls
    for devices in calls:
        for device in devices:
            if isinstance(device, ControlSocket):
                device._socket.close()


def test_nodes_are_served_with_and_without_a_control_socket(
    served: list[Sequence[Any]], tmp_path: Path
) -> None:
    assert daemon.main(PLACES) == 0
    assert [node.name for node in Device.made] == ["i2c-7", "spidev0.1", "spidev0.0"]  # type: ignore[attr-defined]
    assert daemon.main(["--control", str(tmp_path / "a"), *PLACES[:1]]) == 0
    assert [node.name for node in Device.made[3:]] == ["i2c-7"]  # type: ignore[attr-defined]
    assert [[type(d) for d in devices] for devices in served] == [
        [Device, Device, Device],
        [Device, ControlSocket],
    ]
    assert daemon.main(["--control", str(tmp_path / "b")]) == 0
    assert (tmp_path / "b").is_socket()
    assert daemon.main([]) == 0


def test_the_buses_of_sensor_sim_are_served(served: list[Sequence[Any]], tmp_path: Path) -> None:
    assert simdaemon.main(["i2c-0:0x77=bmp280", "spidev0.0=bme280"]) == 0
    (buses,) = Device.made
    assert isinstance(buses, Buses)
    assert set(buses.i2c.chips) == {0x77}  # type: ignore[union-attr]
    assert set(buses.spi.chips) == {0}  # type: ignore[union-attr]
    control = str(tmp_path / "a")
    assert simdaemon.main(["--control", control, "spidev0.0=bme280"]) == 0
    assert Device.made[1].i2c is None  # type: ignore[attr-defined]
    assert [[type(d) for d in devices] for devices in served] == [[Device], [Device, ControlSocket]]
    assert simdaemon.main(["--control", str(tmp_path / "b")]) == 0


def test_the_models_of_sensor_sim_live_in_real_time() -> None:
    _, control = simdaemon.buses(["i2c-0:0x77=bmp280"])
    assert isinstance(control.chips["i2c-0:0x77"].chip._time, RealClock)  # type: ignore[union-attr]


@pytest.mark.parametrize("place", ["i2c-1:0x77=bmp280", "spidev1.0=bmp280"])
def test_sensor_sim_has_one_bus_of_each_kind(
    served: list[Sequence[Any]], place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simdaemon.main([place]) == 2
    assert "one bus of each kind: i2c-0 and spidev0\n" in capsys.readouterr().err
    assert served == []


def test_what_is_missing_is_named(
    served: list[Sequence[Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Device, "missing", True)
    assert daemon.main(PLACES) == 1
    missing = "No such file or directory"
    assert capsys.readouterr().err == f"/dev/cuse: {missing}; does the kernel have CUSE?\n"
    assert simdaemon.main([]) == 1
    expected = f"{NODE}: {missing}; is the module sensor-sim loaded?\n"
    assert capsys.readouterr().err == expected
    assert daemon.main(["nowhere"]) == 2
    assert "'nowhere' is not" in capsys.readouterr().err
    assert str(NODE) == "/dev/sensor-sim"


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("daemon", "'nowhere' is not"),
        ("simdaemon", "'nowhere' is not"),
        ("stub", "usage: chipmodels.stub"),
        ("control", "usage: chipmodels.control"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*found in sys.modules")
def test_each_is_a_program(
    module: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["nowhere"] if module != "control" else []
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module(f"chipmodels.{module}", run_name="__main__")
    assert caught.value.code == 2
    assert words in capsys.readouterr().err
