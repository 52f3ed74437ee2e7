"""The text files for the firmware: autoboot.txt, config.txt, tryboot.txt, cmdline.txt.

They depend on nothing but the arguments; their lines end in a line feed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from piimage.board import Board, PrefixLayout
from piimage.boards import overlay_sources
from piimage.errors import InputError, PiimageError, raise_all
from piimage.firmware.settings import Fault, fault

KERNEL: Final = "kernel.img"
INITRAMFS: Final = "initramfs.img"
MAX_CMDLINE: Final = 1024
SILENT: Final = ("console=tty62", "loglevel=0")
"""The words of the command line for no messages. A console must exist, because process 1 and the
system's programs open it; no screen shows this virtual terminal. The last one, tty63, cannot be
opened as a console (observed with Linux 6.12)."""
# The settings that the first stage reads, which cannot follow an `include` (documentation).
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
    """The user's additions to a board's boot: the `boot:` section of the YAML."""

    config: tuple[tuple[str, str], ...] = ()
    """The lines of config.txt as KEY, VALUE, in order; a key may occur several times."""
    overlays: tuple[str, ...] = ()
    """Overlays to apply; ``-NAME`` removes one that the board always applies."""
    cmdline: tuple[str, ...] = ()
    silent: bool = False
    """No messages on the serial port or a screen, which the user needs for other purposes."""
    screen: bool = False
    """The firmware prepares a screen, even one that is plugged in later."""
    made: tuple[str, ...] = ()
    """Overlays that are made for this file alone, to apply after all others."""
    tries: bool = False
    """Updates may have the boot loader try the other slot (`slots: updates:`)."""


README: Final = "Device tree overlays of this version; config.txt names those that are applied.\n"
_AUTOBOOT_SIZE: Final = 128  # bytes, of at most 512; both sections need 77


def autoboot(active: int, other: int | None = None) -> str:
    """Return autoboot.txt: it selects partition `active`, and `other` on ``tryboot``.

    A new card has no `other`: an old boot loader that ignores the line [tryboot] would boot the
    partition in the line after it. Empty lines make the file as long as it will ever be, because an
    update changes its bytes in place, and not its size.
    """
    text = f"[all]\ntryboot_a_b=1\nboot_partition={active}\n"
    if other is not None:
        text += f"[tryboot]\nboot_partition={other}\n"
    return text.ljust(_AUTOBOOT_SIZE, "\n")


def config(board: Board, boot: Boot) -> str:
    """Return the config.txt of a slot.

    Raises InputError for each fault in `boot`: ``firmware.bad-setting``,
    ``firmware.unknown-overlay``, ``firmware.line-too-long``.
    """
    raise_all(_faults(board, boot))
    lines = ["# Written by piimage; add to boot: in the YAML.", "[all]", *board.config]
    lines += [f"kernel={KERNEL}", f"initramfs {INITRAMFS} followkernel"]
    lines += _device_trees(board)
    lines += [f"dtoverlay={name}" for name in applied_overlays(board, boot)]
    lines += board.screen.config if boot.screen and board.screen else ()
    lines += [f"{key}={value}" for key, value in boot.config]
    return "\n".join(lines) + "\n"


SELECT: Final = "select.txt"
TRY: Final = "try.txt"
"""The files in a slot's folder that become config.txt and tryboot.txt beside the folders, or what
another boot loader reads in their place."""
TRY_CMDLINE: Final = "trycmd.txt"
"""The command line of a try, in a slot's folder: only the file that the firmware reads tells that
it is one."""
TRY_WORD: Final = "piimage.try=1"
CHOICE_SIZE: Final = 512
"""The size in bytes of the files beside the folders that name one: a sector, which an update
changes in place."""


def prefix_config(board: Board, boot: Boot, prefix: str, *, tried: bool = False) -> str:
    """Return the config.txt beside the slots' folders, which selects `prefix`.

    If `tried`, it is the tryboot.txt that has the version in that folder tried. Empty lines make
    either as long as it will ever be. Raises InputError ``firmware.bad-setting`` if it would be
    longer, and the errors of `config`.
    """
    raise_all(_faults(board, boot))
    settings = [line.partition("=")[::2] for line in board.config]
    early = {key: value for key, value in settings if key in _EARLY}
    early |= {key: value for key, value in boot.config if key in _EARLY}
    lines = ["[all]", f"os_prefix={prefix}", *(f"{key}={early[key]}" for key in early)]
    lines.append(f"include {prefix}config.txt")
    if tried:
        lines += ["[all]", f"cmdline={TRY_CMDLINE}"]
    text = "\n".join(lines) + "\n"
    if len(text) > CHOICE_SIZE:
        message = f"the first lines of config.txt have {len(text)} bytes; the limit is 512"
        raise InputError(
            "firmware.bad-setting", message, place="boot.config",
            hint="remove settings of memory and of start files from boot: config:",
        )  # fmt: skip
    return text.ljust(CHOICE_SIZE, "\n")


def root_files(board: Board, boot: Boot) -> dict[str, str]:
    """Return the text files on the first partition of a new card, which select slot A."""
    layout = board.layout
    first, second = layout.slots
    if isinstance(layout, PrefixLayout):
        return {
            "config.txt": prefix_config(board, boot, str(first)),
            "tryboot.txt": prefix_config(board, boot, str(second), tried=True),
        }
    return {"autoboot.txt": autoboot(int(first))}


def folder_files(board: Board, boot: Boot, disk_id: int, prefix: str) -> dict[str, str]:
    """Return the files in the folder `prefix` of a slot that an update needs to select it."""
    line = cmdline(board, boot, disk_id, prefix=prefix, more=(TRY_WORD,))
    return {
        SELECT: prefix_config(board, boot, prefix),
        TRY: prefix_config(board, boot, prefix, tried=True),
        TRY_CMDLINE: line,
    }


def cmdline(
    board: Board, boot: Boot, disk_id: int, *, prefix: str = "", more: tuple[str, ...] = ()
) -> str:
    """Return the cmdline.txt of a slot: one line, for the card with `disk_id` in its MBR.

    `prefix` is the folder of the slot, if it has one; the words `more` come last.

    Raises InputError ``firmware.bad-cmdline`` for invalid words or a line that is too long.
    """
    words = [*_board_words(board, boot), f"piimage.disk-id={disk_id:08x}"]
    words += [f"piimage.prefix={prefix}"] if prefix else []
    words += board.screen.cmdline if boot.screen and board.screen else ()
    words += (*boot.cmdline, *more)
    raise_all(_bad_word(word) for word in boot.cmdline if not re.fullmatch(r"[!-~]+", word))
    line = " ".join(words)
    if len(line) > MAX_CMDLINE:
        raise InputError(
            "firmware.bad-cmdline",
            f"the kernel's command line has {len(line)} characters; the limit is {MAX_CMDLINE}",
            place="boot.cmdline",
            hint="remove words from boot: cmdline:",
        )
    return line + "\n"


def _board_words(board: Board, boot: Boot) -> tuple[str, ...]:
    if not boot.silent:
        return board.cmdline
    kept = (word for word in board.cmdline if not word.startswith(("console=", "loglevel=")))
    return (*kept, *SILENT)


def applied_overlays(board: Board, boot: Boot) -> tuple[str, ...]:
    """Return the names of the overlays that the card's config.txt applies, in order."""
    removed = {name[1:] for name in boot.overlays if name.startswith("-")}
    added = [name for name in boot.overlays if not name.startswith("-")]
    names = [*board.overlays.always, *added, *boot.made]
    return tuple(dict.fromkeys(name for name in names if name not in removed))


