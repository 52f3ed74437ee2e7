"""What no single value shows: names that must be there, be unique, or exclude one another.

The checks look at the document, not at the models, so that they speak even if some value is wrong.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

from piimage import resources
from piimage.boundary import is_inside, leading_out, outside
from piimage.config.laid import misplaced, spelled
from piimage.config.paths import PACKAGE, SECTIONS
from piimage.config.values import did_you_mean, quoted
from piimage.document.document import Document, resolve
from piimage.document.nodes import ListNode, MapNode, Node, Position, ScalarNode
from piimage.errors import InputError, PiimageError
from piimage.sshkeys import keys_of
from piimage.wifi import WANTED, secret_in

# containerd's names (pkg/identifiers/validate.go) have one separator at a time, none at the end.
_RUN_TOGETHER: Final = re.compile("[_.-](?:[_.-]|$)")
_WAYS: Final = ("image", "build", "use", "packages")
_MEANT_FOR: Final = {
    "restart": ("services",),
    "after": ("services",),
    "health": ("services",),
    "stop_timeout": ("services",),
    "log": ("services",),
    "required": ("onboot",),
    "timeout": ("onboot", "onshutdown"),
}


def appliance_errors(document: Document, boards: Sequence[Path] = ()) -> Iterator[InputError]:
    """Give what is wrong in an appliance beside its single values.

    `boards` are the folders where boards are looked for, before piimage's own.
    """
    root = document.root
    for section in SECTIONS:
        for entry in _maps(root, section):
            yield from _entry_errors(section, entry)
            yield from _bind_errors(root, entry)
    yield from chain(
        _board_errors(root, boards),
        _duplicates(root, "services", "service"),
        _duplicates(root, "volumes", "volume"),
        _duplicates(root, "modules", "module"),
        _after_errors(root),
        _file_errors(root),
        _laid_errors(root),
        _host_key_errors(root),
        _owner_errors(root),
        _module_errors(root),
        _unsupported_errors(root),
        _wifi_errors(root),
        _check_errors(root),
        _setting_errors(root),
    )


def folder_errors(document: Document) -> Iterator[InputError]:
    """Give what is wrong in a tree's description (service.yml) beside its single values."""
    for file in _maps(document.root, "files"):
        source = _scalar(file, "source")
        if source:
            yield from _reading_errors(source, "a path beside this file", Path.exists)
    for one in _scalars(document.root.items.get("python")):
        if not _holds(Path.is_file, Path(one.text) / "pyproject.toml"):
            yield InputError(
                "config.no-folder",
                f"{one.text!r} is no Python project",
                place=str(one.at),
                hint="instead: a folder with a pyproject.toml",
            )
    yield from _seccomp_errors(document.root.items.get("config"))


def boundary_errors(document: Document, root: Path) -> Iterator[InputError]:
    """Give an error for each path of a service.yml that leads out of the folder `root`."""
    files = (_scalar(file, "source") for file in _maps(document.root, "files"))
    profile = _scalar(document.root.items.get("config"), "seccomp")
    if profile and not profile.text.startswith("/"):
        profile = None  # a word for one of piimage's own
    for one in filter(None, (*files, profile)):
        for path in leading_out(Path(one.text), root):
            yield outside(path, root, str(one.at))
    # Of a project only some files are read, which `read_project` looks at.
    for one in _scalars(document.root.items.get("python")):
        if not is_inside(Path(one.text), root):
            yield outside(Path(one.text), root, str(one.at))


# Reading nodes that may be anything ---------------------------------------------------------


def _maps(root: MapNode, section: str) -> Iterator[MapNode]:
    node = root.items.get(section)
    if isinstance(node, ListNode):
        yield from (item for item in node.items if isinstance(item, MapNode))


def _scalar(node: Node | None, *path: str) -> ScalarNode | None:
    for key in path:
        node = node.items.get(key) if isinstance(node, MapNode) else None
    return node if isinstance(node, ScalarNode) and node.text else None


def _scalars(node: Node | None) -> Iterator[ScalarNode]:
    if isinstance(node, ListNode):
        yield from (item for item in node.items if isinstance(item, ScalarNode))


