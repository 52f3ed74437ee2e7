"""What no single value shows of a board and its boot: overlays, command line, config.txt."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from piimage.config.lookup import node_at, scalar, scalars
from piimage.config.nodes import ListNode, MapNode, ScalarNode
from piimage.config.values import did_you_mean, quoted
from piimage.errors import InputError, PiimageError


def board_errors(root: MapNode, search: Sequence[Path]) -> Iterator[InputError]:
    """Give what is wrong with the board, its overlays and its command line."""
    from piimage.boards import board_names  # noqa: PLC0415  # container folders have no board

    board = scalar(root, "board")
    if board is None:
        return
    known = board_names(search)
    if board.text not in known:
        yield _unknown_board(board, known, search)
        return
    if wanted := list(scalars(root, "boot", "overlays")):
        yield from _overlay_errors(wanted, board.text, search)
    if words := _options(root):
        yield from _command_line_errors(words, board.text, search)


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


def _overlay_errors(
    wanted: Iterable[ScalarNode], name: str, search: Sequence[Path]
) -> Iterator[InputError]:
    from piimage.boards import load_board, overlay_sources  # noqa: PLC0415
    from piimage.config.lacks import lacking_error, lacking_overlay  # noqa: PLC0415

    try:
        board = load_board(name, search)
    except PiimageError:
        return  # a board of the user's own that is wrong has errors of its own
    known = overlay_sources(board)
    for one in wanted:
        overlay = one.text.removeprefix("-")
        if overlay in known:
            continue
        if lack := lacking_overlay(overlay, board):
            yield lacking_error(f"the overlay {quoted(overlay)}", board.title, lack, one.at)
            continue
        near = board.overlays.instead_of.get(overlay)
        has = near or (did_you_mean(overlay, known) if known else "nothing: this board has none")
        yield InputError(
            "config.unknown-overlay",
            f"the board {name} has no overlay {quoted(overlay)}",
            place=str(one.at),
            hint=f"instead: {has}",
        )


def _options(root: MapNode) -> list[ScalarNode]:
    """Return the texts that go onto the kernel's command line."""
    said = node_at(root, "boot", "cmdline")
    lines = (said, node_at(root, "kernel", "cmdline"))
    return [*scalars(said), *(one for one in lines if isinstance(one, ScalarNode) and one.text)]


def _command_line_errors(
    said: Sequence[ScalarNode], name: str, search: Sequence[Path]
) -> Iterator[InputError]:
    """Give the error of a command line that is too long for the board; words have their own."""
    from piimage.boards import PrefixLayout, load_board  # noqa: PLC0415
    from piimage.firmware.writer import Boot, cmdline  # noqa: PLC0415  # few files need it

    words = tuple(word for one in said for word in one.text.split())
    try:
        board = load_board(name, search)
        prefix = str(board.layout.slots[0]) if isinstance(board.layout, PrefixLayout) else ""
        cmdline(board, Boot(cmdline=tuple(w for w in words if w.isascii())), 0, prefix=prefix)
    except InputError as error:
        if error.code == "firmware.bad-cmdline":
            yield InputError(
                "config.value", error.message, place=str(said[-1].at), hint=f"instead: {error.hint}"
            )
    except PiimageError:
        return  # a board of the user's own that is wrong has errors of its own


def setting_errors(root: MapNode) -> Iterator[InputError]:
    """Give what the writer of config.txt would refuse."""
    from piimage.firmware.settings import fault  # noqa: PLC0415  # few files have settings

    config = node_at(root, "boot", "config")
    if not isinstance(config, MapNode):
        return
    for key, node in config.items.items():
        values = node.items if isinstance(node, ListNode) else (node,)
        texts = [one for one in values if isinstance(one, ScalarNode)]
        for one in texts:
            if found := fault(key, one.text):
                at = one.at if found.of_value else config.keys[key]
                yield InputError(
                    "config.value", found.what, place=str(at), hint=f"instead: {found.instead}"
                )
