"""A card as the firmware sees it: which kernel, initramfs, device tree and command line it starts.

The firmware is lenient: what it does not understand it passes over. So does this reader, and keeps
a remark of it; what would leave a Pi dark is an error.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piimage.boards import Board
from piimage.errors import PiimageError, raise_all
from piimage.firmware import chains, config, devicetree, loader
from piimage.firmware.card import Card, open_card
from piimage.firmware.chains import CHAINS
from piimage.firmware.config import Settings
from piimage.firmware.loader import Attempt, Booted
from piimage.run import Runner

_GZIP: Final = b"\x1f\x8b"
_ARM64_MAGIC: Final = b"ARM\x64"  # Linux: Documentation/arch/arm64/booting.rst, "header"
_ARM64_MAGIC_AT: Final = 0x38
_ARM64_HEADER: Final = 64
_PACKED_HEADER: Final = 1 << 16
"""Packed bytes that are sure to hold the header: gzip's own header may carry a name."""


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


def read_card(image: Path, board: Board, runner: Runner, *, tryboot: bool = False) -> BootFiles:
    """Return what the first model of `board` boots from the card `image`, or tries once.

    Raises PiimageError: ``card.no-table``, ``firmware.no-image``, ``firmware.damaged-fat``, what
    `loader.choose` and `loader.require_start_files` raise, ``firmware.missing-file``,
    ``firmware.bad-kernel``, ``firmware.kernel-32bit``, ``firmware.os-check``,
    ``firmware.wrong-device-tree``, ``firmware.overlay-refused``, ``firmware.bad-device-tree``,
    ``firmware.too-large``.
    """
    chain = CHAINS[board.firmware.chain]
    with open_card(image) as card:
        attempt = Attempt(board.models[0], chain, chain.loaders[0], tryboot)
        return _read(loader.choose(card, attempt), runner)


def require_bootable(
    image: Path, board: Board, runner: Runner, *, origin: str | None = None
) -> None:
    """Read the card `image` as each model of `board` would, with each age of its boot loader.

    Errors call it `origin`. Raises what `read_card` raises, for each model and age that would not
    boot.
    """
    with open_card(image, origin) as card:
        raise_all(_refusals(card, board, runner))


def _refusals(card: Card, board: Board, runner: Runner) -> Iterator[PiimageError]:
    """Give each reason once, with those whom it keeps from booting."""
    found: dict[tuple[str, str, str | None, str | None], list[str]] = {}
    chain = CHAINS[board.firmware.chain]
    for model in board.models:
        seen: set[int] = set()
        for age in chain.loaders:
            try:
                _read_unless(seen, card, Attempt(model, chain, age), runner)
            except PiimageError as error:
                reason = (error.code, error.message, error.place, error.hint)
                whom = model.title + ("" if age == chain.loaders[0] else f" with {age.title}")
                found.setdefault(reason, []).append(whom)
                break  # an older boot loader is no better
    for (code, message, place, hint), whom_all in found.items():
        yield PiimageError(code, f"{', '.join(whom_all)}: {message}", place=place, hint=hint)


def _read_unless(seen: set[int], card: Card, attempt: Attempt, runner: Runner) -> None:
    """Read what is booted, unless its partition is among those `seen`; it is one of them then."""
    booted = loader.choose(card, attempt)
    if booted.number not in seen:
        _read(booted, runner)
        seen.add(booted.number)


def _read(booted: Booted, runner: Runner) -> BootFiles:
    early = loader.early_settings(booted)
    loader.require_start_files(booted, early)
    files = _load(booted, runner)
    _require_room(booted, early, files)
    return files


def _load(booted: Booted, runner: Runner) -> BootFiles:
    attempt, settings = booted.attempt, _config(booted)
    chain = attempt.chain
    if not settings.number("arm_64bit", int(chain.arm_64bit)):
        raise PiimageError(
            "firmware.kernel-32bit",
            "the firmware would start the kernel in 32-bit mode",
            place=booted.place,
            hint="config.txt needs arm_64bit=1",
        )
    prefix = _prefix(booted, settings)
    _require_os(booted, settings, prefix)
    kernel_path = prefix + settings.text("kernel", chain.kernel)
    kernel = _kernel(booted, kernel_path)
    initramfs = _initramfs_path(settings, prefix, kernel_path)
    overlays, remarks = _overlays(booted, settings, prefix)
    base_path = _device_tree_path(booted, settings)
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
        tryboot=attempt.tryboot,
        kernel_path=kernel_path,
        kernel=kernel,
        initramfs=None if initramfs is None else _need(booted, initramfs, "initramfs"),
        device_tree=fitted,
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
    """Return `os_prefix`, which the firmware drops when kernel or device tree are not there."""
    default = "upstream/" if settings.number("upstream_kernel", 0) else ""
    prefix = settings.text("os_prefix", default)
    kernel = settings.text("kernel", booted.attempt.chain.kernel)
    wanted = [kernel, _device_tree_path(booted, settings)]
    whole = all(booted.files.exists(prefix + name) for name in wanted if name is not None)
    return (
        prefix if whole or settings.last("os_prefix") is None else _dropped(prefix, wanted, booted)
    )