def _said(node: MapNode, key: str) -> bool:
    value = node.items.get(key)
    return value is not None and not (isinstance(value, ScalarNode) and not value.text)


def _name_of(entry: MapNode) -> str:
    name = _scalar(entry, "name")
    return name.text if name else "this container"


# The checks ---------------------------------------------------------------------------------


def _board_errors(root: MapNode, search: Sequence[Path]) -> Iterator[InputError]:
    from piimage.boards import board_names  # noqa: PLC0415  # container folders have no board

    board = _scalar(root, "board")
    if board is None:
        return
    known = board_names(search)
    if board.text not in known:
        yield _unknown_board(board, known, search)
        return
    if wanted := list(_scalars(_node(root, "boot", "overlays"))):
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
    said = _node(root, "boot", "cmdline")
    lines = (said, _node(root, "kernel", "cmdline"))
    return [*_scalars(said), *(one for one in lines if isinstance(one, ScalarNode) and one.text)]


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


def _setting_errors(root: MapNode) -> Iterator[InputError]:
    """Give what the writer of config.txt would refuse."""
    from piimage.firmware.settings import fault  # noqa: PLC0415  # few files have settings

    config = _node(root, "boot", "config")
    if not isinstance(config, MapNode):
        return
    for key, node in config.items.items():
        values = node.items if isinstance(node, ListNode) else (node,)
        texts = [one for one in values if isinstance(one, ScalarNode)]
        for one in texts:
            if found := fault(key, one.text):
                at = one.at if found.of_value else config.keys[key]
                yield InputError(
                    "config.value", found.message, place=str(at), hint=f"instead: {found.instead}"
                )


def _entry_errors(section: str, entry: MapNode) -> Iterator[InputError]:
    ways = [way for way in _WAYS if _said(entry, way)]
    if len(ways) != 1:
        what = f"has {' and '.join(ways)}" if ways else "has no root file system"
        yield InputError(
            "config.root-file-system",
            f"{_name_of(entry)} {what}",
            place=str(entry.keys[ways[1]] if ways else entry.at),
            hint=f"instead: exactly one of {', '.join(_WAYS)}",
        )
    for key, sections in _MEANT_FOR.items():
        if section not in sections and _said(entry, key):
            yield _misplaced(entry.keys[key], f"{key} means nothing in {section}", sections)
    if _said(entry, "entrypoint") and not _said(entry, "packages"):
        yield _misplaced(
            entry.keys["entrypoint"], "entrypoint means nothing without packages", ("command",)
        )
    if section == "services":
        yield from _identifier_errors(entry)
    yield from _folder_errors(entry)
    yield from _context_errors(entry)
    yield from _seccomp_errors(entry)


def _context_errors(entry: MapNode) -> Iterator[InputError]:
    context, folder = _scalar(entry, "context"), _scalar(entry, "build")
    if context is None:
        return
    if folder is None:
        yield _misplaced(context.at, "context means nothing without build", ("build",))
    elif not (Path(folder.text) / "service.yml").is_file():
        yield InputError(
            "config.misplaced",
            "context means nothing for a Dockerfile: that copies from its own folder",
            place=str(context.at),
            hint="instead: `build:` with the folder to copy from, and the Dockerfile in it",
        )
    elif not is_inside(Path(folder.text), Path(context.text)):
        yield outside(Path(folder.text), Path(context.text), str(context.at))


def _identifier_errors(entry: MapNode) -> Iterator[InputError]:
    name = _scalar(entry, "name")
    if name is not None and _RUN_TOGETHER.search(name.text):
        yield InputError(
            "config.value",
            f"{quoted(name.text)} is no name that containerd takes",
            place=str(name.at),
            hint="instead: letters and digits between any two of '_', '.' and '-', and at the end",
        )


def _misplaced(at: Position, what: str, where: Iterable[str]) -> InputError:
    hint = f"instead: leave it out, or use {' or '.join(where)}"
    return InputError("config.misplaced", what, place=str(at), hint=hint)


def _holds(test: Callable[[Path], bool], path: Path) -> bool:
    """Say whether `test` holds; not for a name that no file system takes, such as a longer one."""
    try:
        return test(path)
    except OSError:
        return False


