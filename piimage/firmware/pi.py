"""A card as a Pi's firmware reads it: the kernel, initramfs, device tree and command line it loads.

The firmware ignores what it does not understand. This reader does the same, and adds a remark; a
fault that would keep a Pi from booting is an error.
"""

from __future__ import annotations

import datetime
import struct
import zlib
from collections.abc import Iterator
from typing import Final

from piimage.board import Board
from piimage.errors import PiimageError
from piimage.firmware import chains, config, devicetree, loader
from piimage.firmware.bootfiles import BootFiles
from piimage.firmware.card import Card
from piimage.firmware.chains import CHAINS
from piimage.firmware.config import Settings
from piimage.firmware.loader import Attempt, Booted
from piimage.run import Runner

_GZIP: Final = b"\x1f\x8b"
_ARM64_MAGIC: Final = b"ARM\x64"  # Linux: Documentation/arch/arm64/booting.rst, "header"
_ARM64_MAGIC_AT: Final = 0x38
_ARM64_HEADER: Final = 64
_PACKED_HEADER: Final = 1 << 16
"""Compressed bytes that surely contain the kernel's header: gzip's header may have a name."""


def read(
    card: Card, board: Board, runner: Runner, *, tryboot: bool, eeprom: datetime.date | None
) -> BootFiles:
    """Return the files that the first model of `board` boots from `card`, perhaps with tryboot.

    `eeprom` is the date of its boot loader, if that is not the present one. Raises PiimageError:
    the errors of `loader.choose` and `loader.require_start_files`, ``firmware.missing-file``,
    ``firmware.bad-kernel``, ``firmware.kernel-32bit``, ``firmware.os-check``,
    ``firmware.wrong-device-tree``, ``firmware.overlay-refused``, ``firmware.bad-device-tree``,
    ``firmware.too-large``.
    """
    chain = CHAINS[board.firmware.chain]
    attempt = Attempt(board.models[0], chain, chain.loader_of(eeprom), tryboot)
    return _read(loader.choose(card, attempt), runner)


def refusals(card: Card, board: Board, runner: Runner) -> Iterator[PiimageError]:
    """Read `card` as each model of `board`, with each version of its boot loader.

    Yields each error once, with the models that it keeps from booting.
    """
    models: dict[tuple[str, str, str | None, str | None], list[str]] = {}
    chain = CHAINS[board.firmware.chain]
    for model in board.models:
        checked: set[int] = set()
        for version in chain.loaders:
            try:
                _read_once(checked, card, Attempt(model, chain, version), runner)
            except PiimageError as error:
                reason = (error.code, error.message, error.place, error.hint)
                suffix = "" if version == chain.loaders[0] else f" with {version.title}"
                models.setdefault(reason, []).append(model.title + suffix)
                break  # an older boot loader has the same fault
    for (code, message, place, hint), titles in models.items():
        yield PiimageError(code, f"{', '.join(titles)}: {message}", place=place, hint=hint)


def _read_once(checked: set[int], card: Card, attempt: Attempt, runner: Runner) -> None:
    """Read the booted partition, unless it is one of those `checked`; add it to them."""
    booted = loader.choose(card, attempt)
    if booted.number not in checked:
        _read(booted, runner)
        checked.add(booted.number)


def _read(booted: Booted, runner: Runner) -> BootFiles:
    early = loader.early_settings(booted)
    loader.require_start_files(booted, early)
    files = _load(booted, runner)
    _require_memory(booted, early, files)
    return files