def _dropped(prefix: str, wanted: list[str | None], booted: Booted) -> str:
    """Return what is left of an `os_prefix` whose folder is not whole: nothing, if that boots."""
    bare = all(booted.files.exists(name) for name in wanted if name is not None)
    return "" if bare else prefix


def _require_os(booted: Booted, settings: Settings, prefix: str) -> None:
    """Refuse a partition that the firmware would pass over: documentation of os_check."""
    chain = booted.attempt.chain
    if not chain.checks_os or not settings.number("os_check", 1):
        return
    if not booted.files.exists(f"{prefix}{chain.default_tree}"):
        raise PiimageError(
            "firmware.os-check",
            f"the firmware looks for {chain.default_tree}, finds none, and boots something else",
            place=booted.place,
            hint="config.txt needs os_check=0",
        )


def _device_tree_path(booted: Booted, settings: Settings) -> str | None:
    """Return the device tree that config.txt names for the model.

    Raises PiimageError ``firmware.wrong-device-tree`` when that is none of this model's.
    """
    named = settings.last("device_tree")
    path = (named.value or None) if named is not None else None
    wanted = booted.attempt.model.tree_name
    if wanted is not None and path != wanted:
        raise PiimageError(
            "firmware.wrong-device-tree",
            f"the firmware would take {path or 'a device tree of its own choice'} for "
            f"{booted.attempt.model.title}, whose device tree is {wanted}",
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
            f"{path} is no arm64 kernel, gzip or not",
            place=booted.place,
            hint="build the image again",
        )
    return kernel


def _header(kernel: bytes) -> bytes:
    """Return the beginning of the kernel, unpacked if it is packed."""
    if not kernel.startswith(_GZIP):
        return kernel[:_ARM64_HEADER]
    try:
        return zlib.decompressobj(wbits=31).decompress(kernel[:_PACKED_HEADER], _ARM64_HEADER)
    except zlib.error:
        return b""


def _unpacked_size(kernel: bytes) -> int:
    """Return the bytes that the kernel has once it is unpacked (RFC 1952: ISIZE ends a member)."""
    if not kernel.startswith(_GZIP):
        return len(kernel)
    return int.from_bytes(kernel[-4:], "little")


def _require_room(booted: Booted, settings: Settings, files: BootFiles) -> None:
    """Refuse what does not fit into the memory of the model as it is sold with the least."""
    if not booted.attempt.chain.is_pi:
        return
    memory = booted.attempt.model.memory_mib
    unpacked = _unpacked_size(files.kernel)
    # Linux: Documentation/arch/arm64/booting.rst, image_size: counts what is cleared behind it too.
    (image_size,) = struct.unpack_from("<Q", _header(files.kernel), 16)
    needed = chains.KERNEL_ADDRESS + max(unpacked, image_size)
    needed += len(files.initramfs or b"") + len(files.device_tree or b"")
    usable = min(loader.total_memory(settings, memory), chains.GPU_REACH)
    room = (usable - loader.gpu_memory(settings, memory)) * chains.MIB
    what = ""
    if unpacked > chains.UNPACKED_KERNEL_BYTES:
        what = f"the kernel unpacks to {unpacked} bytes; the firmware unpacks up to 256 MiB"
    elif needed > room:
        what = f"kernel, initramfs and device tree take {needed} bytes of memory; there are {room}"
    if what:
        raise PiimageError(
            "firmware.too-large", what, place=booted.place, hint="leave something out of it"
        )


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
    booted: Booted, settings: Settings, prefix: str
) -> tuple[list[tuple[str, bytes]], list[str]]:
    folder = settings.text("overlay_prefix", "overlays/")
    # The prefix holds for overlays only where a README says that there are some.
    if booted.files.exists(f"{prefix}{folder}README"):
        folder = prefix + folder
    found: list[tuple[str, bytes]] = []
    remarks: list[str] = []
    model = booted.attempt.model
    if model.stepping is not None:
        # By the firmware itself, before all others.
        name = booted.attempt.chain.steppings[model.stepping]
        what = f"overlay for the stepping {model.stepping}"
        found.append((name, _need(booted, f"{folder}{name}.dtbo", what)))
    for overlay in config.overlays_of(settings):
        if overlay.parameters:
            names = ", ".join(overlay.parameters)
            remarks.append(f"{overlay.place}: no device tree here has the parameter {names}")
        if overlay.name:
            path = f"{folder}{overlay.name}.dtbo"
            found.append((overlay.name, _need(booted, path, "overlay")))
    return found, remarks


def _cmdline(booted: Booted, settings: Settings, prefix: str) -> tuple[str, list[str]]:
    path = prefix + settings.text("cmdline", "cmdline.txt")
    text = booted.files.read(path)
    if text is None:
        return "", [f"{path} is not there: the kernel gets no command line"]
    lines = text.decode("utf-8", errors="replace").replace("\0", "").splitlines()
    ignored = [f"{path}: only the first line is read"] if any(map(str.strip, lines[1:])) else []
    return (lines[0].strip() if lines else ""), ignored


def _need(booted: Booted, path: str, what: str) -> bytes:
    content = booted.files.read(path)
    if content is None:
        raise loader.missing(booted, path, what)
    return content