def _folder_errors(entry: MapNode) -> Iterator[InputError]:
    image = _scalar(entry, "image")
    build = _scalar(entry, "build") or (image if image and image.text.startswith(PACKAGE) else None)
    if build:
        folder = Path(build.text.removeprefix(PACKAGE))
        if not any(_holds(Path.is_file, folder / name) for name in ("service.yml", "Dockerfile")):
            what = (
                "has neither service.yml nor Dockerfile"
                if _holds(Path.is_dir, folder)
                else "is no folder"
            )
            yield InputError(
                "config.no-folder",
                f"{str(folder)!r} {what}",
                place=str(build.at),
                hint="instead: a container folder, relative to this file",
            )
    use = _scalar(entry, "use")
    services = resources.path("services")
    if use and not _holds(Path.is_file, services / Path(use.text).name / "service.yml"):
        shipped = sorted(file.parent.name for file in services.glob("*/service.yml"))
        yield InputError(
            "config.no-folder",
            f"piimage ships no container folder {quoted(use.text)}",
            place=str(use.at),
            hint=f"instead: {did_you_mean(use.text, shipped)}; build: for a folder of your own",
        )


def _seccomp_errors(node: Node | None) -> Iterator[InputError]:
    seccomp = _scalar(node, "seccomp")
    if seccomp and seccomp.text.startswith("/"):
        instead = "default, unconfined, or a profile's path relative to this file"
        yield from _reading_errors(seccomp, instead)


def _reading_errors(
    node: ScalarNode, instead: str, is_there: Callable[[Path], bool] = Path.is_file
) -> Iterator[InputError]:
    """Give the error of a file that is not there, or that this user may not read."""
    if not _holds(is_there, Path(node.text)):
        yield _no_file(node, instead)
    elif not os.access(node.text, os.R_OK, effective_ids=True):
        yield InputError(
            "config.no-file",
            f"this user may not read {node.text!r}",
            place=str(node.at),
            hint="instead: a file of your own, or change its owner or mode",
        )


def _no_file(node: ScalarNode, instead: str) -> InputError:
    return InputError(
        "config.no-file",
        f"there is no file {node.text!r}",
        place=str(node.at),
        hint=f"instead: {instead}",
    )


def _bind_errors(root: MapNode, entry: MapNode) -> Iterator[InputError]:
    volumes = {name.text for node in _maps(root, "volumes") if (name := _scalar(node, "name"))}
    for key in ("binds", "binds.add"):
        for bind in _scalars(entry.items.get(key)):
            source, colon, _ = bind.text.partition(":")
            if colon and source and not source.startswith("/") and source not in volumes:
                yield InputError(
                    "config.no-volume",
                    f"there is no volume {quoted(source)}",
                    place=str(bind.at),
                    hint=f"instead: a path that begins with /, or {did_you_mean(source, volumes)}",
                )


def _duplicates(root: MapNode, section: str, kind: str) -> Iterator[InputError]:
    first: dict[str, Position] = {}
    for entry in _maps(root, section):
        name = _scalar(entry, "name")
        if name is None:
            continue
        if name.text in first:
            yield InputError(
                "config.duplicate-name",
                f"a second {kind} is called {quoted(name.text)}",
                place=str(name.at),
                hint=f"instead: another name; the first is at {first[name.text]}",
            )
        first.setdefault(name.text, name.at)


def _after_errors(root: MapNode) -> Iterator[InputError]:
    places: dict[str, dict[str, Position]] = {}
    for entry in _maps(root, "services"):
        waits = {one.text: one.at for one in _scalars(entry.items.get("after"))}
        places.setdefault(_name_of(entry), {}).update(waits)
    for name, waits in places.items():
        for other, at in waits.items():
            if other not in places:
                yield InputError(
                    "config.unknown-service",
                    f"{name} waits for {quoted(other)}, which is no service",
                    place=str(at),
                    hint=f"instead: {did_you_mean(other, set(places) - {name})}",
                )
    yield from _cycle_errors(places)