def _load(booted: Booted, runner: Runner) -> BootFiles:
    attempt, settings = booted.attempt, _config(booted)
    chain = attempt.chain
    if not settings.number("arm_64bit", int(chain.arm_64bit)):
        raise PiimageError(
            "firmware.kernel-32bit",
            "the firmware would start the kernel in 32-bit mode",
            place=booted.place,
            hint="set arm_64bit=1 in config.txt",
        )
    prefix = _prefix(booted, settings)
    _require_os(booted, settings, prefix)
    kernel_path = prefix + settings.text("kernel", chain.kernel)
    kernel = _kernel(booted, kernel_path)
    initramfs = _initramfs_path(settings, prefix, kernel_path)
    overlays, remarks = _overlays(booted, settings, prefix)
    base_path = _device_tree_path(booted, settings)
    base = None if base_path is None else _need(booted, prefix + base_path, "device tree")
    device_tree = (
        None
        if base is None
        else devicetree.apply_overlays(runner, base, overlays, origin=booted.place)
    )
    cmdline, missing = _cmdline(booted, settings, prefix)
    return BootFiles(
        partition=booted.number,
        prefix=prefix,
        tryboot=attempt.tryboot,
        kernel_path=kernel_path,
        kernel=kernel,
        initramfs=None if initramfs is None else _need(booted, initramfs, "initramfs"),
        device_tree=device_tree,
        overlays=tuple(name for name, _ in overlays),
        cmdline=cmdline,
        remarks=(*settings.remarks, *remarks, *missing),
    )


def _config(booted: Booted) -> Settings:
    text = booted.files.read(booted.config_name)
    if text is None:
        raise loader.missing(booted, booted.config_name, "configuration")
    conditions = booted.attempt.conditions(booted.number)
    return config.parse(text, booted.config_name, conditions, booted.files.read)


def _prefix(booted: Booted, settings: Settings) -> str:
    """Return `os_prefix`, which the firmware drops if kernel or device tree are missing there."""
    default = "upstream/" if settings.number("upstream_kernel", 0) else ""
    prefix = settings.text("os_prefix", default)
    kernel = settings.text("kernel", booted.attempt.chain.kernel)
    needed = [kernel, _device_tree_path(booted, settings)]
    complete = all(booted.files.exists(prefix + name) for name in needed if name is not None)
    if complete or settings.last("os_prefix") is None:
        return prefix
    # It keeps the prefix if the files without it are missing too.
    bare = all(booted.files.exists(name) for name in needed if name is not None)
    return "" if bare else prefix


def _require_os(booted: Booted, settings: Settings, prefix: str) -> None:
    """Refuse a partition that the firmware would skip (documentation of os_check)."""
    chain = booted.attempt.chain
    if not chain.checks_os or not settings.number("os_check", 1):
        return
    if not booted.files.exists(f"{prefix}{chain.default_tree}"):
        raise PiimageError(
            "firmware.os-check",
            f"the firmware skips this partition, because {chain.default_tree} is missing",
            place=booted.place,
            hint="set os_check=0 in config.txt",
        )


def _device_tree_path(booted: Booted, settings: Settings) -> str | None:
    """Return the device tree that config.txt names for the model.

    Raises PiimageError ``firmware.wrong-device-tree`` if it belongs to another model.
    """
    setting = settings.last("device_tree")
    path = (setting.value or None) if setting is not None else None
    expected = booted.attempt.model.tree_name
    if expected is not None and path != expected:
        raise PiimageError(
            "firmware.wrong-device-tree",
            f"the firmware would load {path or 'a device tree of its own choice'} for "
            f"{booted.attempt.model.title}, whose device tree is {expected}",
            place=booted.place,
            hint=f"correct the filters around device_tree in {booted.config_name}",
        )
    return path


def _kernel(booted: Booted, path: str) -> bytes:
    kernel = _need(booted, path, "kernel")
    header = _header(kernel)
    if header[_ARM64_MAGIC_AT : _ARM64_MAGIC_AT + len(_ARM64_MAGIC)] != _ARM64_MAGIC:
        raise PiimageError(
            "firmware.bad-kernel",
            f"{path} is not an arm64 kernel",
            place=booted.place,
            hint="build the image again",
        )
    return kernel


def _header(kernel: bytes) -> bytes:
    """Return the header of the kernel, decompressed if the kernel is compressed."""
    if not kernel.startswith(_GZIP):
        return kernel[:_ARM64_HEADER]
    try:
        return zlib.decompressobj(wbits=31).decompress(kernel[:_PACKED_HEADER], _ARM64_HEADER)
    except zlib.error:
        return b""


