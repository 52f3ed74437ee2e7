"""Small cards and device trees for tests."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from piimage.board import Board, Model
from piimage.boards import load_board
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

AUTOBOOT = b"[all]\ntryboot_a_b=1\nboot_partition=2\n[tryboot]\nboot_partition=3\n"
CONFIG = b"arm_64bit=1\nkernel=kernel.img\ninitramfs initramfs.img followkernel\n"
DTB = b"device_tree=board.dtb\n"
SLOT: Mapping[str, bytes] = {
    "config.txt": CONFIG,
    "cmdline.txt": b"console=ttyAMA0 quiet\n",
    "kernel.img": KERNEL,
    "initramfs.img": b"initramfs A",
}
_ELF = b"\x7fELF fake firmware, which no test runs"
FIRMWARE: Mapping[str, Mapping[str, bytes]] = {
    "bcm2837": {"bootcode.bin": bytes(512), "start.elf": _ELF, "fixup.dat": b"fixup"},
    "bcm2711": {"start4.elf": _ELF, "fixup4.dat": b"fixup"},
    "bcm2712": {},
    "none": {},
}
"""The first files that each chain loads; their content is fake."""


def board_of(name: str, *models: Model) -> Board:
    """Return the board `name` with one model whose device tree is board.dtb, or with `models`."""
    board = load_board(name)
    if not models and board.trees:
        models = (board.models[0].model_copy(update={"tree": "broadcom/board.dtb"}),)
    return board.model_copy(update={"models": models or board.models})


def firmware_of(name: str) -> Mapping[str, bytes]:
    return FIRMWARE[load_board(name).firmware.chain]


def card(runner: Runner, target: Path, *partitions: Mapping[str, bytes]) -> Path:
    """Write a card with a FAT for each of `partitions`."""
    volumes = tuple(
        FatVolume(f"p{n}", f"P{n}", n, 4 << 20, dict(files), bits=16)
        for n, files in enumerate(partitions, 1)
    )
    write_card(runner, CardPlan("test", 1, volumes), target)
    return target


@functools.cache
def blob(source: str) -> bytes:
    """Return the compiled device tree; many cards hold the same."""
    return Runner().run(["dtc", "-q", "-@", "-I", "dts", "-O", "dtb"], stdin=source.encode()).stdout


def prop(runner: Runner, tree: bytes, folder: Path, node: str, name: str) -> str:
    """Return a property of `tree`, as fdtget reads it."""
    file = folder / "tree.dtb"
    file.write_bytes(tree)
    return runner.run(["fdtget", file, node, name]).text.strip()
