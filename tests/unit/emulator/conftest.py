"""Stand-ins for QEMU."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from piimage.emulator import qemu
from piimage.run import Runner, clean_environment
from tests.unit.firmware.cards import blob

Stand = Callable[[str], Runner]
_TREE = "/dts-v1/; / { #address-cells = <2>; #size-cells = <2>; chosen { }; };"


@pytest.fixture
def stand_in(tmp_path: Path) -> Stand:
    """Give a runner that finds a script in QEMU's place; it dumps a small device tree."""
    tree = tmp_path / "own-tree.dtb"
    tree.write_bytes(blob(Runner(), _TREE))

    def make(script: str, version: str = "10.0.2") -> Runner:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        program = folder / qemu.PROGRAM
        told = shlex.quote(f"QEMU emulator version {version} (a stand-in)")
        program.write_text(
            f'#!/bin/sh\n[ "$1" = --version ] && {{ echo {told}; exit; }}\n'
            f"case $* in *dumpdtb=*) f=${{*#*dumpdtb=}}; exec cp {tree} ${{f%% *}} ;; esac\n"
            f"{script}\n"
        )
        program.chmod(0o755)
        environment = clean_environment()
        environment["PATH"] = f"{folder}:{environment['PATH']}"
        return Runner(environment=environment)

    return make
