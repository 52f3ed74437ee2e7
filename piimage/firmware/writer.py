"""What the build writes for the firmware: autoboot.txt, config.txt, tryboot.txt, cmdline.txt.

All of it is text with lines that end in a line feed, and depends on nothing but the arguments.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from piimage.boards import Board, PrefixLayout, overlay_sources
from piimage.errors import InputError, PiimageError, raise_all
from piimage.firmware.config import MAX_AUTOBOOT
from piimage.firmware.settings import Fault, fault

KERNEL: Final = "kernel.img"
INITRAMFS: Final = "initramfs.img"
MAX_CMDLINE: Final = 1024
SILENT: Final = ("console=tty62", "loglevel=0")
"""The kernel's words for no message anywhere. A console has to be there (process 1 and the system's
own programs open it): a virtual terminal is, and no screen shows this one. The last, tty63, cannot
be opened as a console (seen with Linux 6.12)."""
# What the first stage reads before it can follow an `include` (documentation of "include").
_EARLY: Final = frozenset(
    {
        "bootcode_delay",
        "fixup_file",
        "gpu_mem",
        "gpu_mem_256",
        "gpu_mem_512",
        "gpu_mem_1024",
        "sdram_freq",
        "start_cd",
        "start_db",
        "start_debug",
        "start_file",
        "start_x",
        "total_mem",
        "uart_2ndstage",
    }
)


@dataclass(frozen=True)
class Boot:
    """What the user adds to a board's boot: the `boot:` section of the YAML."""

    config: tuple[tuple[str, str], ...] = ()
    """The lines of config.txt as KEY, VALUE, in order; a key may be there several times."""
    overlays: tuple[str, ...] = ()
    """Overlays to apply; ``-NAME`` leaves out one that the board always applies."""
    cmdline: tuple[str, ...] = ()
    silent: bool = False
    """No message on the serial port or a screen: both are the user's."""


def autoboot(active: int, other: int | None = None) -> str:
    """Return autoboot.txt: partition `active` is booted, `other` is tried on ``tryboot``.

    Without `other` there is nothing to try. That is how a new card begins: a boot loader that does
    not know [tryboot] would take the partition below it for the one to boot.
    """
    text = f"[all]\ntryboot_a_b=1\nboot_partition={active}\n"
    if other is not None:
        text += f"[tryboot]\nboot_partition={other}\n"
    if len(text) > MAX_AUTOBOOT:
        raise ValueError("partition numbers have one digit")
    return text


def config(board: Board, boot: Boot) -> str:
    """Return a slot's config.txt.

    Raises InputError for everything in `boot` that the firmware would not understand:
    ``firmware.bad-setting``, ``firmware.unknown-overlay``, ``firmware.line-too-long``.
    """
    raise_all(_faults(board, boot))
    lines = ["# Written by piimage; add to boot: in the YAML.", "[all]", *board.config]
    lines += [f"kernel={KERNEL}", f"initramfs {INITRAMFS} followkernel"]
    lines += _device_trees(board)
    lines += [f"dtoverlay={name}" for name in applied_overlays(board, boot)]
    lines += [f"{key}={value}" for key, value in boot.config]
    return "\n".join(lines) + "\n"


def prefix_config(board: Board, boot: Boot, prefix: str) -> str:
    """Return the config.txt or tryboot.txt beside the slots' folders, which chooses `prefix`."""
    raise_all(_faults(board, boot))
    settings = [line.partition("=")[::2] for line in board.config]
    early = {key: value for key, value in settings if key in _EARLY}
    early |= {key: value for key, value in boot.config if key in _EARLY}
    lines = ["[all]", f"os_prefix={prefix}", *(f"{key}={early[key]}" for key in early)]
    return "\n".join([*lines, f"include {prefix}config.txt"]) + "\n"


def root_files(board: Board, boot: Boot) -> dict[str, str]:
    """Return the text files on a new card's first partition, which choose slot A."""
    layout = board.layout
    first, second = layout.slots
    if isinstance(layout, PrefixLayout):
        return {
            "config.txt": prefix_config(board, boot, str(first)),
            "tryboot.txt": prefix_config(board, boot, str(second)),
        }
    return {"autoboot.txt": autoboot(int(first))}


def cmdline(board: Board, boot: Boot, disk_id: int, *, prefix: str = "") -> str:
    """Return a slot's cmdline.txt: one line, for the card with `disk_id` in its MBR.

    `prefix` is the slot's folder where there is one.

    Raises InputError ``firmware.bad-cmdline`` for words that would break the line.
    """
    words = [*_board_words(board, boot), f"piimage.disk-id={disk_id:08x}"]
    words += [f"piimage.prefix={prefix}"] if prefix else []
    words += boot.cmdline
    raise_all(_bad_word(word) for word in boot.cmdline if not re.fullmatch(r"[!-~]+", word))
    line = " ".join(words)
    if len(line) > MAX_CMDLINE:
        raise InputError(
            "firmware.bad-cmdline",
            f"the kernel's command line has {len(line)} characters; {MAX_CMDLINE} fit",
            place="boot.cmdline",
            hint="leave something out",
        )
    return line + "\n"


def _board_words(board: Board, boot: Boot) -> tuple[str, ...]:
    if not boot.silent:
        return board.cmdline
    kept = (word for word in board.cmdline if not word.startswith(("console=", "loglevel=")))
    return (*kept, *SILENT)


def applied_overlays(board: Board, boot: Boot) -> tuple[str, ...]:
    """Return the names of the overlays that the card's config.txt applies, in order."""
    dropped = {name[1:] for name in boot.overlays if name.startswith("-")}
    wanted = [*board.overlays.always, *(n for n in boot.overlays if not n.startswith("-"))]
    return tuple(dict.fromkeys(name for name in wanted if name not in dropped))


def _device_trees(board: Board) -> Iterator[str]:
    """Yield the lines that name the device tree: the general one, then each model's own."""
    named = {one.when: one.tree_name for one in board.models if one.tree_name is not None}
    for when in sorted(named, key=lambda when: when is not None):
        if when is not None:
            # Filters of different kinds add up: start afresh for each.
            yield "[all]"
            yield f"[{when}]"
        yield f"device_tree={named[when]}"
    if len(named) > 1:
        yield "[all]"


def _faults(board: Board, boot: Boot) -> Iterator[PiimageError]:
    for key, value in boot.config:
        if found := fault(key, value):
            yield _bad_setting(found)
    known = overlay_sources(board)
    for name in boot.overlays:
        if name.removeprefix("-") not in known:
            have = ", ".join(known) or "none"
            yield InputError(
                "firmware.unknown-overlay",
                f"there is no overlay {name.removeprefix('-')!r} for the board {board.name}",
                place="boot.overlays",
                hint=f"it has: {have}",
            )


def _bad_setting(found: Fault) -> InputError:
    hint = f"instead: {found.instead}"
    if found.too_long:
        return InputError("firmware.line-too-long", found.what, place="boot.config", hint=hint)
    return InputError("firmware.bad-setting", found.what, place="boot.config", hint=hint)


def _bad_word(word: str) -> InputError:
    return InputError(
        "firmware.bad-cmdline",
        f"{word!r} is no word of a kernel command line",
        place="boot.cmdline",
        hint="write each parameter as an item of its own, in ASCII and without blanks",
    )
