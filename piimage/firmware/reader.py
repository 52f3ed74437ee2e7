"""A card as the firmware sees it: which kernel, initramfs, device tree and command line it starts.

The firmware is lenient: what it does not understand it passes over. So does this reader, and keeps
a remark of it; what would leave a Pi dark is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piimage.boards import Board
from piimage.errors import PiimageError
from piimage.firmware import config, devicetree
from piimage.firmware.card import Card, open_card
from piimage.firmware.config import Conditions, Settings
from piimage.firmware.fat import FatReader
from piimage.run import Runner

_GZIP: Final = b"\x1f\x8b"
_ARM64_MAGIC: Final = b"ARM\x64"  # Linux: Documentation/arch/arm64/booting.rst, "header"
_ARM64_MAGIC_AT: Final = 0x38


@dataclass(frozen=True)
class BootFiles:
    """What the firmware of a board loads from a card, and starts."""

    partition: int
    """The partition that was booted."""
    prefix: str
    """The `os_prefix` in force."""
    tryboot: bool
    kernel_path: str
    kernel: bytes
    initramfs: bytes | None
    device_tree: bytes | None
    """The device tree with the overlays applied; None when the machine brings its own."""
    overlays: tuple[str, ...]
    cmdline: str
    remarks: tuple[str, ...]
    """What the firmware passed over without a word."""


@dataclass(frozen=True)
class _Booted:
    """One partition that the boot loader chose, and how."""

    number: int
    files: FatReader
    place: str
    tryboot: bool
    config_name: str


def read_card(image: Path, board: Board, runner: Runner, *, tryboot: bool = False) -> BootFiles:
    """Return what `board` boots from the card `image`; with `tryboot`, what it tries once.

    Raises PiimageError: ``card.no-table``, ``firmware.no-image``, ``firmware.damaged-fat``,
    ``firmware.no-boot-partition``, ``firmware.autoboot-too-long``, ``firmware.missing-file``,
    ``firmware.bad-kernel``, ``firmware.kernel-32bit``, ``firmware.overlay-refused``,
    ``firmware.bad-device-tree``.
    """
    with open_card(image) as card:
        booted = _choose(card, board, tryboot)
        return _load(booted, board, runner)


def _choose(card: Card, board: Board, tryboot: bool) -> _Booted:
    """Go from the first FAT partition to the one that autoboot.txt names."""
    if not card.fat_numbers:
        raise PiimageError(
            "firmware.no-boot-partition",
            "the card has no FAT partition",
            place=card.origin,
            hint="build the image again",
        )
    number = first = card.fat_numbers[0]
    chooser = Settings()
    if board.firmware.selects_partition:
        chooser = _autoboot(card.fat(first), f"{card.origin}: partition {first}", tryboot)
        number = chooser.number("boot_partition", 0) or first
    if number not in card.fat_numbers:
        raise PiimageError(
            "firmware.no-boot-partition",
            f"autoboot.txt asks for partition {number}, which is no FAT partition of this card",
            place=card.origin,
            hint=f"boot_partition can be {_listed(card.fat_numbers)}",
        )
    # With tryboot_a_b the partition is what is tried, else the file.
    tries_file = tryboot and not chooser.number("tryboot_a_b", 0)
    name = "tryboot.txt" if tries_file else "config.txt"
    return _Booted(number, card.fat(number), f"{card.origin}: partition {number}", tryboot, name)


def _autoboot(files: FatReader, place: str, tryboot: bool) -> Settings:
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
    return config.parse(text, "autoboot.txt", Conditions(tryboot=tryboot))


def _load(booted: _Booted, board: Board, runner: Runner) -> BootFiles:
    settings = _config(booted, board)
    if not settings.number("arm_64bit", int(board.firmware.arm_64bit)):
        raise PiimageError(
            "firmware.kernel-32bit",
            "the firmware would start the kernel in 32-bit mode",
            place=booted.place,
            hint="config.txt needs arm_64bit=1",
        )
    prefix = _prefix(booted, board, settings)
    kernel_path = prefix + settings.text("kernel", board.firmware.kernel)
    kernel = _kernel(booted, kernel_path)
    initramfs = _initramfs_path(settings, prefix, kernel_path)
    overlays, remarks = _overlays(booted, settings, prefix)
    base_path = _device_tree_path(board, settings)
    base = None if base_path is None else _need(booted, prefix + base_path, "device tree")
    fitted = (
        None
        if base is None
        else devicetree.apply_overlays(runner, base, overlays, origin=booted.place)
    )
    cmdline, missing = _cmdline(booted, settings, prefix)
    return BootFiles(
        partition=booted.number,
        prefix=prefix,
        tryboot=booted.tryboot,
        kernel_path=kernel_path,
        kernel=kernel,
        initramfs=None if initramfs is None else _need(booted, initramfs, "initramfs"),
        device_tree=fitted,
        overlays=tuple(name for name, _ in overlays),
        cmdline=cmdline,
        remarks=(*settings.remarks, *remarks, *missing),
    )


def _config(booted: _Booted, board: Board) -> Settings:
    text = booted.files.read(booted.config_name)
    if text is None:
        raise _missing(booted, booted.config_name, "configuration")
    conditions = Conditions(frozenset(board.firmware.filters), booted.tryboot, booted.number)
    return config.parse(text, booted.config_name, conditions, booted.files.read)


def _prefix(booted: _Booted, board: Board, settings: Settings) -> str:
    """Return `os_prefix`, which the firmware drops when kernel or device tree are not there."""
    default = "upstream/" if settings.number("upstream_kernel", 0) else ""
    prefix = settings.text("os_prefix", default)
    wanted = [settings.text("kernel", board.firmware.kernel), _device_tree_path(board, settings)]
    whole = all(booted.files.exists(prefix + name) for name in wanted if name is not None)
    return (
        prefix if whole or settings.last("os_prefix") is None else _dropped(prefix, wanted, booted)
    )


def _dropped(prefix: str, wanted: list[str | None], booted: _Booted) -> str:
    """Return what is left of an `os_prefix` whose folder is not whole: nothing, if that boots."""
    bare = all(booted.files.exists(name) for name in wanted if name is not None)
    return "" if bare else prefix


def _device_tree_path(board: Board, settings: Settings) -> str | None:
    named = settings.last("device_tree")
    return (named.value or None) if named is not None else board.firmware.device_tree


def _kernel(booted: _Booted, path: str) -> bytes:
    kernel = _need(booted, path, "kernel")
    image = kernel[_ARM64_MAGIC_AT : _ARM64_MAGIC_AT + len(_ARM64_MAGIC)] == _ARM64_MAGIC
    if not image and not kernel.startswith(_GZIP):
        raise PiimageError(
            "firmware.bad-kernel",
            f"{path} is no arm64 kernel, gzip or not",
            place=booted.place,
            hint="build the image again",
        )
    return kernel


def _initramfs_path(settings: Settings, prefix: str, kernel_path: str) -> str | None:
    named = config.initramfs_of(settings)
    if named is not None:
        return prefix + named
    if not settings.number("auto_initramfs", 0):
        return None
    # "kernel" becomes "initramfs", and the extension goes: kernel8.img, initramfs8.
    folder, slash, file = kernel_path.rpartition("/")
    return folder + slash + file.partition(".")[0].replace("kernel", "initramfs", 1)


def _overlays(
    booted: _Booted, settings: Settings, prefix: str
) -> tuple[list[tuple[str, bytes]], list[str]]:
    folder = settings.text("overlay_prefix", "overlays/")
    # The prefix holds for overlays only where a README says that there are some.
    if booted.files.exists(f"{prefix}{folder}README"):
        folder = prefix + folder
    found: list[tuple[str, bytes]] = []
    remarks: list[str] = []
    for overlay in config.overlays_of(settings):
        if overlay.parameters:
            names = ", ".join(overlay.parameters)
            remarks.append(f"{overlay.place}: no device tree here has the parameter {names}")
        if overlay.name:
            path = f"{folder}{overlay.name}.dtbo"
            found.append((overlay.name, _need(booted, path, "overlay")))
    return found, remarks


def _cmdline(booted: _Booted, settings: Settings, prefix: str) -> tuple[str, list[str]]:
    path = prefix + settings.text("cmdline", "cmdline.txt")
    text = booted.files.read(path)
    if text is None:
        return "", [f"{path} is not there: the kernel gets no command line"]
    lines = text.decode("utf-8", errors="replace").replace("\0", "").splitlines()
    ignored = [f"{path}: only the first line is read"] if any(map(str.strip, lines[1:])) else []
    return (lines[0].strip() if lines else ""), ignored


def _need(booted: _Booted, path: str, what: str) -> bytes:
    content = booted.files.read(path)
    if content is None:
        raise _missing(booted, path, what)
    return content


def _missing(booted: _Booted, path: str, what: str) -> PiimageError:
    return PiimageError(
        "firmware.missing-file",
        f"the {what} {path} is not there",
        place=booted.place,
        hint=f"build the image again, or correct what {booted.config_name} names",
    )


def _listed(numbers: tuple[int, ...]) -> str:
    return " or ".join(str(number) for number in numbers)
