"""The section `gpio:`: what is refused, where, and with which advice."""

from __future__ import annotations

from pathlib import Path

import pytest

from piimage.config.gpio import GpioLine
from piimage.config.load import load

from .test_sensors import WITH_SERVICE, errors

DOOR = "name: door, kind: input, line: 17"
PUMP = "name: pump, kind: output, line: 22"


def lines(*entries: str, board: str = "pi4", more: str = "") -> str:
    listed = "".join(f"  - {{ {entry} }}\n" for entry in entries)
    return f"board: {board}\ngpio:\n{listed}{more}\n"


def test_a_line_has_defaults_for_all_but_name_kind_and_number(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text(lines(DOOR, f"{PUMP}, active: low"))
    door, pump = load([file]).gpio
    assert (door.active, door.pull, door.debounce, door.every) == ("high", None, 0, 10)
    assert (pump.at_boot, pump.state("on_failure"), pump.state("at_shutdown")) == (
        "off", False, False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "states"),
    [
        ({"at_boot": "on"}, (True, True)),
        ({"at_boot": True, "on_failure": False}, (False, True)),
        ({"on_failure": "keep", "at_shutdown": "on"}, (None, True)),
    ],
)
def test_the_states_of_an_output_follow_the_one_at_boot(
    keys: dict[str, object], states: tuple[bool | None, bool | None]
) -> None:
    line = GpioLine.model_validate({"name": "a", "kind": "output", "line": 1, **keys})
    assert (line.state("on_failure"), line.state("at_shutdown")) == states