def _device_trees(board: Board) -> Iterator[str]:
    """Yield the lines for the device tree: the default, then those of models under filters."""
    trees = {model.when: model.tree_name for model in board.models if model.tree_name is not None}
    for when in sorted(trees, key=lambda when: when is not None):
        if when is not None:
            # Filters of different kinds are combined, so each one begins with a reset.
            yield "[all]"
            yield f"[{when}]"
        yield f"device_tree={trees[when]}"
    if len(trees) > 1:
        yield "[all]"


def _faults(board: Board, boot: Boot) -> Iterator[PiimageError]:
    for key, value in boot.config:
        if setting_fault := fault(key, value):
            yield _bad_setting(setting_fault)
    known = overlay_sources(board)
    for name in boot.overlays:
        if name.removeprefix("-") not in known:
            yield InputError(
                "firmware.unknown-overlay",
                f"there is no overlay {name.removeprefix('-')!r} for the board {board.name}",
                place="boot.overlays",
                hint=f"the board's overlays are: {', '.join(known) or 'none'}",
            )


def _bad_setting(fault: Fault) -> InputError:
    code = "firmware.line-too-long" if fault.too_long else "firmware.bad-setting"
    return InputError(code, fault.message, place="boot.config", hint=f"instead: {fault.instead}")


def _bad_word(word: str) -> InputError:
    return InputError(
        "firmware.bad-cmdline",
        f"{word!r} is not a word of a kernel command line",
        place="boot.cmdline",
        hint="write each parameter as a separate item, in ASCII and without blanks",
    )