def _cycle_errors(places: Mapping[str, Mapping[str, Position]]) -> Iterator[InputError]:
    done: set[str] = set()
    for start in places:
        cycle = _cycle(start, places, done)
        if cycle:
            yield InputError(
                "config.cycle",
                f"these services wait for one another: {' -> '.join((*cycle, cycle[0]))}",
                place=str(places[cycle[-1]][cycle[0]]),
                hint="instead: leave out one of these `after:`",
            )


def _cycle(
    start: str, places: Mapping[str, Mapping[str, Position]], done: set[str]
) -> tuple[str, ...]:
    """Return a cycle that `start` leads to, and mark all that was looked at in `done`."""
    trail: list[str] = []
    waiting = [(start, 0)]
    while waiting:
        name, depth = waiting.pop()
        del trail[depth:]
        if name in trail:
            return tuple(trail[trail.index(name) :])
        if name in done or name not in places:
            continue
        done.add(name)
        trail.append(name)
        waiting += [(other, depth + 1) for other in places[name]]
    return ()


def _file_errors(root: MapNode) -> Iterator[InputError]:
    for file in _maps(root, "files"):
        source, optional = _scalar(file, "source"), _scalar(file, "optional")
        wanted = optional is None or optional.text.lower() != "true"
        if source and (wanted or _holds(Path.is_file, Path(source.text))):
            instead = "a path relative to this file, or optional: true beside it"
            yield from _reading_errors(source, instead)
    for key in _scalars(_node(root, "ssh", "authorized_keys")):
        if key.text.startswith("/") and not _holds(Path.is_file, Path(key.text)):
            yield _no_file(key, "a public key's file (ssh-keygen makes one), or the key itself")
        elif key.text:
            yield from _key_errors(key)


def _laid_errors(root: MapNode) -> Iterator[InputError]:
    """Give the files that would take the place of a folder, or have a file for one."""
    paths: dict[str, ScalarNode] = {}
    folders: dict[str, bool] = {}
    for file in _maps(root, "files"):
        path, source = _scalar(file, "path"), _scalar(file, "source")
        there = source is None or _holds(Path.is_file, Path(source.text))
        if path is not None and path.text.strip("/.") and there:
            kind = _scalar(file, "directory")
            paths[spelled(path.text)] = path
            folders[spelled(path.text)] = kind is not None and resolve(kind) is True
    for name, why in misplaced(folders):
        yield InputError(
            "config.misplaced",
            f"{quoted(paths[name].text)} cannot be there: {why}",
            place=str(paths[name].at),
            hint="instead: another path",
        )


def _host_key_errors(root: MapNode) -> Iterator[InputError]:
    key = _scalar(root, "ssh", "host_key")
    if key is None or not _holds(Path.exists, Path(key.text)):
        return  # the build makes it
    if not _holds(Path.is_file, Path(key.text)):
        yield _no_file(key, "an ed25519 key's file, or one that the build makes")
        return
    from piimage.card.hostkey import read_host_key  # noqa: PLC0415  # few files name one

    try:
        read_host_key(Path(key.text))
    except InputError as error:
        yield InputError(error.code, error.message, place=str(key.at), hint=error.hint)


def _owner_errors(root: MapNode) -> Iterator[InputError]:
    """Give the owners that are neither a number nor the name of a container."""
    containers = [entry for section in SECTIONS for entry in _maps(root, section)]
    names = {name.text for entry in containers if (name := _scalar(entry, "name"))}
    if _node(root, "network", "wifi") is not None:
        names.add("wifi")  # the service that comes with it
    for one in (*_maps(root, "files"), *containers):
        groups = _scalars(one.items.get("additionalGids"))
        for owner in (_scalar(one, "uid"), _scalar(one, "gid"), *groups):
            number = owner is None or isinstance(resolve(owner), int)
            if owner is None or number or owner.text in (*names, "root"):
                continue
            yield InputError(
                "config.unknown-owner",
                f"no container is named {quoted(owner.text)}",
                place=str(owner.at),
                hint=f"instead: a number from 0, or {did_you_mean(owner.text, names)}",
            )


def _key_errors(key: ScalarNode) -> Iterator[InputError]:
    try:
        keys_of(key.text)
    except InputError as error:
        where = f"{error.place}: " if error.place else ""
        yield InputError(error.code, f"{where}{error.message}", place=str(key.at), hint=error.hint)


