"""The section `sensors:`: what is refused, where, and with which advice."""

from __future__ import annotations

from pathlib import Path

import pytest
from sensorkit.kernel.quantities import QUANTITIES as PUBLISHED

from piimage.config.lacks import findings
from piimage.config.load import load
from piimage.config.sensors import QUANTITIES
from piimage.errors import ErrorGroup, InputError

AIR = "chip: bme280, bus: i2c1, address: 0x76, name: air"
WITH_SERVICE = "services: [{name: sensors, use: sensors}]"


def errors(folder: Path, text: str) -> list[InputError]:
    file = folder / "a.yml"
    file.write_text(text)
    with pytest.raises((ErrorGroup, InputError)) as caught:
        load([file])
    found = caught.value
    group = found.errors if isinstance(found, ErrorGroup) else (found,)
    return [error for error in group if isinstance(error, InputError)]


def sensor(text: str, board: str = "pi4", more: str = "") -> str:
    return f"board: {board}\nsensors:\n  - {{ {text} }}\n{more}\n"


def test_every_form_of_a_bus_and_an_address(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    for bus in ("i2c1", "i2c-1", "/dev/i2c-1"):
        for address in ("0x76", "118", '"0x76"'):
            file.write_text(sensor(f"chip: bme280, bus: {bus}, address: {address}, name: air"))
            (found,) = load([file]).sensors
            assert (found.bus, found.address, found.every) == ("i2c1", 0x76, 10)


def test_offsets_are_for_what_the_service_publishes() -> None:
    assert QUANTITIES == PUBLISHED


@pytest.mark.provokes("config.value")
@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("chip: bme280, bus: i2c1, name: air", "a chip on I2C without an address", "0x76"),
        ("chip: bme280, bus: i2c1, address: 0x78, name: air", "0x78 is not a valid address",
         "0x03 to 0x77"),
        ("chip: bme280, bus: i2c1, address: up, name: air", "'up' is not a valid address", "0x76"),
        ("chip: bme280, bus: i2c1, address: 2, name: air", "2 is not a valid address", "0x03"),
        ("chip: bme280, bus: spi0.1, name: air", "'spi0.1' is a chip on a bus, not a bus",
         "bus: spi0, cs: 1"),
        ("chip: bme280, bus: /dev/spidev0.1, name: air", "'spidev0.1' is a chip on a bus",
         "bus: spi0, cs: 1"),
        ("chip: bme280, bus: spi0, name: air", "a chip on SPI without a chip select", "cs: 0"),
        ("chip: bme280, bus: spi0, address: 3, name: air", "address: is for chips on I2C", "cs:"),
        ("chip: bme280, bus: spi0, cs: 0, mode: 4, name: air", "4", "3"),
        ("chip: bme280, bus: spi0, cs: 0, speed: 10, name: air", "10", "1000"),
        (f"{AIR}, cs: 1", "cs: is for chips on SPI", "address:"),
        (f"{AIR}, mode: 3", "mode: is for chips on SPI", "address:"),
        ("chip: ds18b20, bus: w1, name: a, cs: 1", "cs: is for chips on SPI", "serial:"),
        ("chip: bme280, bus: can0, address: 3, name: air", "'can0' is not a valid bus", "i2c1"),
        ("chip: 'bme 280', bus: i2c1, address: 3, name: air", "'bme 280' is not a valid chip",
         "piimage sensors"),
        ("chip: bme280, bus: i2c1, address: 3, name: Air-1", "'Air-1' is not a valid name", "_"),
        (f"{AIR}, every: 0s", "0", "1s"),
        (f"{AIR}, offset: {{ temprature: 1 }}", "there is no quantity 'temprature'",
         "temperature"),
        (f"{AIR}, settings: {{ ../x: 1 }}", "'../x: 1' is no setting of a device", "NAME: VALUE"),
        (f"{AIR}, settings: {{ x: 1 2 }}", "'x: 1 2' is no setting of a device", "NAME: VALUE"),
        (f"{AIR}, filter: {{ median: 5, mean: 5 }}", "a filter is either a median or a mean",
         "{ median: 5 }"),
        (f"{AIR}, filter: {{}}", "a filter is either a median or a mean", "{ mean: 10 }"),
        (f"{AIR}, filter: {{ median: 1 }}", "1", "3"),
        (f"{AIR}, oversampling: 0", "0", "1"),
        ("chip: ds18b20, bus: w1, name: a, oversampling: 4",
         "oversampling: is for chips on I2C and SPI", "filter:"),
        ("chip: ds18b20, bus: w1, name: a, settings: { resolution: 9 }",
         "settings: is for chips on I2C and SPI", "filter:"),
        ("chip: ds18b20, bus: w1, name: a, rate: 5", "rate: is for chips on I2C and SPI",
         "filter:"),
        ("chip: mma8452, bus: i2c1, address: 0x1c, rate: 5", "rate: without a name", "gate"),
        (f"{AIR}, rate: 1001", "1001", "1000"),
        (f"{AIR}, rate: 1000, every: 30s",
         "30000 samples between two values do not fit into the buffer", "every: 20s at most"),
        (f"{AIR}, serial: 28-000005e2fdc3", "serial: is for chips on 1-Wire", "address:"),
        ("chip: ds18b20, bus: w1, name: a, address: 3", "address: is for chips on I2C", "serial:"),
        ("chip: ds18b21, bus: w1, name: a", "'ds18b21' is no thermometer on 1-Wire", "ds18b20"),
        ("chip: bme280, bus: w1, name: a", "'bme280' is no thermometer on 1-Wire",
         "one of ds1822, ds1825, ds18b20, ds18s20, ds28ea00"),
        ("chip: ds18b20, bus: w1, name: a, serial: 10-000005e2fdc3",
         "'10-000005e2fdc3' is no ds18b20", "28-"),
        ("chip: ds18b20, bus: w1, name: a, serial: 28-05", "'28-05' is not a valid serial number",
         "28-000005e2fdc3"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_refused_with_another(
    text: str, message: str, hint: str, tmp_path: Path
) -> None:
    (error,) = errors(tmp_path, sensor(text))
    assert error.code == "config.value"
    assert message in error.message
    assert hint in str(error.hint)
    assert str(error.place).startswith(f"{tmp_path}/a.yml:3:")


@pytest.mark.provokes("config.shared-address", "config.duplicate-name")
def test_two_chips_at_one_address_and_two_of_one_name(tmp_path: Path) -> None:
    text = (
        sensor(AIR).rstrip("\n")
        + "\n  - { chip: bh1750, bus: /dev/i2c-1, address: 118, name: air }\n"
    )
    first, second = errors(tmp_path, text)
    assert first.code == "config.shared-address"
    assert first.message == "two sensors have the address 0x76 on i2c1"
    assert first.place == f"{tmp_path}/a.yml:4:47"
    assert f"the first is at {tmp_path}/a.yml:3:41" in str(first.hint)
    assert second.code == "config.duplicate-name"


@pytest.mark.provokes("config.shared-address")
def test_two_chips_at_one_chip_select(tmp_path: Path) -> None:
    text = sensor("chip: bme280, bus: spi0, cs: 1, name: air", "pi4", SPI) + (
        "  - { chip: max31855, bus: spi0, cs: 1, name: oven }\n"
    )
    text = text.replace(f"{SPI}\n", "") + SPI
    (error,) = errors(tmp_path, text)
    assert error.code == "config.shared-address"
    assert error.message == "two sensors have the chip select 1 on spi0"
    assert "another chip select" in str(error.hint)


@pytest.mark.provokes("config.no-bus")
def test_a_chip_select_that_the_header_has_not(tmp_path: Path) -> None:
    text = sensor("chip: bme280, bus: spi0, cs: 2, name: air", more=SPI)
    (error,) = errors(tmp_path, text)
    assert error.message == "spi0 of the board pi4 has no chip select 2"
    assert error.place == f"{tmp_path}/a.yml:3:36"


@pytest.mark.provokes("config.no-bus")
@pytest.mark.parametrize(
    ("board", "bus", "found"),
    [
        ("pi4", "i2c3", "its buses are i2c1, spi0, w1"),
        ("qemu-virt", "i2c1", "it has none"),
    ],
)
def test_a_bus_that_the_board_has_not(board: str, bus: str, found: str, tmp_path: Path) -> None:
    text = sensor(f"chip: bme280, bus: {bus}, address: 0x76, name: air", board)
    (error,) = errors(tmp_path, text)
    assert error.code == "config.no-bus"
    assert error.message == f"the board {board} has no bus '{bus}'"
    assert str(error.hint).startswith(found)


def test_a_module_of_the_file_may_add_a_bus(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m/module.yml").write_text("name: m\nlicense: MIT\n")
    file = tmp_path / "a.yml"
    file.write_text(sensor(AIR, "qemu-virt", "modules: [{build: m}]"))
    assert load([file]).sensors[0].bus == "i2c1"


@pytest.mark.provokes("config.no-overlay")
@pytest.mark.parametrize(
    ("board", "text", "overlay"),
    [
        ("pi5", AIR, "i2c1"),
        ("pi4", "chip: ds18b20, bus: w1, name: a", "w1-gpio"),
        ("pi4", "chip: bme280, bus: spi0, cs: 0, name: a", "spi0"),
        ("pi5", "chip: bme280, bus: spi0, cs: 0, name: a", "spi0"),
    ],
)
def test_a_bus_that_needs_an_overlay(board: str, text: str, overlay: str, tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text(sensor(text, board))
    (found,) = findings([file], (), {})
    assert found.certain
    assert found.error.code == "config.no-overlay"
    assert f"boot: {{ overlays: [{overlay}]" in str(found.error.hint)
    file.write_text(sensor(text, board, f"boot: {{ overlays: [{overlay}] }}"))
    assert findings([file], (), {}) == ()


def test_a_chip_on_i2c_may_be_the_master_of_1_wire(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    master = "  - { chip: ds2482, bus: i2c1, address: 0x18 }\n"
    file.write_text(sensor("chip: ds18b20, bus: w1, name: a") + master)
    assert findings([file], (), {}) == ()
    assert [found.label for found in load([file]).sensors] == ["a", "ds2482@18"]


SPI = "boot: { overlays: [spi0] }"
CHECK = "test: {checks: [{sensor: SENSOR, within: [1, 2]}]}"


@pytest.mark.provokes("config.unknown-sensor", "config.no-sensors-service")
def test_a_check_of_a_sensor_needs_the_sensor_and_the_service(tmp_path: Path) -> None:
    text = sensor(AIR, more=CHECK.replace("SENSOR", "aire.temperature"))
    codes = {error.code: error for error in errors(tmp_path, text)}
    assert set(codes) == {"config.no-sensors-service", "config.unknown-sensor"}
    assert codes["config.unknown-sensor"].hint == "instead: air"
    assert "use: sensors" in str(codes["config.no-sensors-service"].hint)
    file = tmp_path / "a.yml"
    more = f"{CHECK.replace('SENSOR', 'air.temperature')}\n{WITH_SERVICE}"
    file.write_text(sensor(AIR, more=more))
    plan = load([file]).test
    assert plan is not None
    assert plan.checks[0].title == "air.temperature"


@pytest.mark.provokes("config.value")
@pytest.mark.parametrize(
    ("check", "message"),
    [
        ("sensor: air.temperature", "sensor: and within: belong together"),
        ("run: x, within: [1, 2]", "sensor: and within: belong together"),
        ("sensor: air.temperature, within: [2, 1]", "no value is within [2, 1]"),
        ("sensor: air, within: [1, 2]", "'air' is not a valid value of a sensor"),
        ("sensor: air.temperature, within: [1, 2], run: x", "a check with run and sensor"),
    ],
)
def test_a_check_that_cannot_be(check: str, message: str, tmp_path: Path) -> None:
    text = sensor(AIR, more=f"{WITH_SERVICE}\ntest: {{checks: [{{{check}}}]}}")
    assert message in "\n".join(error.message for error in errors(tmp_path, text))
