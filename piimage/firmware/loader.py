"""The boot loader: it selects the partition, the firmware files and the GPU's memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from piimage.board import Model
from piimage.errors import PiimageError
from piimage.firmware import chains, config
from piimage.firmware.card import Card
from piimage.firmware.chains import Chain, Loader, Pair
from piimage.firmware.config import Conditions, Settings
from piimage.firmware.fat import FatReader

_ELF: Final = b"\x7fELF"
_BOUNDARIES: Final = (4085, 65525)
"""The least numbers of clusters of FAT16 and of FAT32 (FAT specification, section 3.5)."""
_NEAR: Final = 16
"""The distance to these boundaries, in clusters, that the specification recommends."""


@dataclass(frozen=True)
class Attempt:
    """One way to boot: the model, the version of its boot loader, the tryboot flag."""

    model: Model
    chain: Chain
    loader: Loader
    tryboot: bool = False

    def conditions(self, partition: int) -> Conditions:
        """Return the conditions for the filters of config.txt on `partition`."""
        return Conditions(
            frozenset(self.model.filters), self.tryboot, partition, self.loader.knows_tryboot
        )


@dataclass(frozen=True)
class Booted:
    """The partition that the boot loader selected, and its configuration file."""

    attempt: Attempt
    number: int
    files: FatReader
    place: str
    config_name: str
    """config.txt, or tryboot.txt if the boot loader tries that."""


def choose(card: Card, attempt: Attempt) -> Booted:
    """Select the partition to boot, from the first FAT partition on.

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
            f"autoboot.txt selects partition {number}, which is not a FAT partition of this card",
            place=card.origin,
            hint=f"boot_partition can be {_listed(card.fat_numbers)}",
        )
    # With tryboot_a_b, tryboot boots another partition; otherwise, another file. A boot loader that
    # does not know the filter does not know this setting.
    a_b = attempt.loader.knows_tryboot and chooser.number("tryboot_a_b", 0)
    name = "tryboot.txt" if attempt.tryboot and not a_b else "config.txt"
    if attempt.loader.walks and not _is_bootable(card, number, attempt):
        number = _walk(card, number, attempt)
    _require_geometry(card.fat(number), _place(card, number), attempt)
    return Booted(attempt, number, card.fat(number), _place(card, number), name)


def _is_bootable(card: Card, number: int, attempt: Attempt) -> bool:
    """Return whether the boot loader takes a partition for bootable, from its files alone."""
    try:
        return card.fat(number).exists(attempt.chain.bootable_by)
    except PiimageError:
        return False  # it cannot be read


def _walk(card: Card, number: int, attempt: Attempt) -> int:
    """Return the next bootable partition after `number`, from the last to the first, else `number`.

    Source: documentation of PARTITION_WALK. autoboot.txt is not read again.
    """
    after = [other for other in card.fat_numbers if other > number]
    before = [other for other in card.fat_numbers if other < number]
    found = (other for other in (*after, *before) if _is_bootable(card, other, attempt))
    return next(found, number)


def gpu_memory(settings: Settings, memory_mib: int) -> int:
    """Return the memory of the GPU, in MiB, on a Pi with `memory_mib`.

    Source: documentation of gpu_mem, gpu_mem_256, gpu_mem_512, gpu_mem_1024 and total_mem;
    bootcode.bin for the least memory of the processor.
    """
    total = total_memory(settings, memory_mib)
    default = chains.GPU_MEM_DEFAULT if total < 1024 else chains.GPU_MEM_DEFAULT_1024
    by_total = "gpu_mem_1024" if total >= 1024 else f"gpu_mem_{total}"
    requested = settings.number(by_total, settings.number("gpu_mem", default))
    reach = min(total, chains.GPU_REACH)
    return max(chains.GPU_MEM_LEAST, min(reach - chains.ARM_LEAST, requested))


def total_memory(settings: Settings, memory_mib: int) -> int:
    """Return the used memory, in MiB, of a Pi with `memory_mib` (documentation of total_mem)."""
    return min(memory_mib, max(128, settings.number("total_mem", memory_mib)))


def early_settings(booted: Booted) -> Settings:
    """Return the settings for the stage before start*.elf, which does not follow an include."""
    text = booted.files.read(booted.config_name)
    if text is None:
        raise missing(booted, booted.config_name, "configuration")
    conditions = booted.attempt.conditions(booted.number)
    return config.parse(text, booted.config_name, conditions)


