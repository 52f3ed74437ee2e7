"""What a file asks for and its board has not: said before a build, with the place that asks.

What boards lack is data: ``lacks``, ``absent`` and ``overlays.gives`` of boards/NAME.yml.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, Literal

from piimage import resources
from piimage.boards import Absent, Board, Lack, known_boards, load_board, search_path
from piimage.config.document import read_document, with_paths
from piimage.config.lookup import items, maps, node_at, scalar, scalars
from piimage.config.nodes import MapNode, Node, Position, ScalarNode
from piimage.config.paths import APPLIANCE_PATHS, SECTIONS
from piimage.config.values import quoted
from piimage.errors import InputError, raise_all
from piimage.firmware.settings import PARAMETER
from piimage.sshkeys import DROPBEAR_OPTIONS, keys_of

_HARDWARE: Final = ("/dev/", "/sys/")
_MOUNTED: Final = ("dev", "proc", "sys", "run", "tmp", "var", "data")
"""Folders of the system's root over which something is mounted at boot: appliance/README.md."""


@dataclass(frozen=True)
class Finding:
    """One thing that is asked for in vain."""

    error: InputError
    certain: bool
    """It works nowhere; else it does on some Pis, or with a driver of the file's own."""


@dataclass(frozen=True)
class _Request:
    """What the file asks for, and where."""

    kind: Literal["path", "module", "section"]
    text: str
    at: Position


def refuse_lacking(
    files: Sequence[Path], sets: Sequence[str], environment: Mapping[str, str]
) -> tuple[str, ...]:
    """Return remarks on what `files` ask for and only some Pis of their board have.

    Raises InputError (or an ErrorGroup) ``config.lacking`` or ``config.no-overlay`` for each thing
    that none has.
    """
    found = findings(files, sets, environment)
    raise_all(one.error for one in found if one.certain)
    return tuple(str(one.error) for one in found)


def findings(
    files: Sequence[Path], sets: Sequence[str], environment: Mapping[str, str]
) -> tuple[Finding, ...]:
    """Return what `files` ask for and their board has not; what is no valid file asks nothing."""
    document, _ = read_document(files, sets, environment)
    root = with_paths(document, APPLIANCE_PATHS).root
    name = root.items.get("board")
    if not isinstance(name, ScalarNode):
        return ()
    board = load_board(name.text, search_path(files, environment))
    # An alias asks at each of its uses for the same, at the same place.
    found = (*_findings(root, board), *_covered(root))
    return tuple({str(one.error): one for one in found}.values())


def absent_model(name: str, search: Sequence[Path]) -> Absent | None:
    """Return the model that people call `name` and that a board of `search` says it cannot be."""
    absent = (one for board in known_boards(search) for one in board.absent)
    return next((one for one in absent if name in one.names), None)


def lacking_overlay(overlay: str, board: Board) -> Lack | None:
    """Return what `overlay` stands for, if `board` says that it lacks that."""
    return next((lack for lack in board.lacks if overlay in lack.overlays), None)


def _findings(root: MapNode, board: Board) -> Iterator[Finding]:
    applied = _applied(root, board)
    own_drivers = any(True for _ in _own_drivers(root))
    for request in _requests(root):
        certain = request.kind == "module" or not own_drivers
        if givers := _givers(request, board):
            if not applied.intersection(givers):
                yield Finding(_no_overlay(request, board, givers), certain)
            continue
        for lack, title, everywhere in _lacks(board):
            if _asks(request, lack):
                yield Finding(_lacking(request, title, lack), certain and everywhere)
    yield from (Finding(error, False) for error in _options_of_keys(root))
    if node_at(root, "kernel", "image") is None:  # else the device trees are that image's
        yield from (Finding(error, False) for error in _parameters(root, board, applied))


def _options_of_keys(root: MapNode) -> Iterator[InputError]:
    """Give each key whose options the ready-made sshd does not know: it passes the key over."""
    uses = (_text(entry, "use") for entry in maps(root, "services"))
    if not any(name is not None and name.text == "sshd" for name in uses):
        return
    for one in scalars(root, "ssh", "authorized_keys"):
        try:
            options = [option for key in keys_of(one.text) for option in key.options]
        except InputError:
            continue  # what is no key has errors of its own
        if unknown := sorted(set(options) - DROPBEAR_OPTIONS):
            yield InputError(
                "ssh.unknown-option",
                f"the ready-made sshd (Dropbear) does not know {', '.join(unknown)}, and passes a "
                "key with it over",
                place=str(one.at),
                hint="instead: a key without, or a service of yours with OpenSSH",
            )


def _parameters(root: MapNode, board: Board, applied: set[str]) -> Iterator[InputError]:
    """Give each `dtparam` of config.txt: Debian's device trees have no parameters."""
    said = node_at(root, "boot", "config", PARAMETER)
    for one in [said] if isinstance(said, ScalarNode) else scalars(said):
        names = [word.partition("=")[0].strip() for word in one.text.split(",")]
        does = [board.overlays.instead_of[name] for name in names if _does(name, one.text, board)]
        missing = [name for name in dict.fromkeys(does) if name not in applied]
        if missing:
            instead = f"boot: {{ overlays: [{', '.join(missing)}] }}"
        else:
            instead = "leave it out" + (f"; overlays: has {', '.join(does)}" if does else "")
        yield InputError(
            "config.no-effect",
            f"{PARAMETER}={one.text} has no effect: the device trees of {board.title} have no "
            "parameters",
            place=str(one.at),
            hint=f"instead: {instead}",
        )


