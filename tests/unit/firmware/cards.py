"""Small cards and device trees for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from piimage.card.fat import FatVolume
from piimage.card.image import CardPlan, write_card
from piimage.run import Runner

KERNEL = bytes(0x38) + b"ARM\x64" + b"kernel"
BASE = """/dts-v1/;
/ {
	model = "A board";
	chosen { };
	soc {
		uart0: serial@1 { status = "okay"; };
		i2c1: i2c@2 { status = "disabled"; };
	};
};
"""
GOOD = '/dts-v1/; /plugin/; &i2c1 { status = "okay"; };'
FOREIGN = '/dts-v1/; /plugin/; &i2c_arm { status = "okay"; };'


def card(runner: Runner, target: Path, *partitions: Mapping[str, bytes]) -> Path:
    """Write a card with a FAT for each of `partitions`."""
    volumes = tuple(
        FatVolume(f"p{n}", f"P{n}", n, 4 << 20, dict(files), bits=16)
        for n, files in enumerate(partitions, 1)
    )
    write_card(runner, CardPlan("test", volumes), target)
    return target


def blob(runner: Runner, source: str) -> bytes:
    return runner.run(["dtc", "-q", "-@", "-I", "dts", "-O", "dtb"], stdin=source.encode()).stdout


def prop(runner: Runner, tree: bytes, folder: Path, node: str, name: str) -> str:
    """Return a property of `tree`, as fdtget reads it."""
    file = folder / "tree.dtb"
    file.write_bytes(tree)
    return runner.run(["fdtget", file, node, name]).text.strip()