def require_start_files(booted: Booted, settings: Settings) -> None:
    """Refuse a partition without the firmware files that the Pi loads by `settings`.

    Raises PiimageError ``firmware.start-files``.
    """
    if booted.attempt.chain.start_files is None:
        return
    pair, reason = _pair(booted, settings)
    for name in (pair.start, pair.fixup):
        if not booted.files.exists(name):
            message = f"the Pi needs {name} ({reason}), but the file is missing"
            raise _start_files(booted, message, name)
    content = booted.files.read(pair.start) or b""
    if not content.startswith(_ELF):
        message = f"{pair.start} is not firmware: it is not an ELF file"
        raise _start_files(booted, message, pair.start)


def _pair(booted: Booted, settings: Settings) -> tuple[Pair, str]:
    """Return the pair that is loaded, and the reason."""
    files = booted.attempt.chain.start_files
    assert files is not None  # noqa: S101  # checked by the caller
    gpu = gpu_memory(settings, booted.attempt.model.memory_mib)
    if (setting := settings.last("start_file")) is not None:
        pair = Pair(setting.value, settings.text("fixup_file", files.plain.fixup))
        pairs = (files.plain, files.cut_down, files.extended, files.debug)
        fixups = {known.start: known.fixup for known in pairs}
        if pair.start == files.cut_down.start and gpu >= chains.PLAIN_GPU_MEM:
            message = f"{pair.start} needs gpu_mem=16, and does not start by start_file"
            raise _start_files(booted, message, pair.start)
        if fixups.get(pair.start, pair.fixup) != pair.fixup:
            message = f"{pair.start} and {pair.fixup} do not match"
            raise _start_files(booted, message, fixups[pair.start])
        return pair, f"{setting.place}: start_file={setting.value}"
    if gpu < chains.PLAIN_GPU_MEM:
        return files.cut_down, f"cut-down firmware, because the GPU has {gpu} MiB"
    if settings.number("start_debug", 0):
        return files.debug, "start_debug=1"
    if settings.number("start_x", 0):
        return files.extended, "start_x=1"
    return files.plain, "default firmware"


def _require_geometry(files: FatReader, place: str, attempt: Attempt) -> None:
    if not attempt.chain.is_pi:
        return
    near = [boundary for boundary in _BOUNDARIES if abs(files.clusters - boundary) < _NEAR]
    message = ""
    if files.sector != 512:
        message = f"its sectors have {files.sector} bytes, but boot ROMs need 512"
    elif near:
        message = f"with {files.clusters} clusters, boot loaders disagree on the kind of FAT"
    if message:
        raise PiimageError(
            "firmware.fat-geometry", message, place=place, hint="make the file system with mkfs.fat"
        )


def _require_second_stage(files: FatReader, place: str, chain: Chain) -> None:
    if chain.second_stage is None:
        return
    content = files.read(chain.second_stage)
    message = ""
    if content is None:
        message = f"the boot ROM needs {chain.second_stage} on the first FAT partition"
    elif not 0 < len(content) <= chains.SECOND_STAGE_BYTES:
        message = (
            f"{chain.second_stage} has {len(content)} bytes; the limit of the boot ROM is "
            f"{chains.SECOND_STAGE_BYTES}"
        )
    if message:
        hint = "copy the file from Debian's raspi-firmware"
        raise PiimageError("firmware.second-stage", message, place=place, hint=hint)


def _autoboot(files: FatReader, place: str, attempt: Attempt) -> Settings:
    text = files.read("autoboot.txt")
    if text is None:
        return Settings()
    if len(text) > config.MAX_AUTOBOOT:
        raise PiimageError(
            "firmware.autoboot-too-long",
            f"autoboot.txt has {len(text)} bytes; the boot loader ignores a file of more than "
            f"{config.MAX_AUTOBOOT}",
            place=place,
            hint="shorten autoboot.txt",
        )
    conditions = Conditions(tryboot=attempt.tryboot, knows_tryboot=attempt.loader.knows_tryboot)
    return config.parse(text, "autoboot.txt", conditions)


def missing(booted: Booted, path: str, kind: str) -> PiimageError:
    """Return the error for a missing file that the firmware has to load."""
    return PiimageError(
        "firmware.missing-file",
        f"the {kind} {path} is missing",
        place=booted.place,
        hint=f"build the image again, or correct {booted.config_name}",
    )


def _start_files(booted: Booted, message: str, name: str) -> PiimageError:
    return PiimageError(
        "firmware.start-files",
        message,
        place=booted.place,
        hint=f"put {name} on the card, or correct {booted.config_name} (gpu_mem of 32 or more)",
    )


def _place(card: Card, number: int) -> str:
    return f"{card.origin}: partition {number}"


def _listed(numbers: tuple[int, ...]) -> str:
    return " or ".join(str(number) for number in numbers)