@pytest.mark.parametrize(
    ("text", "seconds"), [("20ms", 0.02), ("1s", 1.0), ("0.5", 0.5), ("2", 2.0), ("0", 0.0)]
)
def test_every_form_of_a_time_to_debounce_for(text: str, seconds: float, tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text(lines(f"{DOOR}, debounce: {text}"))
    assert load([file]).gpio[0].debounce == seconds


@pytest.mark.provokes("config.value")
@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (f"{DOOR}, debounce: 20min", "'20min' is no time to debounce for", "20ms"),
        (f"{DOOR}, debounce: 11s", "'11s' is no time to debounce for", "0 to 10s"),
        (f"{DOOR}, at_boot: on", "at_boot: is for outputs", "leave out at_boot:"),
        (f"{DOOR}, on_failure: on", "on_failure: is for outputs", "for this input"),
        (f"{PUMP}, pull: up", "pull: is for inputs and counters", "for this output"),
        (f"{PUMP}, debounce: 1s", "debounce: is for inputs and counters", "leave out"),
        (f"{PUMP}, at_boot: keep", "keep", "on"),
        (f"{PUMP}, on_failure: up", "up", "keep"),
        ("name: a, kind: button, line: 3", "button", "input"),
        ("name: a, kind: input, line: 600", "600", "511"),
        (f"{DOOR}, chip: 'gpio sim'", "'gpio sim' is not a valid label of a GPIO chip", "gpio-sim"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_another(
    text: str, message: str, hint: str, tmp_path: Path
) -> None:
    (error,) = errors(tmp_path, lines(text))
    assert error.code == "config.value"
    assert message in error.message
    assert hint in str(error.hint)
    assert str(error.place).startswith(f"{tmp_path}/a.yml:3:")


@pytest.mark.provokes("config.no-line")
@pytest.mark.parametrize(
    ("board", "message", "hint"),
    [
        ("pi5", "the header of the board pi5 has no GPIO 28", "pin 11 is GPIO 17"),
        ("qemu-virt", "the board qemu-virt has no header with GPIO lines", "chip: gpio-sim.0"),
    ],
)
def test_a_line_that_the_board_has_not(board: str, message: str, hint: str, tmp_path: Path) -> None:
    (error,) = errors(tmp_path, lines("name: a, kind: input, line: 28", board=board))
    assert (error.code, error.message) == ("config.no-line", message)
    assert hint in str(error.hint)
    assert error.place == f"{tmp_path}/a.yml:3:35"


def test_a_line_of_another_chip_is_not_compared_with_the_header(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    other = "name: a, kind: input, line: 200, chip: mcp23017"
    file.write_text(lines(other, board="qemu-virt"))
    assert load([file]).gpio[0].chip == "mcp23017"
    file.write_text(lines(DOOR, "name: a, kind: input, line: 17, chip: mcp23017"))
    assert len(load([file]).gpio) == 2


@pytest.mark.provokes("config.shared-line")
def test_two_uses_of_one_line(tmp_path: Path) -> None:
    (error,) = errors(tmp_path, lines(DOOR, "name: bell, kind: output, line: 0x11"))
    assert (error.code, error.message) == (
        "config.shared-line", "two entries of gpio: have the line 17",
    )  # fmt: skip
    assert f"the first is at {tmp_path}/a.yml:3:38" in str(error.hint)


@pytest.mark.provokes("config.shared-line")
@pytest.mark.parametrize(
    ("board", "line", "more", "user"),
    [
        ("pi4", 2, "sensors: [{chip: bme280, bus: i2c1, address: 0x76, name: a}]", "the bus i2c1"),
        ("pi4", 3, "services: [{name: bmp280, use: bmp280}]", "the bus i2c1"),
        ("pi4", 2, "services: [{name: b, packages: [busybox], devices: [/dev/i2c-1]}]",
         "the bus i2c1"),
        ("pi4", 4, "boot: {overlays: [w1-gpio]}", "the overlay w1-gpio"),
        ("pi5", 4, "boot: {overlays: [w1-gpio]}", "the overlay w1-gpio"),
        ("pi4", 7, "boot: {overlays: [spi0]}", "the overlay spi0"),
        ("pi4", 10, "boot: {overlays: [spi0]}", "the overlay spi0"),
        ("pi5", 11, "boot: {overlays: [spi0]}", "the overlay spi0"),
        ("pi5", 3, "boot: {overlays: [i2c1]}", "the overlay i2c1"),
        ("pi3", 14, "", "the serial console (`console: false`)"),
        ("zero2w", 15, "console: hdmi", "the serial console (`console: false`)"),
    ],
)  # fmt: skip
def test_a_line_that_a_bus_of_the_file_uses(
    board: str, line: int, more: str, user: str, tmp_path: Path
) -> None:
    (error,) = errors(tmp_path, lines(f"name: door, kind: input, line: {line}", board=board,
                                      more=more))  # fmt: skip
    assert (error.code, error.message) == ("config.shared-line", f"GPIO {line} is used by {user}")


@pytest.mark.parametrize(
    ("board", "line", "more"),
    [
        ("pi4", 2, ""),
        ("pi4", 4, ""),
        ("pi4", 14, "console: false"),
        ("pi5", 14, ""),  # its console has a connector of its own
        ("pi4", 17, "boot: {overlays: [spi0, w1-gpio]}"),
    ],
)
def test_a_line_that_nothing_else_uses(board: str, line: int, more: str, tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text(lines(f"name: door, kind: input, line: {line}", board=board, more=more))
    assert load([file]).gpio[0].line == line


@pytest.mark.provokes("config.duplicate-name")
def test_a_line_and_a_chip_of_one_name(tmp_path: Path) -> None:
    more = "sensors: [{chip: bme280, bus: i2c1, address: 0x76, name: door}]"
    (error,) = errors(tmp_path, lines(DOOR, more=more))
    assert (error.code, error.message) == (
        "config.duplicate-name", "two sensors are named 'door'",
    )  # fmt: skip


def test_a_check_may_name_a_line(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    check = "test: {checks: [{sensor: door.input_active, within: [0, 1]}]}"
    file.write_text(lines(DOOR, more=f"{WITH_SERVICE}\n{check}"))
    assert load([file]).test is not None
