"""The power button of QEMU's virt machine: gpio-keys on its PL061, pressed through QMP."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from piimage.emulator.machine import Machine
from piimage.emulator.session import boot
from piimage.firmware.manifest import board_of
from piimage.run import Runner
from tests.system.boot.conftest import PATIENCE


def press_power_button(qmp: Path) -> None:
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(60)
        link.connect(str(qmp))
        with link.makefile("rw") as stream:
            stream.readline()  # QEMU greets
            for command in ("qmp_capabilities", "system_powerdown"):
                stream.write(json.dumps({"execute": command}) + "\n")
                stream.flush()
                while "return" not in json.loads(stream.readline()):
                    pass  # events come in between


def test_the_power_button_switches_off_in_order(
    virt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    qmp, argv = tmp_path / "qmp", Machine.argv
    monkeypatch.setattr(
        Machine,
        "argv",
        lambda self, monitor: [*argv(self, monitor), "-qmp", f"unix:{qmp},server=on,wait=off"],
    )
    with boot(virt, board_of(virt), Runner()) as session:
        session.wait_for("piimage: service hello_world: running", PATIENCE)
        press_power_button(qmp)
        session.wait_for("piimage: power button: switching off", PATIENCE)
        session.wait_for("piimage: service hello_world: stopped", PATIENCE)
        session.wait_end(PATIENCE)
        assert session.restarts == ()
