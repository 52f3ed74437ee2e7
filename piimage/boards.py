"""Reads boards/NAME.yml: finds a board in the searched folders, and checks it as a whole."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from pydantic import ValidationError

from piimage import resources
from piimage.board import Board, Emulator, Range
from piimage.document.document import parse_document
from piimage.document.nodes import MAX_BYTES
from piimage.errors import InputError, PiimageError, raise_all

_NOT_KEYS: Final = {
    "name": "this is not a key: the name of the file is the name of the board",
    "folders": "this is not a key",
}

_KeyPath = Sequence[str | int]
_Places = Callable[[_KeyPath], str]
"""Returns the place in a file of the value under a path of keys and indexes."""


def search_path(
    files: Iterable[Path] = (), environment: Mapping[str, str] = os.environ
) -> tuple[Path, ...]:
    """Return the folders that every verb searches for boards, before piimage's own.

    They are ``boards/`` beside each of the `files`, the last file first, then the folders in
    ``PIIMAGE_BOARDS``.
    """
    beside = [Path(file).parent / "boards" for file in reversed([*files])]
    listed = environment.get(resources.BOARDS_VARIABLE, "").split(os.pathsep)
    return tuple(dict.fromkeys([*beside, *(Path(folder) for folder in listed if folder)]))


def board_names(search: Sequence[Path] = ()) -> tuple[str, ...]:
    """Return the names of all boards in the folders `search` and in piimage's own folder."""
    return tuple(
        sorted({path.stem for folder in _folders(search) for path in folder.glob("*.yml")})
    )


def load_board(name: str, search: Sequence[Path] = ()) -> Board:
    """Read the board `name` from NAME.yml in the first folder of `search` that has it.

    The last folder searched is piimage's own. Raises InputError ``boards.unknown`` if no folder
    has the board, ``boards.unreadable`` if the file is not YAML, and ``boards.invalid`` for each
    fault in it.
    """
    for folder in _folders(search):
        # A comparison of text, because `name` may contain slashes.
        if name in {path.stem for path in folder.glob("*.yml")}:
            return _read(name, folder / f"{name}.yml", search)
    known = board_names(search)
    similar = difflib.get_close_matches(name, known, 1)
    suggestion = f"did you mean {similar[0]}? " if similar else ""
    raise InputError(
        "boards.unknown",
        f"there is no board {name!r}",
        hint=f"{suggestion}the known boards are {', '.join(known)}; piimage also searches boards/ "
        f"beside the file, and the folders in {resources.BOARDS_VARIABLE}",
    )


def known_boards(search: Sequence[Path] = ()) -> Iterator[Board]:
    """Yield every valid board of the folders `search` and of piimage's own folder."""
    for name in board_names(search):
        try:
            yield load_board(name, search)
        except PiimageError:
            continue  # `load_board` reports its faults to a user who names it


def overlay_sources(board: Board) -> dict[str, Path]:
    """Return the sources of the overlays for `board`, by name.

    They are in ``overlays/FOLDER`` of the searched folders; of several, the first folder wins.
    """
    roots = [folder / "overlays" for folder in _folders(board.folders)]
    folders = [root / name for root in reversed(roots) for name in board.overlays.folders]
    sources = {path.stem: path for folder in folders for path in sorted(folder.glob("*.dtso"))}
    return dict(sorted(sources.items()))


def fitting_source(board: Board, name: str) -> Path:
    """Return the source of the overlay `name` that adapts a device tree to the emulator.

    It is ``emulator/NAME.dtso`` in the first of the searched folders that has it.
    """
    paths = [folder / "emulator" / f"{name}.dtso" for folder in _folders(board.folders)]
    return next((path for path in paths if path.is_file()), paths[-1])


def _folders(search: Sequence[Path]) -> Iterator[Path]:
    yield from (folder for folder in search if folder.is_dir())
    yield resources.path("boards")


def _read(name: str, path: Path, search: Sequence[Path]) -> Board:
    if path.exists() and not path.is_file():
        raise _unreadable("it is not a regular file", str(path))  # reading a pipe would block
    try:
        with path.open("rb") as stream:
            document, errors = parse_document(stream.read(MAX_BYTES + 1), str(path))
    except OSError as error:
        raise _unreadable(f"it cannot be read: {error.strerror}", str(path)) from None
    raise_all(_unreadable(f"this is not YAML: {error.message}", error.place) for error in errors)

    def place(path: _KeyPath) -> str:
        within_list = not path or isinstance(path[-1], int)
        return str(document.place(path) if within_list else document.key_place(path))

    return parse_board(name, document.data(), origin=place, search=search)