def _does(name: str, text: str, board: Board) -> bool:
    """Say whether an overlay does what `text` asks for by the parameter `name`."""
    off = re.search(rf"(^|,)\s*{re.escape(name)}=(off|no|false|0)\b", text)
    return name in board.overlays.instead_of and not off


def _covered(root: MapNode) -> Iterator[Finding]:
    """Give what `files:` puts where nothing on the Pi will see it."""
    for one in maps(root, "files"):
        if (path := _text(one, "path")) and (top := path.text.strip("/").split("/")[0]) in _MOUNTED:
            where = "the data partition" if top == "data" else "an empty file system"
            error = InputError(
                "config.covered",
                f"{quoted(path.text)} will not be seen: {where} is mounted over /{top} at boot",
                place=str(path.at),
                hint="instead: put it below /etc or /usr, and bind it from there",
            )
            yield Finding(error, certain=False)


def _lacks(board: Board) -> Iterator[tuple[Lack, str, bool]]:
    """Give what is lacking, on which models, and whether it is certainly so on all of them."""
    for lack in board.lacks:
        yield lack, board.title, True
    for lack in dict.fromkeys(lack for model in board.models for lack in model.lacks):
        models = [model.title for model in board.models if lack in model.lacks]
        yield lack, ", ".join(models), False


def _applied(root: MapNode, board: Board) -> set[str]:
    said = {one.text for one in scalars(root, "boot", "overlays")}
    dropped = {text.removeprefix("-") for text in said if text.startswith("-")}
    return {*board.overlays.always, *said} - dropped


def _givers(request: _Request, board: Board) -> list[str]:
    if request.kind != "path":
        return []
    gives = board.overlays.gives.items()
    return [name for name, patterns in gives if _matches(request.text, patterns)]


def _asks(request: _Request, lack: Lack) -> bool:
    match request.kind:
        case "path":
            return _matches(request.text, lack.paths)
        case "module":
            return request.text.replace("_", "-") in lack.modules
        case "section":
            return request.text in lack.sections


def _matches(path: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def _no_overlay(request: _Request, board: Board, givers: Sequence[str]) -> InputError:
    return InputError(
        "config.no-overlay",
        f"{board.title} has {request.text} only with an overlay",
        place=str(request.at),
        hint=f"instead: boot: {{ overlays: [{givers[0]}] }}"
        + (f" (or {', '.join(givers[1:])})" if givers[1:] else ""),
    )


def _lacking(request: _Request, title: str, lack: Lack) -> InputError:
    return lacking_error(quoted(request.text), title, lack, request.at)


def lacking_error(asked: str, title: str, lack: Lack, at: Position) -> InputError:
    """Return the error that the board or model `title` cannot give `asked`, for `lack`."""
    return InputError(
        "config.lacking",
        f"{asked} on {title}: {lack.what.rstrip('.')}",
        place=str(at),
        hint=f"instead: {lack.instead or 'leave it out, or take another board'}",
    )


# The file's side ----------------------------------------------------------------------------


def _requests(root: MapNode) -> Iterator[_Request]:
    for section in SECTIONS:
        for entry in maps(root, section):
            yield from _of_entry(entry)
    for module in items(root, "modules"):
        if name := _text(module, "name"):
            yield _Request("module", name.text, name.at)
    if isinstance(wifi := node_at(root, "network", "wifi"), MapNode):
        yield _Request("section", "network.wifi", wifi.at)


def _of_entry(entry: MapNode) -> Iterator[_Request]:
    devices = entry.items.get("devices")
    for one in items(devices):
        if path := _text(one, "path"):
            yield _Request("path", path.text, path.at)
    for key in ("binds", "binds.add"):
        for bind in scalars(entry.items.get(key)):
            source = bind.text.partition(":")[0]
            if source.startswith(_HARDWARE):
                yield _Request("path", source, bind.at)
    if devices is None:
        yield from _of_folder(entry)


def _of_folder(entry: MapNode) -> Iterator[_Request]:
    """Give the devices of the container folder that `entry` names, at that place."""
    for key, folder in (("use", resources.path("services")), ("build", Path("/"))):
        name = entry.items.get(key)
        if not isinstance(name, ScalarNode) or not name.text:
            continue
        described = folder / name.text / "service.yml"
        if not described.is_file():
            continue  # a folder with a Dockerfile asks for nothing here
        document, _ = read_document([described], (), {})
        for one in items(document.root, "config", "devices"):
            if path := _text(one, "path"):
                yield _Request("path", path.text, name.at)


def _own_drivers(root: MapNode) -> Iterator[Node]:
    """Give what may bring a driver that the board's kernel has not."""
    yield from (one for one in maps(root, "modules") if "build" in one.items)
    yield from items(root, "init")
    if (image := node_at(root, "kernel", "image")) is not None:
        yield image


def _text(node: Node, key: str) -> ScalarNode | None:
    """Return the scalar `node`, or the one that a mapping has at `key`."""
    return scalar(node, key) if isinstance(node, MapNode) else scalar(node)
