"""A card that a real Pi would not boot is refused, by the rule that it breaks."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from piimage.board import Board
from piimage.boards import load_board
from piimage.errors import ErrorGroup, PiimageError
from piimage.firmware.chains import CHAINS
from piimage.firmware.config import Conditions, parse
from piimage.firmware.loader import gpu_memory
from piimage.firmware.reader import read_card, require_bootable
from piimage.firmware.rules import RULES
from piimage.run import Runner
from tests.unit.firmware.cards import (
    AUTOBOOT,
    BASE,
    CONFIG,
    DTB,
    FOREIGN,
    GOOD,
    KERNEL,
    SLOT,
    blob,
    board_of,
    card,
    firmware_of,
)
from tests.unit.firmware.dark_cards import DARK

Files = Mapping[str, bytes]
ANY_TREE = """/dts-v1/;
/ {
	chosen { };
	aliases { };
	soc {
		gpio: gpio@1 { uart0_gpio14: pins { }; };
		uart0: serial@1 { };
		uart1: serial@2 { };
	};
};
"""


def errors_of(caught: pytest.ExceptionInfo[PiimageError]) -> list[PiimageError]:
    error = caught.value
    return list(error.errors) if isinstance(error, ErrorGroup) else [error]


# The four cards ---------------------------------------------------------------------------------

REASONS = {
    "pi3": ("firmware.start-files", "start_cd.elf", "Raspberry Pi 3 Model B,"),
    "zero2w": ("firmware.start-files", "start_cd.elf", "Raspberry Pi Zero 2 W"),
    "pi4": ("firmware.start-files", "start4cd.elf", "Raspberry Pi 400"),
    "pi5": ("firmware.missing-file", "bcm2712d0.dtbo", "Raspberry Pi 5 Model B Rev 1.1"),
}


def dark_card(runner: Runner, folder: Path, name: str, change: Callable[[str], str]) -> Path:
    content = {
        "KERNEL": KERNEL,
        "TREE": blob(ANY_TREE),
        "OVERLAY": blob("/dts-v1/; /plugin/; &uart1 { };"),
        "FIRMWARE": b"\x7fELF",
    }
    partitions = (
        {path: content.get(text, change(text).encode()) for path, text in files.items()}
        for files in DARK[name]
    )
    return card(runner, folder / f"{name}.img", *partitions)


@pytest.mark.parametrize("name", DARK)
def test_the_cards_that_no_pi_booted_are_refused_for_the_right_reason(
    name: str, runner: Runner, tmp_path: Path
) -> None:
    image = dark_card(runner, tmp_path, name, str)
    with pytest.raises(PiimageError) as caught:
        require_bootable(image, load_board(name), runner)
    code, file, model = REASONS[name]
    (error,) = (error for error in errors_of(caught) if error.code == code)
    assert file in error.message
    assert model in error.message


def test_the_second_fault_of_the_pi_4_card_is_the_old_eeprom(
    runner: Runner, tmp_path: Path
) -> None:
    image = dark_card(runner, tmp_path, "pi4", lambda text: text.replace("gpu_mem=16\n", ""))
    with pytest.raises(PiimageError, match=r"EEPROMs before 2022-11-25: .*config\.txt") as caught:
        require_bootable(image, load_board("pi4"), runner)
    assert "partition 3" in str(caught.value.place)


# Each rule --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Breach:
    """A valid card of `board` with `changes` to a partition (None removes a file)."""

    rule: str
    message: str
    changes: Mapping[str, bytes | None] = field(default_factory=dict)
    board: str = "pi4"
    partition: int = 2
    patch: Callable[[bytearray], None] = lambda image: None
    """A change to the image itself."""


def _no_fat(image: bytearray) -> None:
    for number in range(3):
        image[446 + 16 * number + 4] = 0x83


def _sectors_of_1024(image: bytearray) -> None:
    # Halve all counts of sectors.
    start = 1 << 20
    image[start + 11 : start + 13] = (1024).to_bytes(2, "little")
    for at in (19, 22):
        value = int.from_bytes(image[start + at : start + at + 2], "little")
        image[start + at : start + at + 2] = (value // 2).to_bytes(2, "little")


def _no_boot_sector(image: bytearray) -> None:
    image[(1 << 20) + 510] = 0


def _few_clusters(image: bytearray) -> None:
    """Give the second file system 4,090 clusters, just above the limit of FAT12."""
    start = 5 << 20
    per_cluster = image[start + 13]
    reserved, fats = int.from_bytes(image[start + 14 : start + 16], "little"), image[start + 16]
    roots = int.from_bytes(image[start + 17 : start + 19], "little") * 32 // 512
    fat = int.from_bytes(image[start + 22 : start + 24], "little")
    count = reserved + fats * fat + roots + 4090 * per_cluster
    image[start + 19 : start + 21] = count.to_bytes(2, "little")


HUGE = gzip.compress(KERNEL)[:-4] + struct.pack("<I", 300 << 20)
BSS = KERNEL[:16] + struct.pack("<Q", 980 << 20) + KERNEL[24:]
BSS_450 = KERNEL[:16] + struct.pack("<Q", 450 << 20) + KERNEL[24:]


def config(text: bytes) -> dict[str, bytes | None]:
    return {"config.txt": CONFIG + DTB + text}


BREACHES = (
    Breach("FAT partition", "no FAT partition", patch=_no_fat),
    Breach("boot_partition", "partition 4", {"autoboot.txt": b"boot_partition=4"}, partition=1),
    Breach("bootable partition", "start4.elf", {"start4.elf": None}),
    Breach("length of autoboot.txt", "512", {"autoboot.txt": AUTOBOOT + b"#" * 500}, partition=1),
    Breach("[tryboot] before 2022-11", "EEPROMs before", {"autoboot.txt": AUTOBOOT}, partition=1),
    Breach("sectors", "1024 bytes", patch=_sectors_of_1024),
    Breach("kind of FAT", "4090 clusters", patch=_few_clusters),
    Breach("FAT", "no boot sector", patch=_no_boot_sector),
    Breach("bootcode.bin", "needs bootcode.bin", {"bootcode.bin": None}, "pi3", 1),
    Breach("size of bootcode.bin", "131073", {"bootcode.bin": bytes(131073)}, "pi3", 1),
    Breach("size of bootcode.bin", "0 bytes", {"bootcode.bin": b""}, "zero2w", 1),
    Breach("cut-down firmware", "start4cd.elf", config(b"gpu_mem=16")),
    Breach("cut-down firmware", "start4cd.elf", config(b"gpu_mem_1024=31")),
    Breach("cut-down firmware", "start_cd.elf", config(b"gpu_mem=16"), "pi3", 1),
    Breach("cut-down firmware", "start_cd.elf", config(b"gpu_mem_512=8"), "zero2w", 1),
    Breach("cut-down firmware by name", "needs gpu_mem=16", config(b"start_file=start4cd.elf")),
    Breach("start_x and start_debug", "start4x.elf", config(b"start_x=1")),
    Breach("start_x and start_debug", "start_db.elf", config(b"start_debug=1"), "pi3", 1),
    Breach("matched pair", "do not match", config(b"start_file=start4x.elf")),
    Breach("firmware is ELF", "not an ELF", {"start4.elf": b"MZ"}),
    Breach("firmware is ELF", "not an ELF", {"start4.elf": b""}),
    Breach("configuration", "config.txt", {"config.txt": None}),
    Breach("64 bits", "arm_64bit=1", {"config.txt": DTB + b"arm_64bit=0"}),
    Breach("64 bits", "arm_64bit=1", {"config.txt": DTB + b"kernel=kernel.img"}, "pi3", 1),
    Breach("kernel", "kernel kernel.img", {"kernel.img": None}),
    Breach("kernel is arm64", "kernel.img", {"kernel.img": b"MZ" + bytes(100)}),
    Breach("kernel is arm64", "kernel.img", {"kernel.img": gzip.compress(bytes(100))}),
    Breach("kernel is arm64", "kernel.img", {"kernel.img": b"\x1f\x8b" + bytes(64)}),
    Breach("kernel is arm64", "kernel.img", {"kernel.img": b""}),
    Breach("size of the kernel", "256 MiB", {"kernel.img": HUGE}),
    Breach("memory", "of memory", {"kernel.img": BSS}),
    Breach("memory", "of memory", {"kernel.img": BSS_450}, "zero2w", 1),
    Breach("initramfs", "initramfs initramfs.img", {"initramfs.img": None}),
    Breach("device tree", "device tree board.dtb", {"board.dtb": None}),
    Breach(
        "device tree of the model", "other.dtb", {"config.txt": CONFIG + b"device_tree=other.dtb"}
    ),
    Breach("device tree of the model", "its own choice", {"config.txt": CONFIG}),
    Breach("whole device tree", "damaged", {"board.dtb": b"\xd0\x0d\xfe\xed" + bytes(60)}),
    Breach(
        "whole device tree", "overlay x", {**config(b"dtoverlay=x"), "overlays/x.dtbo": b"nothing"}
    ),
    Breach("overlay", "overlays/y.dtbo", config(b"dtoverlay=y")),
    Breach("overlay applies", "foreign", config(b"dtoverlay=foreign")),
    Breach("stepping D0", "bcm2712d0.dtbo", {"overlays/bcm2712d0.dtbo": None}, "pi5"),
    Breach("os_check", "bcm2712-rpi-5-b.dtb", config(b"os_check=1"), "pi5"),
)


def valid(runner: Runner, name: str) -> list[dict[str, bytes]]:
    """Return the partitions of a card of the board `name` that breaks no rule."""
    slot = {
        **SLOT,
        **firmware_of(name),
        "config.txt": CONFIG + DTB + b"os_check=0\n",
        "board.dtb": blob(BASE),
        "overlays/README": b"overlays",
        "overlays/foreign.dtbo": blob(FOREIGN),
        "overlays/bcm2712d0.dtbo": blob(GOOD),
    }
    if not CHAINS[load_board(name).firmware.chain].selects_partition:
        return [slot]
    return [{"autoboot.txt": b"[all]\ntryboot_a_b=1\nboot_partition=2\n"}, slot, {}]


@pytest.mark.parametrize("name", ["pi3", "zero2w", "pi4", "pi5"])
def test_a_card_that_breaks_no_rule_boots(name: str, runner: Runner, tmp_path: Path) -> None:
    image = card(runner, tmp_path / "card.img", *valid(runner, name))
    require_bootable(image, with_one_tree(name), runner)


def with_one_tree(name: str) -> Board:
    """Return the board with board.dtb for all of its models."""
    board = load_board(name)
    models = [model.model_copy(update={"tree": "broadcom/board.dtb"}) for model in board.models]
    return board_of(name, *models)


CODES = {rule.name: rule.code for rule in RULES}
MARKS = (
    pytest.mark.provokes("firmware.autoboot-too-long"),
    pytest.mark.provokes("firmware.bad-device-tree"),
    pytest.mark.provokes("firmware.bad-kernel"),
    pytest.mark.provokes("firmware.damaged-fat"),
    pytest.mark.provokes("firmware.fat-geometry"),
    pytest.mark.provokes("firmware.kernel-32bit"),
    pytest.mark.provokes("firmware.missing-file"),
    pytest.mark.provokes("firmware.no-boot-partition"),
    pytest.mark.provokes("firmware.os-check"),
    pytest.mark.provokes("firmware.overlay-refused"),
    pytest.mark.provokes("firmware.second-stage"),
    pytest.mark.provokes("firmware.start-files"),
    pytest.mark.provokes("firmware.too-large"),
    pytest.mark.provokes("firmware.wrong-device-tree"),
)


def mark_of(breach: Breach) -> pytest.MarkDecorator:
    return next(mark for mark in MARKS if mark.args == (CODES[breach.rule],))


@pytest.mark.parametrize(
    "breach",
    [pytest.param(b, marks=mark_of(b), id=f"{b.rule}: {b.message}") for b in BREACHES],
)
def test_a_card_that_breaks_a_rule_is_refused_by_name(
    breach: Breach, runner: Runner, tmp_path: Path
) -> None:
    partitions = valid(runner, breach.board)
    files = partitions[breach.partition - 1]
    files.update({name: text for name, text in breach.changes.items() if text is not None})
    for name in (name for name, text in breach.changes.items() if text is None):
        del files[name]
    image = card(runner, tmp_path / "card.img", *partitions)
    written = image.read_bytes()
    breach.patch(data := bytearray(written))
    if data != written:  # a card is large, and few breaches are of this kind
        image.write_bytes(data)
    with pytest.raises(PiimageError) as caught:
        require_bootable(image, with_one_tree(breach.board), runner)
    first = errors_of(caught)[0]
    assert (first.code, breach.message in str(first)) == (CODES[breach.rule], True)


def test_a_card_breaks_each_rule() -> None:
    assert {breach.rule for breach in BREACHES} == {rule.name for rule in RULES}


def test_an_error_of_several_models_is_reported_once(runner: Runner, tmp_path: Path) -> None:
    partitions = valid(runner, "pi4")
    del partitions[1]["kernel.img"]
    image = card(runner, tmp_path / "card.img", *partitions)
    with pytest.raises(PiimageError) as caught:
        require_bootable(image, with_one_tree("pi4"), runner, origin="pi4.img")
    (error,) = errors_of(caught)
    assert error.message.startswith(
        "Raspberry Pi 4 Model B, Raspberry Pi 400, Raspberry Pi Compute Module 4: the kernel"
    )
    assert error.place == "pi4.img: partition 2"


# Cards that are not refused ----------------------------------------------------------------------


def test_the_stage_before_start_elf_does_not_follow_an_include(
    runner: Runner, tmp_path: Path
) -> None:
    (files,) = valid(runner, "pi3")
    files["config.txt"] += b"include more.txt\n"
    files["more.txt"] = b"gpu_mem=16\n"
    image = card(runner, tmp_path / "card.img", files)
    require_bootable(image, with_one_tree("pi3"), runner)


def test_the_cut_down_firmware_boots_if_it_is_on_the_card(runner: Runner, tmp_path: Path) -> None:
    (files,) = valid(runner, "zero2w")
    files["config.txt"] += b"gpu_mem=16\n"
    files |= {"start_cd.elf": b"\x7fELF", "fixup_cd.dat": b"fixup"}
    image = card(runner, tmp_path / "card.img", files)
    require_bootable(image, with_one_tree("zero2w"), runner)


def test_the_firmware_applies_the_overlay_of_a_stepping_before_all_others(
    runner: Runner, tmp_path: Path
) -> None:
    partitions = valid(runner, "pi5")
    partitions[1]["config.txt"] += b"dtoverlay=x\n"
    partitions[1]["overlays/x.dtbo"] = blob(GOOD)
    image = card(runner, tmp_path / "card.img", *partitions)
    d0 = board_of("pi5", with_one_tree("pi5").models[1])
    assert read_card(image, d0, runner).overlays == ("bcm2712d0", "x")
    assert read_card(image, with_one_tree("pi5"), runner).overlays == ("x",)


@pytest.mark.parametrize(
    ("text", "memory", "gpu"),
    [
        ("", 1024, 76),
        ("", 512, 64),
        ("gpu_mem=16", 1024, 16),
        ("gpu_mem=1", 1024, 16),
        ("gpu_mem=none", 1024, 16),
        ("gpu_mem=256", 4096, 256),
        ("gpu_mem=2000", 4096, 960),
        ("gpu_mem=500", 512, 448),
        ("gpu_mem=128\ngpu_mem_512=32", 512, 32),
        ("gpu_mem=128\ngpu_mem_512=32", 1024, 128),
        ("gpu_mem=128\ngpu_mem_1024=64", 8192, 64),
        ("total_mem=512\ngpu_mem_512=40", 4096, 40),
        ("total_mem=1", 1024, 64),
    ],
)
def test_the_gpu_gets_the_memory_of_the_documentation(text: str, memory: int, gpu: int) -> None:
    assert gpu_memory(parse(text.encode(), "config.txt", Conditions()), memory) == gpu


def test_each_chain_belongs_to_a_board_and_each_board_has_a_chain() -> None:
    names = ("pi3", "pi4", "pi5", "zero2w", "qemu-virt")
    assert {load_board(name).firmware.chain for name in names} == set(CHAINS)
