"""YAML files, `--set` and ``${VARIABLE}`` merged into one document with positions."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from piimage.document.nodes import (
    MAX_BYTES,
    ListNode,
    MapNode,
    Node,
    Position,
    ScalarNode,
    Written,
    parse,
)
from piimage.errors import InputError, PiimageError

VARIABLES: Final = "variables"
"""The top-level key that lists the variables of a file."""

_VARIABLE: Final = re.compile(
    r"(?P<escape>\$?)\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>(?:(?!\$\{)[^}])*))?(?P<end>\})?"
)
_VARIABLE_NAME: Final = re.compile(r"[A-Z_][A-Z0-9_]*")
_INTEGER: Final = re.compile(
    r"[-+]?(?:0|[1-9][0-9]{0,18})|0x[0-9a-fA-F]{1,16}|0o[0-7]{1,21}", re.ASCII
)
_WORDS: Final = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}

Steps = Sequence[str | int]


@dataclass(frozen=True)
class Document:
    """The tree that all sources are merged into."""

    root: MapNode

    def data(self) -> dict[str, Any]:
        """Return the document as plain data, without keys that have no value."""
        return _plain_map(self.root)

    def find(self, path: Steps) -> Node:
        """Return the node at `path`, or its nearest parent; unknown parts of `path` are skipped."""
        node: Node = self.root
        for part in path:
            if isinstance(node, MapNode) and part in node.items:
                node = node.items[str(part)]
            elif isinstance(node, ListNode) and isinstance(part, int) and part < len(node.items):
                node = node.items[part]
        return node

    def place(self, path: Steps) -> Position:
        """Return the place of the value at `path`, or of its nearest parent."""
        return self.find(path).at

    def key_place(self, path: Steps) -> Position:
        """Return the place of the last key of `path`."""
        parent = self.find(path[:-1])
        if isinstance(parent, MapNode) and path[-1] in parent.keys:
            return parent.keys[str(path[-1])]
        return parent.at


def read_document(
    files: Sequence[Path], sets: Sequence[str], environment: Mapping[str, str]
) -> tuple[Document, list[PiimageError]]:
    """Read `files`, insert the variables of each, merge the files, and apply `sets`.

    A file's ``${NAME}`` is text, as in LinuxKit, unless its own ``variables:`` lists NAME.
    LinuxKit's rule of merging: scalars override, lists append, mappings merge. Returns the
    document and all errors; a file that cannot be read counts as empty.
    """
    errors: list[PiimageError] = []
    root = MapNode(Position(str(files[0]) if files else "", 1, 1), {}, {})
    given = dict(text.partition("=")[::2] for text in sets if _sets_variable(text))
    for file in files:
        node = _guarded(lambda file=file: _read(file, errors), errors)  # type: ignore[misc]
        if isinstance(node, MapNode):
            root = _merge_maps(root, _filled(node, {**environment, **given}, errors))
    errors += _unlisted(given, _listed(root), root)
    for text in sets:
        if not _sets_variable(text):
            changed = _guarded(lambda root=root, text=text: _set(root, text, errors), errors)  # type: ignore[misc]
            root = changed if isinstance(changed, MapNode) else root
    return Document(root), errors


def parse_document(data: bytes, source: str) -> tuple[Document, list[PiimageError]]:
    """Return the document in `data`, without variables, and its errors."""
    errors: list[PiimageError] = []
    node = _guarded(lambda: _parse_map(data, source, errors), errors)
    root = node if isinstance(node, MapNode) else MapNode(Position(source, 1, 1), {}, {})
    return Document(root), errors


def _guarded(call: Callable[[], Node | None], errors: list[PiimageError]) -> Node | None:
    try:
        return call()
    except PiimageError as error:
        errors.append(error)
        return None


def _read(file: Path, errors: list[PiimageError]) -> Node | None:
    hint = "give the path of a YAML file; `piimage new FILE --board BOARD` creates one"
    return _parse_map(content(file, hint), str(file), errors)


def content(file: Path, hint: str) -> bytes:
    """Return the bytes of `file`: at most one more than a document may have.

    Raises InputError ``config.unreadable`` with `hint`.
    """
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise InputError(
            "config.unreadable", f"cannot be read ({why})", place=str(file), hint=hint
        ) from error


def _parse_map(data: bytes, source: str, errors: list[PiimageError]) -> Node | None:
    node, parse_errors = parse(data, source)
    errors.extend(parse_errors)
    if node is not None and not isinstance(node, MapNode) and not _is_null(node):
        raise InputError(
            "config.not-a-mapping",
            "the top level of the file is not a mapping",
            place=str(node.at),
            hint="instead: KEY: VALUE lines, beginning with board: or services:",
        )
    return node


def _is_null(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.plain and _WORDS.get(node.text, "") is None


# Merging and --set --------------------------------------------------------------------------


def _merge(base: Node, overlay: Node) -> Node:
    if isinstance(base, MapNode) and isinstance(overlay, MapNode):
        return _merge_maps(base, overlay)
    if isinstance(base, ListNode) and isinstance(overlay, ListNode):
        return replace(base, items=base.items + overlay.items)
    return overlay


def _merge_maps(base: MapNode, overlay: MapNode) -> MapNode:
    items, keys = dict(base.items), dict(base.keys)
    for key, node in overlay.items.items():
        items[key] = _merge(items[key], node) if key in items else node
        if items[key] is node:
            keys[key] = overlay.keys[key]
    return MapNode(base.at if base.items else overlay.at, items, keys)


def _set(root: MapNode, text: str, errors: list[PiimageError]) -> Node:
    source = f"--set {text}"
    key, equals, value = text.partition("=")
    parts = [part.replace(r"\.", ".") for part in re.split(r"(?<!\\)\.", key)]
    if not equals or not all(parts):
        raise _bad_set(source, "the option is not KEY=VALUE")
    try:
        node, parse_errors = parse(value.encode("utf-8", "surrogateescape"), source)
    except InputError as error:
        raise _bad_set(source, error.message) from error
    if parse_errors:
        raise _bad_set(source, parse_errors[0].message)
    at = Position(source, 0, 0)
    return _put(root, parts, _moved(node, at) if node else ScalarNode(at, "", True), at)


def _bad_set(source: str, message: str) -> InputError:
    return InputError(
        "config.set",
        message,
        place=source,
        hint="write a.b=VALUE for a key of the file (list items by name or number), "
        "or NAME=VALUE for ${NAME}",
    )


def _put(node: Node | None, parts: Sequence[str], value: Node, at: Position) -> Node:
    """Return `node` with `value` at the path `parts`."""
    if not parts:
        return value
    first, rest = parts[0], parts[1:]
    if isinstance(node, ListNode):
        index = _index(node, first, at)
        items = list(node.items)
        items[index] = _put(items[index], rest, value, at)
        return replace(node, items=tuple(items))
    if isinstance(node, MapNode):
        changed = _put(node.items.get(first), rest, value, at)
        key_at = node.keys.get(first, at) if rest else at
        return MapNode(node.at, {**node.items, first: changed}, {**node.keys, first: key_at})
    return MapNode(at, {first: _put(None, rest, value, at)}, {first: at})


def _index(node: ListNode, part: str, at: Position) -> int:
    names = [_name(item) for item in node.items]
    if part in names:
        return names.index(part)
    if re.fullmatch("[0-9]{1,6}", part, re.ASCII) and int(part) < len(node.items):
        return int(part)
    known = ", ".join(name for name in names if name) or f"0 to {len(node.items) - 1}"
    raise _bad_set(at.source, f"the list has no item {part!r}; its items are {known}")


def _name(item: Node) -> str:
    node = item.items.get("name") if isinstance(item, MapNode) else None
    return node.text if isinstance(node, ScalarNode) else ""


def _moved(node: Node, at: Position) -> Node:
    """Return `node` as if all of it were written at `at`."""
    match node:
        case MapNode():
            items = {key: _moved(value, at) for key, value in node.items.items()}
            return MapNode(at, items, dict.fromkeys(items, at))
        case ListNode():
            return ListNode(at, tuple(_moved(item, at) for item in node.items))
    return replace(node, at=at)


# Scalars ------------------------------------------------------------------------------------


def each_scalar(node: Node, change: Callable[[ScalarNode], ScalarNode]) -> Node:
    """Return `node` with each of its scalars changed."""
    match node:
        case MapNode():
            items = {key: each_scalar(value, change) for key, value in node.items.items()}
            return MapNode(node.at, items, node.keys)
        case ListNode():
            return ListNode(node.at, tuple(each_scalar(item, change) for item in node.items))
    return change(node)


def _sets_variable(text: str) -> bool:
    """Say whether `text`, of a `--set`, is NAME=VALUE for a variable."""
    key, equals, _ = text.partition("=")
    return bool(equals) and _VARIABLE_NAME.fullmatch(key) is not None


def _listed(root: MapNode) -> frozenset[str]:
    """Return the variables that a file lists."""
    node = root.items.get(VARIABLES)
    items = node.items if isinstance(node, ListNode) else ()
    return frozenset(item.text for item in items if isinstance(item, ScalarNode))


def _unlisted(given: Mapping[str, str], listed: Set[str], root: MapNode) -> Iterator[InputError]:
    for name in given:
        if name not in listed:
            yield InputError(
                "config.set",
                f"no file lists the variable {name}",
                place=f"--set {name}={given[name]}",
                hint=f"add `{VARIABLES}: [{name}]` at the top of the file that has ${{{name}}}",
            )


def _filled(root: MapNode, values: Mapping[str, str], errors: list[PiimageError]) -> MapNode:
    """Return a file with the values of the variables that it lists."""
    listed = _listed(root)
    if not listed:
        return root
    filled = each_scalar(root, lambda scalar: _substitute(scalar, listed, values, errors))
    assert isinstance(filled, MapNode)  # noqa: S101  # a mapping stays one
    return filled


def _substitute(
    scalar: ScalarNode,
    listed: Set[str],
    variables: Mapping[str, str],
    errors: list[PiimageError],
) -> ScalarNode:
    if "${" not in scalar.text:
        return scalar

    def value(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        if name not in listed:
            return match[0]
        if match["escape"]:
            return match[0].removeprefix("$")
        if match["end"] is None:
            text = scalar.text[match.start() : match.start() + 20]
            errors.append(_bad_variable(scalar.at, text, name))
            return ""
        # As in a shell, `:-` also applies if the variable is set to an empty text.
        text_of_variable = variables.get(name)
        if default is not None:
            return text_of_variable or default
        if text_of_variable is None:
            errors.append(_unset(scalar.at, name))
        return text_of_variable or ""

    return replace(scalar, text=_VARIABLE.sub(value, scalar.text))


def _unset(at: Position, name: str) -> InputError:
    return InputError(
        "config.unset-variable",
        f"the variable {name} is not set",
        place=str(at),
        hint=f"set it in the environment or with --set {name}=VALUE, or give a default: "
        f"${{{name}:-VALUE}}; for a literal ${{{name}}} write $${{{name}}}",
    )


def _bad_variable(at: Position, text: str, name: str) -> InputError:
    return InputError(
        "config.bad-variable",
        f"{text!r} is not a valid variable",
        place=str(at),
        hint=f"write ${{{name}}} or ${{{name}:-DEFAULT}}; for a literal ${{{name} write $${{{name}",
    )


def resolve(scalar: ScalarNode) -> str | int | bool | None:
    """Return the value of a scalar by YAML 1.2's core schema, with fractions as text.

    So 1.10 stays a version, 0644 a mode, 22:22 two ports, and `no` text.
    """
    if not scalar.plain:
        return scalar.text
    if scalar.text in _WORDS:
        return _WORDS[scalar.text]
    if _INTEGER.fullmatch(scalar.text):
        return Written(int(scalar.text, 0), scalar.text)
    return scalar.text


def plain(node: Node) -> object:
    """Return `node` as plain data."""
    match node:
        case MapNode():
            return _plain_map(node)
        case ListNode():
            return [plain(item) for item in node.items]
    return resolve(node)


def _plain_map(node: MapNode) -> dict[str, Any]:
    pairs = ((key, plain(value)) for key, value in node.items.items())
    return {key: value for key, value in pairs if value is not None}


# Paths --------------------------------------------------------------------------------------

Change = Callable[[str, str], str]
"""Takes a text and the source that contains it, and returns the new text."""


def with_paths(document: Document, changes: Mapping[tuple[str, ...], Change]) -> Document:
    """Return `document` with the texts at some paths (``*`` for any key or item) changed."""
    root = _with_paths(document.root, changes)
    assert isinstance(root, MapNode)  # noqa: S101  # a mapping stays one
    return Document(root)


def _with_paths(node: Node, changes: Mapping[tuple[str, ...], Change]) -> Node:
    if not changes:
        return node
    match node:
        case MapNode():
            items = {
                key: _with_paths(value, _changes_at(changes, key))
                for key, value in node.items.items()
            }
            return MapNode(node.at, items, node.keys)
        case ListNode():
            inner = _changes_at(changes, "*")
            return ListNode(node.at, tuple(_with_paths(item, inner) for item in node.items))
    if () in changes and node.text and not _is_null(node):
        return replace(node, text=changes[()](node.text, node.at.source), plain=False)
    return node


def _changes_at(
    changes: Mapping[tuple[str, ...], Change], key: str
) -> dict[tuple[str, ...], Change]:
    return {path[1:]: change for path, change in changes.items() if path and path[0] in (key, "*")}