def _unreadable(message: str, place: str | None) -> InputError:
    hint = "correct the file, or use another board"
    return InputError("boards.unreadable", message, place=place, hint=hint)


def parse_board(
    name: str,
    data: Any,  # noqa: ANN401  # any YAML
    *,
    origin: str | _Places,
    search: Sequence[Path] = (),
) -> Board:
    """Return `data`, read from YAML, as the board `name`; raises InputError ``boards.invalid``.

    `origin` is the place of the file, or a function that returns the place of each value; `search`
    are the folders that were searched.
    """
    places = origin if callable(origin) else lambda _: origin
    if not isinstance(data, dict):
        raise_all([_fault((), "a board is a mapping of keys to values", places)])
    forbidden = [_fault((key,), reason, places) for key, reason in _NOT_KEYS.items() if key in data]
    try:
        board = Board.model_validate({**data, "name": name, "folders": tuple(search)})
    except ValidationError as error:
        raise_all([*forbidden, *_faults(error, places)])
        raise
    raise_all([*forbidden, *_contradictions(board, places)])
    return board


def _faults(error: ValidationError, places: _Places) -> Iterator[PiimageError]:
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        yield _fault(fault["loc"], fault["msg"], places)


def _contradictions(board: Board, places: _Places) -> Iterator[PiimageError]:
    if board.trees and len({model.tree for model in board.models if model.when is None}) != 1:
        yield _fault(("models",), "exactly one device tree must be without a filter (when)", places)
    for index, model in enumerate(board.models):
        if model.when is not None and model.when not in model.filters:
            yield _fault(("models", index, "when"), "it must be one of the model's filters", places)
    for key, names in (("always", board.overlays.always), ("gives", board.overlays.gives)):
        unknown = sorted(set(names) - set(overlay_sources(board)))
        if unknown:
            yield _fault(("overlays", key), f"there is no overlay {', '.join(unknown)}", places)
    yield from _firmware_contradictions(board, places)
    if _last_console(board) != board.console:
        yield _fault(("console",), "the last console= of cmdline names another terminal", places)
    titles = {model.title for model in board.models}
    for name, function in board.functions.items():
        unknown = sorted(set(function.overlays) - set(overlay_sources(board)))
        unknown += sorted(set(function.absent_on) - titles)
        if unknown:
            message = f"unknown overlay or model: {', '.join(unknown)}"
            yield _fault(("functions", name), message, places)
    if board.emulator is not None:
        yield from _emulator_contradictions(board.emulator, places)


def _firmware_contradictions(board: Board, places: _Places) -> Iterator[PiimageError]:
    listed = {PurePosixPath(pattern).name for pattern in board.firmware.files}
    placed = {"names": {*board.firmware.names}, "raw": {f.file for f in board.firmware.raw}}
    for key, files in placed.items():
        if unlisted := sorted(files - listed):
            message = f"no line of files ends with {', '.join(unlisted)}"
            yield _fault(("firmware", key), message, places)


def _emulator_contradictions(emulator: Emulator, places: _Places) -> Iterator[PiimageError]:
    changes = (*emulator.fit, *emulator.cmdline)
    if emulator.firmware is not None and (changes or emulator.chosen != "nothing"):
        message = "QEMU gets the disk alone: no fit and no cmdline, and chosen is nothing"
        yield _fault(("emulator", "firmware"), message, places)
    for limits in ("cpus", "memory_mib"):
        value: Range = getattr(emulator, limits)
        if not value.least <= value.default <= value.most:
            yield _fault(("emulator", limits), "least <= default <= most must hold", places)


def _last_console(board: Board) -> str | None:
    """Return the terminal of /dev/console: by the kernel's rule, the last ``console=``."""
    consoles = [word for word in board.cmdline if word.startswith("console=")]
    return consoles[-1].removeprefix("console=").partition(",")[0] if consoles else None


def _fault(path: _KeyPath, message: str, places: _Places) -> InputError:
    keys = ".".join(map(str, path))
    return InputError(
        "boards.invalid",
        f"{keys}: {message}" if keys else message,
        place=places(path),
        hint="see docs/boards.md",
    )