def _node(node: Node | None, *path: str) -> Node | None:
    for key in path:
        node = node.items.get(key) if isinstance(node, MapNode) else None
    return node


def _module_errors(root: MapNode) -> Iterator[InputError]:
    for module in _maps(root, "modules"):
        build = _scalar(module, "build")
        if build and not _holds(Path.is_file, Path(build.text) / "module.yml"):
            yield InputError(
                "config.no-folder",
                f"{build.text!r} has no module.yml",
                place=str(build.at),
                hint="instead: a module folder, relative to this file",
            )
        params = module.items.get("params")
        if isinstance(params, MapNode):
            yield from _parameter_errors(params, _parameters_of(build))


def _parameters_of(build: ScalarNode | None) -> Mapping[str, str]:
    """Return what a module folder says that may be set; nothing where none says it."""
    from piimage.config.load import load_module  # noqa: PLC0415  # it imports this module

    try:
        return load_module(Path(build.text)).parameters if build else {}
    except PiimageError:
        return {}  # a folder that is wrong has errors of its own


def _parameter_errors(params: MapNode, known: Mapping[str, str]) -> Iterator[InputError]:
    for name, value in params.items.items():
        if known and name not in known:
            yield InputError(
                "modules.bad-parameter",
                f"the module has no parameter {quoted(name)}",
                place=str(params.keys[name]),
                hint=f"instead: {did_you_mean(name, known)}",
            )
        text = value.text if isinstance(value, ScalarNode) else ""
        if any(letter in text for letter in "\"'*?[\\\n\t") or "  " in text:
            yield InputError(
                "modules.bad-parameter",
                f"the value {quoted(text)} cannot be given to a module",
                place=str(value.at),
                hint="instead: one without quotes, wildcards, backslashes, tabs and double blanks",
            )


def _unsupported_errors(root: MapNode) -> Iterator[InputError]:
    """Give what would silently be left out."""
    for volume in _maps(root, "volumes"):
        form = _scalar(volume, "format")
        if form and form.text == "oci" and _said(volume, "image"):
            yield _unsupported(form, "a volume with an image's layout", "format: filesystem")
    for one in (_scalar(root, "kernel", "image"), *_scalars(root.items.get("init"))):
        if one and one.text.startswith(PACKAGE):
            yield _unsupported(one, f"{one.text} here", "push it to a registry and name it by that")


def _unsupported(node: ScalarNode, what: str, instead: str) -> InputError:
    what = f"this version cannot do {what}"
    return InputError("plan.unsupported", what, place=str(node.at), hint=f"instead: {instead}")


def _wifi_errors(root: MapNode) -> Iterator[InputError]:
    wifi = _node(root, "network", "wifi")
    secret = _scalar(wifi, "psk_file")
    if secret:
        yield from _secret_errors(secret)
    if isinstance(wifi, MapNode) and not _scalar(root, "network", "country"):
        yield InputError(
            "config.no-country",
            "wifi without a country: the radio would stay off",
            place=str(wifi.at),
            hint="instead: country: beside wifi:, two capitals such as JP",
        )


def _secret_errors(file: ScalarNode) -> Iterator[InputError]:
    if wrong := list(_reading_errors(file, "a file whose first line is the passphrase")):
        yield from wrong
    elif secret_in(Path(file.text)) is None:
        yield InputError(
            "plan.bad-passphrase",
            f"the first line of {file.text!r} is no passphrase",
            place=str(file.at),
            hint=f"write {WANTED}; for an open network leave psk_file out",
        )


def _check_errors(root: MapNode) -> Iterator[InputError]:
    services = {_name_of(entry) for entry in _maps(root, "services")}
    checks = _node(root, "test", "checks")
    for check in checks.items if isinstance(checks, ListNode) else ():
        service = _scalar(check, "service")
        if service and service.text not in services:
            yield InputError(
                "config.unknown-service",
                f"the check looks into {quoted(service.text)}, which is no service",
                place=str(service.at),
                hint=f"instead: {did_you_mean(service.text, services)}",
            )
