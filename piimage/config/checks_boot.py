"""What no single value shows of a board and its boot: overlays, command line, config.txt."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from piimage.config.lookup import node_at, scalar, scalars
from piimage.config.values import did_you_mean, quoted
from piimage.document.nodes import ListNode, MapNode, ScalarNode
from piimage.errors import InputError, PiimageError


def board_errors(root: MapNode, search: Sequence[Path]) -> Iterator[InputError]:
    """Give what is wrong with the board, its overlays, its command line and its screen."""
    from piimage.boards import board_names  # noqa: PLC0415  # container folders have no board

    board = scalar(root, "board")
    if board is None:
        return
    known = board_names(search)
    if board.text not in known:
        yield _unknown_board(board, known, search)
        return
    if overlays := list(scalars(root, "boot", "overlays")):
        yield from _overlay_errors(overlays, board.text, search)
    console = scalar(root, "console")
    if console is not None and console.text == "hdmi":
        yield from _screen_errors(console, board.text, search)
    if options := _options(root):
        yield from _command_line_errors(options, board.text, search)
        yield from _panic_errors(root, options)


def _unknown_board(board: ScalarNode, known: Sequence[str], search: Sequence[Path]) -> InputError:
    from piimage.config.lacks import absent_model  # noqa: PLC0415

    absent = absent_model(board.text, search)
    why = f": {absent.title}: {absent.why}" if absent else ""
    return InputError(
        "config.unknown-board",
        f"there is no board {quoted(board.text)}{why}",
        place=str(board.at),
        hint=f"instead: {did_you_mean(board.text, known)}",
    )


def _screen_errors(console: ScalarNode, name: str, search: Sequence[Path]) -> Iterator[InputError]:
    from piimage.boards import load_board  # noqa: PLC0415

    try:
        board = load_board(name, search)
    except PiimageError:
        return  # the errors of a board file are reported where the board is loaded
    if board.screen is None:
        yield InputError(
            "config.no-screen",
            f"the board {name} has no screen",
            place=str(console.at),
            hint="write `console: true`, or leave the line out",
        )


def _overlay_errors(
    overlays: Iterable[ScalarNode], name: str, search: Sequence[Path]
) -> Iterator[InputError]:
    from piimage.boards import load_board, overlay_sources  # noqa: PLC0415
    from piimage.config.lacks import lacking_error, lacking_overlay  # noqa: PLC0415

    try:
        board = load_board(name, search)
    except PiimageError:
        return  # the errors of a board file are reported where the board is loaded
    known = overlay_sources(board)
    for node in overlays:
        overlay = node.text.removeprefix("-")
        if overlay in known:
            continue
        if lack := lacking_overlay(overlay, board):
            yield lacking_error(f"the overlay {quoted(overlay)}", board.title, lack, node.at)
            continue
        similar = board.overlays.instead_of.get(overlay) or did_you_mean(overlay, known)
        yield InputError(
            "config.unknown-overlay",
            f"the board {name} has no overlay {quoted(overlay)}",
            place=str(node.at),
            hint=f"instead: {similar}" if known else "remove it: this board has no overlays",
        )


def _options(root: MapNode) -> list[ScalarNode]:
    """Return the nodes with options for the kernel's command line."""
    options = node_at(root, "boot", "cmdline")
    lines = (options, node_at(root, "kernel", "cmdline"))
    texts = (line for line in lines if isinstance(line, ScalarNode) and line.text)
    return [*scalars(options), *texts]


def _command_line_errors(
    options: Sequence[ScalarNode], name: str, search: Sequence[Path]
) -> Iterator[InputError]:
    """Give an error if the command line is too long for the board; options are checked singly."""
    from piimage.board import PrefixLayout  # noqa: PLC0415
    from piimage.boards import load_board  # noqa: PLC0415
    from piimage.firmware.boot_loaders import boot_loader_of  # noqa: PLC0415
    from piimage.firmware.writer import Boot  # noqa: PLC0415  # few files need it

    words = tuple(word for option in options for word in option.text.split())
    try:
        board = load_board(name, search)
        prefix = str(board.layout.slots[0]) if isinstance(board.layout, PrefixLayout) else ""
        boot = Boot(cmdline=tuple(filter(str.isascii, words)))
        boot_loader_of(board).slot_files(board, boot, 0, prefix)
    except InputError as error:
        if error.code == "firmware.bad-cmdline":
            yield InputError(
                "config.value", error.message, place=str(options[-1].at), hint=error.hint
            )
    except PiimageError:
        return  # the errors of a board file are reported where the board is loaded


def _panic_errors(root: MapNode, options: Sequence[ScalarNode]) -> Iterator[InputError]:
    """Give an error if the kernel would stay as it is after a panic, and with it a failed update.

    Source: kernel-parameters.txt, `panic=`: of several the last one counts.
    """
    updates = scalar(root, "slots", "updates")
    if updates is None or updates.text.lower() != "true":
        return
    words = [(word, option) for option in options for word in option.text.split()]
    times = [found for found in words if found[0].startswith("panic=")]
    if times and re.fullmatch("panic=[+-]?0+", times[-1][0]):
        yield InputError(
            "config.value",
            f"with {times[-1][0]}, a new version (slots: updates:) that panics is never undone",
            place=str(times[-1][1].at),
            hint="remove it, or give seconds: panic=10",
        )


def setting_errors(root: MapNode) -> Iterator[InputError]:
    """Give an error for each setting that cannot be written to config.txt."""
    from piimage.firmware.settings import fault  # noqa: PLC0415  # few files have settings

    config = node_at(root, "boot", "config")
    if not isinstance(config, MapNode):
        return
    for key, node in config.items.items():
        values = node.items if isinstance(node, ListNode) else (node,)
        for value in values:
            if isinstance(value, ScalarNode) and (refused := fault(key, value.text)):
                at = value.at if refused.of_value else config.keys[key]
                hint = f"instead: {refused.instead}"
                yield InputError("config.value", refused.message, place=str(at), hint=hint)
