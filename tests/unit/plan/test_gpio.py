"""The section `gpio:` as files, layers and packages of the system."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from piimage_lines.settings import Line, read_lines

from piimage.boards import load_board
from piimage.config.models import Appliance
from piimage.locking.requests import GPIO_ROOT, requests
from piimage.plan.agent import python_layers
from piimage.plan.gpio import gpio_files
from piimage.plan.sensors import sensor_files
from piimage.plan.slot import boot_of
from tests.unit.plan.locks import lock_of

DOOR = {
    "name": "door", "kind": "input", "line": 17, "active": "low", "pull": "up",
    "debounce": "20ms",
}  # fmt: skip
PUMP = {"name": "pump", "kind": "output", "line": 22, "at_shutdown": "on", "on_failure": "keep"}


def appliance(*lines: dict[str, object], **more: object) -> Appliance:
    return Appliance.model_validate({"board": "pi4", "gpio": lines, **more})


def files(found: Appliance) -> dict[str, bytes]:
    board = load_board(found.board)
    return {file.path: bytes(file.content) for file in gpio_files(found, board)}


def test_the_list_of_lines_is_what_the_program_on_the_pi_reads(tmp_path: Path) -> None:
    found = files(appliance(DOOR, PUMP))
    assert set(found) == {"etc/piimage/gpio.json", "etc/finit.d/_gpio.conf"}
    path = tmp_path / "gpio.json"
    path.write_bytes(found["etc/piimage/gpio.json"])
    chip = "pinctrl-bcm2711"
    assert read_lines(str(path)) == (
        Line("door", "input", chip, 17, active_low=True, pull="up", debounce=0.02),
        Line("pump", "output", chip, 22, on_failure=None, at_shutdown=True),
    )


def test_the_service_has_the_names_of_the_lines() -> None:
    found = {file.path: file.content for file in sensor_files(appliance(DOOR, PUMP))}
    assert set(found) == {"etc/piimage/sensors.json"}
    assert json.loads(bytes(found["etc/piimage/sensors.json"]))["lines"] == [
        {"name": "door", "kind": "input", "line": 17, "every": 10},
        {"name": "pump", "kind": "output", "line": 22, "every": 10},
    ]


def test_without_lines_there_is_nothing_of_it() -> None:
    found = appliance()
    lock = lock_of(found, load_board("pi4"))
    assert files(found) == {}
    assert list(python_layers(found, lock)) == []
    assert GPIO_ROOT not in {root.name for root in lock.roots}


def test_the_program_lies_above_the_python_that_services_share() -> None:
    found, board = appliance(DOOR), load_board("pi4")
    roots = {request.root: request.packages for request in requests(found, board, [])}
    assert roots[GPIO_ROOT] == ("python3-libgpiod",)
    layers = list(python_layers(found, lock_of(found, board)))
    assert [layer.name for layer in layers] == ["base python", "libgpiod", "what holds GPIO lines"]
    both = appliance(DOOR, services=[{"name": "sshd", "use": "sshd"}])
    names = [layer.name for layer in python_layers(both, lock_of(both, board))]
    assert names == [
        "base python", "libgpiod", "what holds GPIO lines", "the agent's libraries", "the agent",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("board", "keys", "set_by_firmware"),
    [
        ("pi4", {}, [("gpio", "22=op,dl")]),
        ("pi4", {"active": "low"}, [("gpio", "22=op,dh")]),
        ("pi4", {"at_boot": "on"}, [("gpio", "22=op,dh")]),
        ("pi4", {"at_boot": "on", "active": "low"}, [("gpio", "22=op,dl")]),
        ("pi4", {"chip": "mcp23017"}, []),
        ("qemu-virt", {"chip": "gpio-sim"}, []),
    ],
)
def test_the_firmware_sets_outputs_long_before_linux_does(
    board: str, keys: dict[str, object], set_by_firmware: list[tuple[str, str]]
) -> None:
    found = appliance({**PUMP, **keys}, board=board)
    assert list(boot_of(found, load_board(board)).config) == set_by_firmware
    assert boot_of(appliance(DOOR), load_board("pi4")).config == ()
