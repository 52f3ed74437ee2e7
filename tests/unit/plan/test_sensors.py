"""The section `sensors:` as files and modules of the system."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from piimage.boards import load_board
from piimage.config.models import Appliance
from piimage.firmware.devicetree import compile_overlay, is_blob
from piimage.firmware.writer import applied_overlays
from piimage.kernel.package import UnpackedKernel
from piimage.kernel.sensors import WantedChip
from piimage.plan.modules import plan_modules
from piimage.plan.sensors import sensor_files, spi_overlay
from piimage.plan.slot import boot_of
from piimage.run import Runner
from tests.unit.plan.locks import lock_of

AIR = {"chip": "bme280", "bus": "i2c1", "address": "0x76", "name": "air", "every": "30s"}
TANK = {"chip": "ds18b20", "bus": "w1", "name": "tank"}
SERVICE = {"name": "sensors", "use": "sensors"}


def appliance(*sensors: dict[str, object], **more: object) -> Appliance:
    return Appliance.model_validate({"board": "pi4", "sensors": sensors, **more})


def files(found: Appliance) -> dict[str, str]:
    return {file.path: str(file.content, "utf-8") for file in sensor_files(found)}


def test_a_chip_on_i2c_is_a_line_for_the_kernel_and_an_entry_for_the_service() -> None:
    settings = {"in_temp_oversampling_ratio": 16, "in_pressure_oversampling_ratio": "8"}
    found = files(appliance({**AIR, "settings": settings, "offset": {"temperature": -0.8}}))
    assert set(found) == {
        "etc/piimage/sensors", "etc/piimage/sensors.json", "etc/finit.d/_sensors.conf",
    }  # fmt: skip
    assert found["etc/piimage/sensors"] == (
        "air i2c-1 bme280 0x76 in_temp_oversampling_ratio=16 in_pressure_oversampling_ratio=8\n"
    )
    assert json.loads(found["etc/piimage/sensors.json"]) == {
        "sensors": [
            {"name": "air", "chip": "bme280", "bus": "i2c1", "address": 0x76, "every": 30,
             "offset": {"temperature": -0.8}},
        ]
    }  # fmt: skip


def test_oversampling_comes_before_the_settings_and_the_filter_is_the_services() -> None:
    settings = {"in_temp_oversampling_ratio": 2}
    found = files(
        appliance({**AIR, "settings": settings, "oversampling": 16, "filter": {"mean": 5}})
    )
    assert found["etc/piimage/sensors"] == (
        "air i2c-1 bme280 0x76 oversampling=16 in_temp_oversampling_ratio=2\n"
    )
    (entry,) = json.loads(found["etc/piimage/sensors.json"])["sensors"]
    assert entry["filter"] == {"mean": 5}


def test_a_rate_is_the_last_setting_and_the_service_knows_of_it() -> None:
    settings = {"in_accel_scale": "0.01"}
    found = files(appliance({**AIR, "settings": settings, "rate": 50}))
    assert found["etc/piimage/sensors"] == "air i2c-1 bme280 0x76 in_accel_scale=0.01 rate=50\n"
    (entry,) = json.loads(found["etc/piimage/sensors.json"])["sensors"]
    assert entry["rate"] == 50


def test_a_chip_on_1_wire_is_found_by_the_kernel_itself() -> None:
    found = files(appliance(TANK, {**TANK, "name": "one", "serial": "28-000005e2fdc3"}))
    assert set(found) == {"etc/piimage/sensors.json"}
    assert json.loads(found["etc/piimage/sensors.json"])["sensors"] == [
        {"name": "tank", "chip": "ds18b20", "every": 10, "family": "28", "serial": None},
        {"name": "one", "chip": "ds18b20", "every": 10, "family": "28",
         "serial": "28-000005e2fdc3"},
    ]  # fmt: skip


def test_a_chip_without_a_name_is_made_known_and_not_published() -> None:
    found = files(appliance({"chip": "ds2482", "bus": "i2c1", "address": 0x18}))
    assert found["etc/piimage/sensors"] == "ds2482@18 i2c-1 ds2482 0x18\n"
    assert json.loads(found["etc/piimage/sensors.json"]) == {"sensors": []}


def test_the_service_has_its_list_without_sensors_too() -> None:
    assert files(appliance()) == {}
    assert set(files(appliance(services=[SERVICE]))) == {"etc/piimage/sensors.json"}


@pytest.mark.parametrize(
    ("overlays", "sensors", "added"),
    [
        (["w1-gpio"], [TANK], ("w1-gpio",)),
        (["w1-gpio"], [AIR], ()),
        ([], [AIR, TANK], ()),
        ([], [{**AIR, "rate": 50}], ("iio-trig-hrtimer",)),
        (["w1-gpio"], [{**AIR, "rate": 50}, TANK], ("w1-gpio", "iio-trig-hrtimer")),
    ],
)
def test_chips_and_the_master_of_1_wire_bring_their_modules(
    overlays: list[str], sensors: list[dict[str, object]], added: tuple[str, ...]
) -> None:
    found = appliance(*sensors, boot={"overlays": overlays})
    board = load_board("pi4")
    modules = plan_modules(found, board, UnpackedKernel((), ()), lock_of(found, board))
    assert modules.late == (*board.modules.late, *added)
    aliases = {"air": "i2c:bme280", "tank": "w1-family-0x28"}
    names = [str(sensor["name"]) for sensor in sensors]
    assert modules.chips == tuple(WantedChip(f"sensors.{n}", aliases[n]) for n in names)


def test_no_container_can_have_the_name_of_the_systems_program() -> None:
    """Process 1 would run only one of two services of one name."""
    stanza = files(appliance(AIR, services=[SERVICE]))["etc/finit.d/_sensors.conf"]
    (name,) = re.findall(r" name:(\S+) ", stanza)
    with pytest.raises(ValidationError):
        appliance(services=[{"name": name, "use": "sensors"}])


OVEN = {"chip": "max31855", "bus": "spi0", "cs": 1, "name": "oven"}


def test_a_chip_on_spi_is_an_entry_for_the_service_and_a_line_for_its_settings() -> None:
    found = files(appliance({**OVEN, "settings": {"sampling": 8}}))
    assert found["etc/piimage/sensors"] == "oven spi0 max31855 1 sampling=8\n"
    assert json.loads(found["etc/piimage/sensors.json"])["sensors"] == [
        {"name": "oven", "chip": "max31855", "every": 10, "bus": "spi0", "cs": 1}
    ]
    assert files(appliance({**OVEN, "name": None}))["etc/piimage/sensors"].startswith("max31855@1 ")


@pytest.mark.parametrize(("board", "bus"), [("pi4", "&spi"), ("pi5", "&{/spi0}")])
def test_chips_on_spi_are_an_overlay_of_the_card(
    board: str, bus: str, runner: Runner, tmp_path: Path
) -> None:
    found = appliance({**OVEN, "mode": 3}, board=board, boot={"overlays": ["spi0"]})
    source = spi_overlay(found, load_board(board))
    assert source is not None
    assert source.decode() == (
        f"/dts-v1/;\n/plugin/;\n\n{bus} {{\n"
        '\tspidev@1 {\n\t\tstatus = "disabled";\n\t};\n'
        '\tsensor@1 {\n\t\tcompatible = "max31855";\n\t\treg = <1>;\n'
        "\t\tspi-max-frequency = <1000000>;\n\t\tspi-cpol;\n\t\tspi-cpha;\n\t};\n};\n"
    )
    (tmp_path / "a.dtso").write_bytes(source)
    assert is_blob(compile_overlay(runner, tmp_path / "a.dtso"))
    applied = applied_overlays(load_board(board), boot_of(found, load_board(board)))
    assert applied[-2:] == ("spi0", "piimage-sensors")


def test_without_chips_on_spi_there_is_no_overlay() -> None:
    found = appliance(AIR)
    assert spi_overlay(found, load_board("pi4")) is None
    assert boot_of(found, load_board("pi4")).made == ()
    virt = appliance(OVEN, board="qemu-virt")
    assert spi_overlay(virt, load_board("qemu-virt")) is None
