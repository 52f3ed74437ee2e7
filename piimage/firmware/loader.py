"""The stages before the kernel's: which partition is booted, with which firmware and memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from piimage.boards import Model
from piimage.errors import PiimageError
from piimage.firmware import chains, config
from piimage.firmware.card import Card
from piimage.firmware.chains import Chain, Loader, Pair
from piimage.firmware.config import Conditions, Settings
from piimage.firmware.fat import FatReader

_ELF: Final = b"\x7fELF"
_BOUNDARIES: Final = (4085, 65525)
"""Clusters from which on a file system is FAT16, and FAT32 (FAT specification, section 3.5)."""
_NEAR: Final = 16
"""The specification's own advice: keep away from the boundaries by so many clusters."""


@dataclass(frozen=True)
class Attempt:
    """One way to switch a Pi on: the model, the age of its boot loader, the flag of tryboot."""

    model: Model
    chain: Chain
    loader: Loader
    tryboot: bool = False

    def conditions(self, partition: int) -> Conditions:
        """Return what the filters of config.txt on `partition` are held against."""
        return Conditions(
            frozenset(self.model.filters), self.tryboot, partition, self.loader.knows_tryboot
        )


@dataclass(frozen=True)
class Booted:
    """The partition that the boot loader chose, and what it read there first."""

    attempt: Attempt
    number: int
    files: FatReader
    place: str
    config_name: str
    """config.txt, or tryboot.txt when that is tried."""


def choose(card: Card, attempt: Attempt) -> Booted:
    """Go from the first FAT partition to the one that is booted, and to its firmware files.

    Raises PiimageError ``firmware.no-boot-partition``, ``firmware.autoboot-too-long``,
    ``firmware.fat-geometry``, ``firmware.second-stage``, ``firmware.missing-file``.
    """
    if not card.fat_numbers:
        raise PiimageError(
            "firmware.no-boot-partition",
            "the card has no FAT partition",
            place=card.origin,
            hint="build the image again",
        )
    number = first = card.fat_numbers[0]
    _require_geometry(card.fat(first), _place(card, first), attempt)
    _require_second_stage(card.fat(first), _place(card, first), attempt.chain)
    chooser = Settings()
    if attempt.chain.selects_partition:
        chooser = _autoboot(card.fat(first), _place(card, first), attempt)
        number = chooser.number("boot_partition", 0) or first
    if number not in card.fat_numbers:
        raise PiimageError(
            "firmware.no-boot-partition",
            f"autoboot.txt asks for partition {number}, which is no FAT partition of this card",
            place=card.origin,
            hint=f"boot_partition can be {_listed(card.fat_numbers)}",
        )
    # With tryboot_a_b the partition is what is tried, else the file.
    tries_file = attempt.tryboot and not chooser.number("tryboot_a_b", 0)
    name = "tryboot.txt" if tries_file else "config.txt"
    _require_geometry(card.fat(number), _place(card, number), attempt)
    return Booted(attempt, number, card.fat(number), _place(card, number), name)


def gpu_memory(settings: Settings, memory_mib: int) -> int:
    """Return the MiB that the GPU takes of a Pi with `memory_mib`.

    Source: documentation of gpu_mem, gpu_mem_256, gpu_mem_512, gpu_mem_1024 and total_mem;
    bootcode.bin for the least that stays for the processor.
    """
    total = total_memory(settings, memory_mib)
    default = chains.GPU_MEM_DEFAULT if total < 1024 else chains.GPU_MEM_DEFAULT_1024
    class_of = "gpu_mem_1024" if total >= 1024 else f"gpu_mem_{total}"
    asked = settings.number(class_of, settings.number("gpu_mem", default))
    reach = min(total, chains.GPU_REACH)
    return max(chains.GPU_MEM_LEAST, min(reach - chains.ARM_LEAST, asked))


def total_memory(settings: Settings, memory_mib: int) -> int:
    """Return the MiB that are used of a Pi with `memory_mib` (documentation of total_mem)."""
    return min(memory_mib, max(128, settings.number("total_mem", memory_mib)))


def early_settings(booted: Booted) -> Settings:
    """Return what the stage before start*.elf understands: it does not follow an include."""
    text = booted.files.read(booted.config_name)
    if text is None:
        raise missing(booted, booted.config_name, "configuration")
    conditions = booted.attempt.conditions(booted.number)
    return config.parse(text, booted.config_name, conditions)