def _unpacked_size(kernel: bytes) -> int:
    """Return the decompressed size of the kernel (RFC 1952: ISIZE ends a member)."""
    if not kernel.startswith(_GZIP):
        return len(kernel)
    return int.from_bytes(kernel[-4:], "little")


def _require_memory(booted: Booted, settings: Settings, files: BootFiles) -> None:
    """Refuse files that do not fit into the smallest memory that the model is sold with."""
    if not booted.attempt.chain.is_pi:
        return
    memory = booted.attempt.model.memory_mib
    unpacked = _unpacked_size(files.kernel)
    # Linux: Documentation/arch/arm64/booting.rst: image_size includes the memory after the image.
    (image_size,) = struct.unpack_from("<Q", _header(files.kernel), 16)
    needed = chains.KERNEL_ADDRESS + max(unpacked, image_size)
    needed += len(files.initramfs or b"") + len(files.device_tree or b"")
    usable = min(loader.total_memory(settings, memory), chains.GPU_REACH)
    available = (usable - loader.gpu_memory(settings, memory)) * chains.MIB
    message = ""
    if unpacked > chains.UNPACKED_KERNEL_BYTES:
        message = f"the kernel unpacks to {unpacked} bytes; the limit of the firmware is 256 MiB"
    elif needed > available:
        message = (
            f"kernel, initramfs and device tree need {needed} bytes of memory; {available} are "
            "available"
        )
    if message:
        raise PiimageError(
            "firmware.too-large", message, place=booted.place, hint="make the initramfs smaller"
        )


def _initramfs_path(settings: Settings, prefix: str, kernel_path: str) -> str | None:
    name = config.initramfs_of(settings)
    if name is not None:
        return prefix + name
    if not settings.number("auto_initramfs", 0):
        return None
    # The name is that of the kernel without its extension: initramfs8 for kernel8.img.
    folder, slash, file = kernel_path.rpartition("/")
    return folder + slash + file.partition(".")[0].replace("kernel", "initramfs", 1)


def _overlays(
    booted: Booted, settings: Settings, prefix: str
) -> tuple[list[tuple[str, bytes]], list[str]]:
    folder = settings.text("overlay_prefix", "overlays/")
    # The prefix applies to overlays only if their folder has a README.
    if booted.files.exists(f"{prefix}{folder}README"):
        folder = prefix + folder
    overlays: list[tuple[str, bytes]] = []
    remarks: list[str] = []
    model = booted.attempt.model
    if model.stepping is not None:
        # The firmware applies this overlay by itself, before all others.
        name = booted.attempt.chain.steppings[model.stepping]
        kind = f"overlay for the stepping {model.stepping}"
        overlays.append((name, _need(booted, f"{folder}{name}.dtbo", kind)))
    for overlay in config.overlays_of(settings):
        if overlay.parameters:
            names = ", ".join(overlay.parameters)
            remarks.append(f"{overlay.place}: no device tree here has the parameter {names}")
        if overlay.name:
            path = f"{folder}{overlay.name}.dtbo"
            overlays.append((overlay.name, _need(booted, path, "overlay")))
    return overlays, remarks


def _cmdline(booted: Booted, settings: Settings, prefix: str) -> tuple[str, list[str]]:
    path = prefix + settings.text("cmdline", "cmdline.txt")
    text = booted.files.read(path)
    if text is None:
        return "", [f"{path} is missing: the kernel gets no command line"]
    lines = text.decode("utf-8", errors="replace").replace("\0", "").splitlines()
    ignored = [f"{path}: only the first line is read"] if any(map(str.strip, lines[1:])) else []
    return (lines[0].strip() if lines else ""), ignored


def _need(booted: Booted, path: str, kind: str) -> bytes:
    content = booted.files.read(path)
    if content is None:
        raise loader.missing(booted, path, kind)
    return content
