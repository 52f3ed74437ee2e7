"""What a file requests and its board lacks: reported before a build, with the place.

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
from piimage.board import Absent, Board, Lack
from piimage.boards import known_boards, load_board, search_path
from piimage.config.checks_sensors import sensor_device
from piimage.config.lookup import items, maps, node_at, scalar, scalars
from piimage.config.paths import APPLIANCE_PATHS, SECTIONS
from piimage.config.values import quoted
from piimage.document.document import read_document, with_paths
from piimage.document.nodes import ListNode, MapNode, Node, Position, ScalarNode
from piimage.errors import InputError, raise_all
from piimage.firmware.settings import PARAMETER
from piimage.sshkeys import DROPBEAR_OPTIONS, keys_of

_HARDWARE: Final = ("/dev/", "/sys/")
_SETTINGS: Final = (("boot", "config"), ("slots", "updates"), ("updates",))
"""What only some boot loaders understand."""
_MOUNTED: Final = ("dev", "proc", "sys", "run", "tmp", "var", "data")
"""Folders of the root over which the system mounts something at boot: appliance/README.md."""


@dataclass(frozen=True)
class Finding:
    """A request that the board cannot meet."""

    error: InputError
    certain: bool
    """True if it works on no model; false if it works on some, or with the file's own driver."""


@dataclass(frozen=True)
class _Request:
    """What the file requests, and where."""

    kind: Literal["path", "module", "section", "setting"]
    """A section is about hardware, which the file's own driver may drive; a setting is not."""
    text: str
    at: Position


def refuse_lacking(
    files: Sequence[Path], sets: Sequence[str], environment: Mapping[str, str]
) -> tuple[str, ...]:
    """Return warnings about requests of `files` that only some models of their board can meet.

    Raises InputError (or an ErrorGroup) ``config.lacking`` or ``config.no-overlay`` for each
    request that no model can meet.
    """
    all_findings = findings(files, sets, environment)
    raise_all(finding.error for finding in all_findings if finding.certain)
    return tuple(str(finding.error) for finding in all_findings)


def findings(
    files: Sequence[Path], sets: Sequence[str], environment: Mapping[str, str]
) -> tuple[Finding, ...]:
    """Return the requests of `files` that their board cannot meet; invalid parts are skipped."""
    document, _ = read_document(files, sets, environment)
    root = with_paths(document, APPLIANCE_PATHS).root
    name = root.items.get("board")
    if not isinstance(name, ScalarNode):
        return ()
    board = load_board(name.text, search_path(files, environment))
    # Each use of an alias gives the same finding at the same place.
    all_findings = (*_findings(root, board), *_covered(root))
    return tuple({str(finding.error): finding for finding in all_findings}.values())


def requested_paths(root: MapNode) -> frozenset[str]:
    """Return the devices and kernel files that the containers and sensors of a file need."""
    return frozenset(request.text for request in _requests(root) if request.kind == "path")


def absent_model(name: str, search: Sequence[Path]) -> Absent | None:
    """Return the model called `name` that a board of `search` lists as not supported."""
    models = (model for board in known_boards(search) for model in board.absent)
    return next((model for model in models if name in model.names), None)


def lacking_overlay(overlay: str, board: Board) -> Lack | None:
    """Return the lack of `board` that makes `overlay` useless, if there is one."""
    return next((lack for lack in board.lacks if overlay in lack.overlays), None)


def _findings(root: MapNode, board: Board) -> Iterator[Finding]:
    applied = _applied(root, board)
    own_drivers = any(True for _ in _own_drivers(root))
    for request in _requests(root):
        certain = request.kind in ("module", "setting") or not own_drivers
        if overlays := _overlays_for(request, board):
            if not applied.intersection(overlays):
                yield Finding(_no_overlay(request, board, overlays), certain)
            continue
        for lack, title, all_models in _lacks(board):
            if _concerns(lack, request):
                yield Finding(_lacking(request, title, lack), certain and all_models)
    yield from (Finding(error, False) for error in _options_of_keys(root))
    if node_at(root, "kernel", "image") is None:  # else the device trees come from that image
        yield from (Finding(error, False) for error in _parameters(root, board, applied))


def _options_of_keys(root: MapNode) -> Iterator[InputError]:
    """Give an error for each key that the ready-made sshd ignores because of unknown options."""
    uses = (_text(entry, "use") for entry in maps(root, "services"))
    if not any(name is not None and name.text == "sshd" for name in uses):
        return
    for node in scalars(root, "ssh", "authorized_keys"):
        try:
            options = [option for key in keys_of(node.text) for option in key.options]
        except InputError:
            continue  # invalid keys are reported by the checks
        if unknown := sorted(set(options) - DROPBEAR_OPTIONS):
            yield InputError(
                "ssh.unknown-option",
                f"the ready-made sshd (Dropbear) ignores keys with the option {', '.join(unknown)}",
                place=str(node.at),
                hint="remove the option, or run your own service with OpenSSH",
            )


def _parameters(root: MapNode, board: Board, applied: set[str]) -> Iterator[InputError]:
    """Give an error for each `dtparam` of config.txt: Debian's device trees have no parameters."""
    node = node_at(root, "boot", "config", PARAMETER)
    for line in [node] if isinstance(node, ScalarNode) else scalars(node):
        names = [word.partition("=")[0].strip() for word in line.text.split(",")]
        overlays = [
            board.overlays.instead_of[name] for name in names if _enables(name, line.text, board)
        ]
        missing = [name for name in dict.fromkeys(overlays) if name not in applied]
        if missing:
            hint = f"instead: boot: {{ overlays: [{', '.join(missing)}] }}"
        else:
            listed = f"; overlays: already has {', '.join(overlays)}" if overlays else ""
            hint = f"remove it{listed}"
        yield InputError(
            "config.no-effect",
            f"{PARAMETER}={line.text} has no effect: the device trees of {board.title} have no "
            "parameters",
            place=str(line.at),
            hint=hint,
        )