def require_start_files(booted: Booted, settings: Settings) -> None:
    """Refuse a partition without the firmware files that `settings` make the Pi look for.

    Raises PiimageError ``firmware.start-files``.
    """
    if booted.attempt.chain.start_files is None:
        return
    pair, why = _pair(booted, settings)
    for name in (pair.start, pair.fixup):
        if not booted.files.exists(name):
            raise _start_files(booted, f"{why}: it looks for {name}, which is not there", name)
    content = booted.files.read(pair.start) or b""
    if not content.startswith(_ELF):
        raise _start_files(booted, f"{pair.start} is no firmware: it is no ELF file", pair.start)


def _pair(booted: Booted, settings: Settings) -> tuple[Pair, str]:
    """Return the pair that is loaded, and which setting asks for it."""
    known = booted.attempt.chain.start_files
    assert known is not None  # noqa: S101  # asked by the caller
    gpu = gpu_memory(settings, booted.attempt.model.memory_mib)
    if (named := settings.last("start_file")) is not None:
        pair = Pair(named.value, settings.text("fixup_file", known.plain.fixup))
        pairs = (known.plain, known.cut_down, known.extended, known.debug)
        matched = {one.start: one.fixup for one in pairs}
        if pair.start == known.cut_down.start and gpu >= chains.PLAIN_GPU_MEM:
            raise _start_files(
                booted, f"{pair.start} runs with gpu_mem=16 alone, never as start_file", pair.start
            )
        if matched.get(pair.start, pair.fixup) != pair.fixup:
            raise _start_files(
                booted, f"{pair.start} and {pair.fixup} are no pair", matched[pair.start]
            )
        return pair, f"{named.place}: start_file={named.value}"
    if gpu < chains.PLAIN_GPU_MEM:
        return known.cut_down, f"{gpu} MiB for the GPU make the firmware take its cut-down form"
    if settings.number("start_debug", 0):
        return known.debug, "start_debug=1"
    if settings.number("start_x", 0):
        return known.extended, "start_x=1"
    return known.plain, "the firmware starts"


def _require_geometry(files: FatReader, place: str, attempt: Attempt) -> None:
    if not attempt.chain.is_pi:
        return
    near = [edge for edge in _BOUNDARIES if abs(files.clusters - edge) < _NEAR]
    what = ""
    if files.sector != 512:
        what = f"its sectors have {files.sector} bytes; boot ROMs read 512"
    elif near:
        what = f"{files.clusters} clusters: some take that for one kind of FAT, some for another"
    if what:
        raise PiimageError(
            "firmware.fat-geometry", what, place=place, hint="make the file system with mkfs.fat"
        )


def _require_second_stage(files: FatReader, place: str, chain: Chain) -> None:
    if chain.second_stage is None:
        return
    content = files.read(chain.second_stage)
    what = ""
    if content is None:
        what = f"{chain.second_stage} is not on the first FAT partition: the boot ROM finds nothing"
    elif not 0 < len(content) <= chains.SECOND_STAGE_BYTES:
        what = (
            f"{chain.second_stage} has {len(content)} bytes; the boot ROM takes up to "
            f"{chains.SECOND_STAGE_BYTES}"
        )
    if what:
        raise PiimageError(
            "firmware.second-stage", what, place=place, hint="take it from Debian's raspi-firmware"
        )


def _autoboot(files: FatReader, place: str, attempt: Attempt) -> Settings:
    text = files.read("autoboot.txt")
    if text is None:
        return Settings()
    if len(text) > config.MAX_AUTOBOOT:
        raise PiimageError(
            "firmware.autoboot-too-long",
            f"autoboot.txt has {len(text)} bytes; the boot loader reads up to "
            f"{config.MAX_AUTOBOOT} and ignores a longer file",
            place=place,
            hint="shorten it",
        )
    conditions = Conditions(tryboot=attempt.tryboot, knows_tryboot=attempt.loader.knows_tryboot)
    return config.parse(text, "autoboot.txt", conditions)


def missing(booted: Booted, path: str, what: str) -> PiimageError:
    """Return the error that a file is not there which the firmware is told to load."""
    return PiimageError(
        "firmware.missing-file",
        f"the {what} {path} is not there",
        place=booted.place,
        hint=f"build the image again, or correct what {booted.config_name} names",
    )


def _start_files(booted: Booted, what: str, name: str) -> PiimageError:
    return PiimageError(
        "firmware.start-files",
        what,
        place=booted.place,
        hint=f"put {name} on the card, or correct {booted.config_name} (gpu_mem from 32 on)",
    )


def _place(card: Card, number: int) -> str:
    return f"{card.origin}: partition {number}"


def _listed(numbers: tuple[int, ...]) -> str:
    return " or ".join(str(number) for number in numbers)
