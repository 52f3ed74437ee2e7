"""A script in QEMU's place."""

from __future__ import annotations

import shlex
from pathlib import Path

from piimage.emulator import qemu
from piimage.run import Runner, clean_environment
from tests.unit.firmware.cards import blob

_TREE = "/dts-v1/; / { #address-cells = <2>; #size-cells = <2>; chosen { }; };"


def in_place_of_qemu(folder: Path, script: str, version: str = "10.0.2") -> Runner:
    """Return a runner that finds `script` as QEMU; it tells `version`, and dumps a small tree."""
    programs, tree = folder / "bin", folder / "own-tree.dtb"
    programs.mkdir(exist_ok=True)
    tree.write_bytes(blob(_TREE))
    program = programs / qemu.PROGRAM
    told = shlex.quote(f"QEMU emulator version {version} (a stand-in)")
    program.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && {{ echo {told}; exit; }}\n'
        f"case $* in *dumpdtb=*) f=${{*#*dumpdtb=}}; exec cp {tree} ${{f%% *}} ;; esac\n"
        f"{script}\n"
    )
    program.chmod(0o755)
    environment = clean_environment()
    environment["PATH"] = f"{programs}:{environment['PATH']}"
    return Runner(environment=environment)
