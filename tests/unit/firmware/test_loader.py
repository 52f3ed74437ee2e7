"""The boot loader's choices at their limits (sources: chains.py)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from piimage.boards import load_board
from piimage.card.partitions import Partition, Table, encode
from piimage.errors import PiimageError
from piimage.firmware import chains
from piimage.firmware.card import Card
from piimage.firmware.chains import CHAINS
from piimage.firmware.config import Conditions, parse
from piimage.firmware.loader import (
    Attempt,
    Booted,
    _autoboot,
    _pair,
    _require_geometry,
    _require_second_stage,
    gpu_memory,
    require_start_files,
    total_memory,
)
from piimage.firmware.pi import _initramfs_path
from piimage.firmware.rules import RULES

MODEL = load_board("pi4").models[0]
PI4 = Attempt(MODEL, CHAINS["bcm2711"], CHAINS["bcm2711"].loaders[0])
OLD_PI4 = Attempt(MODEL, CHAINS["bcm2711"], CHAINS["bcm2711"].loaders[-1])


@dataclass
class Files:
    """A partition of which only this much is read."""

    files: dict[str, bytes] = field(default_factory=dict)
    sector: int = 512
    clusters: int = 20_000

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)

    def exists(self, path: str) -> bool:
        return path in self.files


def fat(**fields: Any) -> Any:
    return Files(**fields)


def settings(text: str) -> Any:
    return parse(text.encode(), "config.txt", Conditions())


@pytest.mark.parametrize(
    ("text", "memory", "gpu"),
    [
        ("", 512, 64), ("", 1023, 64), ("", 1024, 76), ("", 8192, 76),
        ("gpu_mem=16", 512, 16), ("gpu_mem=15", 512, 16), ("gpu_mem=0", 512, 16),
        ("gpu_mem=128", 512, 128), ("gpu_mem=900", 512, 448), ("gpu_mem=2000", 4096, 960),
        ("gpu_mem=32\ngpu_mem_512=100", 512, 100), ("gpu_mem=32\ngpu_mem_512=100", 1024, 32),
        ("gpu_mem_256=48", 256, 48), ("gpu_mem_1024=120", 1024, 120),
        ("gpu_mem_1024=120", 4096, 120), ("gpu_mem_1024=120", 512, 64),
        ("total_mem=256\ngpu_mem_256=33", 1024, 33), ("total_mem=64", 1024, 64),
    ],
)  # fmt: skip
def test_the_memory_of_the_gpu(text: str, memory: int, gpu: int) -> None:
    """Documentation of gpu_mem: 64 and 76 MiB, 16 at least; 64 are left to the processor."""
    assert gpu_memory(settings(text), memory) == gpu


@pytest.mark.parametrize(
    ("text", "total"), [("", 1024), ("total_mem=512", 512), ("total_mem=127", 128),
                        ("total_mem=128", 128), ("total_mem=2048", 1024)]
)  # fmt: skip
def test_the_memory_that_is_used(text: str, total: int) -> None:
    """Documentation of total_mem: 128 at least."""
    assert total_memory(settings(text), 1024) == total


def test_the_limits_of_the_sources() -> None:
    """Documentation of bootcode.bin, kernel_address; start4.elf for unpacked kernels."""
    assert chains.SECOND_STAGE_BYTES == 131_072
    assert chains.KERNEL_ADDRESS == 2 * 1024 * 1024
    assert chains.UNPACKED_KERNEL_BYTES == 256 * 1024 * 1024


def booted(files: Any, attempt: Attempt = PI4) -> Booted:
    return Booted(attempt, 1, files, "card", "config.txt")


@pytest.mark.parametrize(
    ("text", "start", "reason"),
    [
        ("", "start4.elf", "default firmware"),
        ("gpu_mem=32", "start4.elf", "default firmware"),
        ("gpu_mem=31", "start4cd.elf", "cut-down firmware, because the GPU has 31 MiB"),
        ("gpu_mem=31\nstart_debug=1", "start4cd.elf", "cut-down firmware, because .*"),
        ("start_x=1", "start4x.elf", "start_x=1"),
        ("start_debug=1\nstart_x=1", "start4db.elf", "start_debug=1"),
        ("start_x=0\nstart_debug=0", "start4.elf", "default firmware"),
        ("start_file=a.elf", "a.elf", "config.txt:1: start_file=a.elf"),
    ],
)
def test_which_firmware_is_loaded(text: str, start: str, reason: str) -> None:
    pair, why = _pair(booted(fat()), settings(text))
    assert pair.start == start
    assert re.fullmatch(reason, why)


@pytest.mark.provokes("firmware.start-files")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start_file=start4x.elf", "start4x.elf and fixup4.dat do not match"),
        (
            "start_file=start4cd.elf\ngpu_mem=32",
            "needs gpu_mem=16, and does not start by start_fil",
        ),
        (
            "start_file=start4.elf\nfixup_file=fixup4x.dat",
            "start4.elf and fixup4x.dat do not match",
        ),
    ],
)
def test_firmware_that_would_not_start(text: str, message: str) -> None:
    with pytest.raises(PiimageError, match=message):
        _pair(booted(fat()), settings(text))


def test_firmware_by_name_with_its_own_fixups() -> None:
    text = "start_file=start4x.elf\nfixup_file=fixup4x.dat"
    assert _pair(booted(fat()), settings(text))[0].fixup == "fixup4x.dat"
    text = "start_file=start4cd.elf\nfixup_file=fixup4cd.dat\ngpu_mem=16"
    assert _pair(booted(fat()), settings(text))[0].start == "start4cd.elf"


@pytest.mark.provokes("firmware.start-files")
@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"the Pi needs start4\.elf \(default firmware\), but the file is missing"),
        ({"start4.elf": b"\x7fELF"}, r"the Pi needs fixup4\.dat \(default firmware\)"),
        (
            {"start4.elf": b"ELF", "fixup4.dat": b""},
            r"start4\.elf is not firmware: it is not an ELF",
        ),
    ],
)
def test_firmware_that_is_missing(files: dict[str, bytes], message: str) -> None:
    with pytest.raises(PiimageError, match=message):
        require_start_files(booted(fat(files=files)), settings(""))


def test_firmware_that_is_there_or_in_the_eeprom() -> None:
    whole = {"start4.elf": b"\x7fELF", "fixup4.dat": b""}
    require_start_files(booted(fat(files=whole)), settings(""))
    chain = CHAINS["bcm2712"]
    require_start_files(booted(fat(), Attempt(MODEL, chain, chain.loaders[0])), settings(""))


@pytest.mark.parametrize(
    ("clusters", "right"),
    [(4069, 1), (4070, 0), (4085, 0), (4100, 0), (4101, 1), (65509, 1), (65510, 0), (65540, 0),
     (65541, 1)],
)  # fmt: skip
def test_the_number_of_clusters_leaves_no_doubt(clusters: int, right: int) -> None:
    """fatgen103: 16 clusters of distance to the boundaries 4085 and 65525."""
    files = fat(clusters=clusters)
    if right:
        _require_geometry(files, "p", PI4)
    else:
        with pytest.raises(PiimageError, match=f"with {clusters} clusters, boot loaders disagree"):
            _require_geometry(files, "p", PI4)
    chain = CHAINS["none"]
    _require_geometry(files, "p", Attempt(MODEL, chain, chain.loaders[0]))


@pytest.mark.provokes("firmware.fat-geometry")
def test_boot_roms_need_sectors_of_512_bytes() -> None:
    with pytest.raises(PiimageError, match="its sectors have 1024 bytes"):
        _require_geometry(fat(sector=1024), "p", PI4)


@pytest.mark.parametrize(("size", "right"), [(0, 0), (1, 1), (131_072, 1), (131_073, 0)])
def test_the_cache_of_the_boot_rom_has_128_kib(size: int, right: int) -> None:
    files, chain = fat(files={"bootcode.bin": bytes(size)}), CHAINS["bcm2837"]
    if right:
        _require_second_stage(files, "p", chain)
    else:
        with pytest.raises(PiimageError, match=f"bootcode.bin has {size} bytes; the limit of the"):
            _require_second_stage(files, "p", chain)
    _require_second_stage(fat(), "p", CHAINS["bcm2711"])


@pytest.mark.provokes("firmware.autoboot-too-long")
def test_autoboot_has_512_bytes_at_most() -> None:
    text = b"boot_partition=2\n".ljust(512, b"#")
    assert _autoboot(fat(files={"autoboot.txt": text}), "p", PI4).number("boot_partition", 0) == 2
    assert _autoboot(fat(), "p", PI4).items == ()
    with pytest.raises(PiimageError, match=r"autoboot\.txt has 513 bytes"):
        _autoboot(fat(files={"autoboot.txt": text + b"#"}), "p", PI4)


def test_what_an_old_boot_loader_makes_of_tryboot() -> None:
    text = b"[all]\nboot_partition=2\n[tryboot]\nboot_partition=3\n"
    files = fat(files={"autoboot.txt": text})
    assert _autoboot(files, "p", PI4).number("boot_partition", 0) == 2
    old = _autoboot(files, "p", OLD_PI4)
    assert old.number("boot_partition", 0) == 3
    assert old.remarks == ("autoboot.txt:3: this boot loader does not know the filter [tryboot]",)
    tried = Attempt(MODEL, PI4.chain, PI4.loader, tryboot=True)
    assert _autoboot(files, "p", tried).number("boot_partition", 0) == 3


@pytest.mark.parametrize(
    ("text", "kernel", "path"),
    [
        ("", "kernel8.img", None),
        ("auto_initramfs=0", "kernel8.img", None),
        ("auto_initramfs=1", "kernel8.img", "initramfs8"),
        ("auto_initramfs=1", "a/kernel_2712.img", "a/initramfs_2712"),
        ("auto_initramfs=1", "kernels.d/kernel8.img", "kernels.d/initramfs8"),
        ("auto_initramfs=1\ninitramfs x followkernel", "kernel8.img", "p/x"),
    ],
)
def test_the_initramfs_that_belongs_to_a_kernel(text: str, kernel: str, path: str | None) -> None:
    """Documentation, "config.txt", auto_initramfs: beside the kernel, named like it."""
    assert _initramfs_path(settings(text), "p/", kernel) == path


def test_partitions_that_a_boot_loader_reads() -> None:
    """Types of FAT12, FAT16 and FAT32 in an MBR, and of an EFI system partition."""
    seen = set()
    for kind in range(1, 256):
        disk = encode(Table(1, {3: Partition(kind, 512, 512)})) + bytes(512)
        seen |= {kind} if Card(cast(Any, disk), "x").fat_numbers == (3,) else set()
    assert seen == {0x01, 0x04, 0x06, 0x0B, 0x0C, 0x0E, 0xEF}


def test_the_rules_are_on_the_page_that_is_made_of_them() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "firmware.md").read_text()
    errors = (Path(__file__).parents[3] / "docs" / "errors" / "firmware.md").read_text()
    lines = [line for line in page.splitlines() if "../errors/" in line]
    assert len(lines) == len(RULES)
    for rule, line in zip(RULES, lines, strict=True):
        assert line.startswith(f"| {rule.text} | [{rule.code}](")
        assert line.endswith(f" | {rule.source} |")
        assert f"## {rule.code}\n" in errors