def _enables(name: str, text: str, board: Board) -> bool:
    """Say whether `text` enables by the parameter `name` what an overlay can do instead."""
    off = re.search(rf"(^|,)\s*{re.escape(name)}=(off|no|false|0)\b", text)
    return name in board.overlays.instead_of and not off


def _covered(root: MapNode) -> Iterator[Finding]:
    """Give a finding for each entry of `files:` that a mount hides at run time."""
    for file in maps(root, "files"):
        if (path := _text(file, "path")) and (
            top := path.text.strip("/").split("/")[0]
        ) in _MOUNTED:
            cover = "the data partition" if top == "data" else "an empty file system"
            error = InputError(
                "config.covered",
                f"{quoted(path.text)} is hidden: {cover} is mounted over /{top} at boot",
                place=str(path.at),
                hint="put it below /etc or /usr, and bind it from there",
            )
            yield Finding(error, certain=False)


def _lacks(board: Board) -> Iterator[tuple[Lack, str, bool]]:
    """Give each lack, the models that have it, and whether these are all models of the board."""
    for lack in board.lacks:
        yield lack, board.title, True
    for lack in dict.fromkeys(lack for model in board.models for lack in model.lacks):
        models = [model.title for model in board.models if lack in model.lacks]
        yield lack, ", ".join(models), False


def _applied(root: MapNode, board: Board) -> set[str]:
    names = {node.text for node in scalars(root, "boot", "overlays")}
    dropped = {name.removeprefix("-") for name in names if name.startswith("-")}
    return {*board.overlays.always, *names} - dropped


def _overlays_for(request: _Request, board: Board) -> list[str]:
    if request.kind != "path":
        return []
    gives = board.overlays.gives.items()
    return [name for name, patterns in gives if _matches(request.text, patterns)]


def _concerns(lack: Lack, request: _Request) -> bool:
    match request.kind:
        case "path":
            return _matches(request.text, lack.paths)
        case "module":
            return request.text.replace("_", "-") in lack.modules
        case "section" | "setting":
            return request.text in lack.sections


def _matches(path: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def _no_overlay(request: _Request, board: Board, overlays: Sequence[str]) -> InputError:
    return InputError(
        "config.no-overlay",
        f"{board.title} has {request.text} only with an overlay",
        place=str(request.at),
        hint=f"instead: boot: {{ overlays: [{overlays[0]}] }}"
        + (f" (or {', '.join(overlays[1:])})" if overlays[1:] else ""),
    )


def _lacking(request: _Request, title: str, lack: Lack) -> InputError:
    return lacking_error(quoted(request.text), title, lack, request.at)


def lacking_error(request: str, title: str, lack: Lack, at: Position) -> InputError:
    """Return the error that the board or model `title` cannot provide `request`, for `lack`."""
    return InputError(
        "config.lacking",
        f"{request} on {title}: {lack.what.rstrip('.')}",
        place=str(at),
        hint=f"instead: {lack.instead}" if lack.instead else "remove it, or use another board",
    )


# The requests of the file -------------------------------------------------------------------


def _requests(root: MapNode) -> Iterator[_Request]:
    for section in SECTIONS:
        for entry in maps(root, section):
            yield from _entry_requests(entry)
    for module in items(root, "modules"):
        if name := _text(module, "name"):
            yield _Request("module", name.text, name.at)
    for sensor in maps(root, "sensors"):
        if (bus := _text(sensor, "bus")) and (path := sensor_device(bus.text, root)):
            yield _Request("path", path, bus.at)
    if isinstance(wifi := node_at(root, "network", "wifi"), MapNode | ListNode):
        yield _Request("section", "network.wifi", wifi.at)
    for keys in _SETTINGS:
        node = node_at(root, *keys)
        if node is not None and not (isinstance(node, ScalarNode) and node.text == "false"):
            yield _Request("setting", ".".join(keys), node.at)


def _entry_requests(entry: MapNode) -> Iterator[_Request]:
    devices = entry.items.get("devices")
    for device in items(devices):
        if path := _text(device, "path"):
            yield _Request("path", path.text, path.at)
    for key in ("binds", "binds.add"):
        for bind in scalars(entry, key):
            source = bind.text.partition(":")[0]
            if source.startswith(_HARDWARE):
                yield _Request("path", source, bind.at)
    if devices is None:
        yield from _folder_requests(entry)


def _folder_requests(entry: MapNode) -> Iterator[_Request]:
    """Give the devices of the container folder that `entry` names, with the entry's place."""
    for key, folder in (("use", resources.path("services")), ("build", Path("/"))):
        name = entry.items.get(key)
        if not isinstance(name, ScalarNode) or not name.text:
            continue
        file = folder / name.text / "service.yml"
        if not file.is_file():
            continue  # a folder with a Dockerfile lists no devices
        document, _ = read_document([file], (), {})
        for device in items(document.root, "config", "devices"):
            if path := _text(device, "path"):
                yield _Request("path", path.text, name.at)


def _own_drivers(root: MapNode) -> Iterator[Node]:
    """Give the nodes that may add a driver to the board's kernel."""
    yield from (module for module in maps(root, "modules") if "build" in module.items)
    yield from items(root, "init")
    if (image := node_at(root, "kernel", "image")) is not None:
        yield image


def _text(node: Node, key: str) -> ScalarNode | None:
    """Return the scalar `node`, or the one that a mapping has at `key`."""
    return scalar(node, key) if isinstance(node, MapNode) else scalar(node)
