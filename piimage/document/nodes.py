"""YAML bytes to a tree of nodes that know where they were written.

libyaml splits the bytes into events; the tree is built here, because PyYAML's own composer is
recursive C without limits, and knows nothing of duplicate keys. Aliases share their anchor's node.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

import yaml
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from piimage.errors import InputError

MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 40
MAX_NODES: Final = 50_000  # counted with every alias unfolded

_TAGS: Final = frozenset(
    {None, "!", *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "map", "seq"))}
)


@dataclass(frozen=True)
class Position:
    """A place in a source, counted from 1."""

    source: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True)
class ScalarNode:
    """A scalar as it is written; `plain` without quotes."""

    at: Position
    text: str
    plain: bool


@dataclass(frozen=True)
class ListNode:
    """A list."""

    at: Position
    items: "tuple[Node, ...]"


@dataclass(frozen=True)
class MapNode:
    """A mapping; `keys` has the position of each key."""

    at: Position
    items: "dict[str, Node]"
    keys: dict[str, Position]


class Written(int):
    """A whole number that remembers how it was written (``0x77``, ``0644``)."""

    text: str

    def __new__(cls, value: int, text: str) -> Self:
        """Make the number `value`, written as `text`."""
        made = super().__new__(cls, value)
        made.text = text
        return made


Node = ScalarNode | ListNode | MapNode


def parse(data: bytes, source: str) -> tuple[Node | None, list[InputError]]:
    """Return the document in `data` (None if it is empty) and the errors that leave it readable.

    Raises InputError ``config.syntax``, ``config.too-large`` for what cannot be read at all.
    """
    if len(data) > MAX_BYTES:
        raise InputError(
            "config.too-large",
            f"{len(data)} bytes are too many",
            place=source,
            hint=f"instead: files of at most {MAX_BYTES} bytes; several are merged",
        )
    composer = _Composer(data, source)
    try:
        return composer.document(), composer.errors
    except yaml.YAMLError as error:
        raise _syntax_error(error, source) from error
    except (ValueError, OverflowError) as error:  # text that is neither UTF-8 nor UTF-16
        raise _syntax(Position(source, 1, 1), f"it is no text ({error})") from error


def _syntax_error(error: yaml.YAMLError, source: str) -> InputError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    at = Position(source, mark.line + 1, mark.column + 1) if mark else Position(source, 1, 1)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
    context = getattr(error, "context", None)
    return _syntax(at, f"{context}: {what}" if context else str(what))


def _syntax(at: Position, what: str) -> InputError:
    return InputError(
        "config.syntax",
        f"not YAML: {what}",
        place=str(at),
        hint="instead: spaces to indent, and quotes around text with : # { } [ ] , & * ! | > % @",
    )


def _too_large(at: Position, what: str) -> InputError:
    return InputError(
        "config.too-large",
        what,
        place=str(at),
        hint=f"instead: at most {MAX_DEPTH} levels and {MAX_NODES} values, aliases unfolded",
    )


@dataclass(frozen=True)
class _Made:
    """A node; how many it is, and how deep, with aliases unfolded."""

    node: Node
    count: int = 1
    height: int = 1


class _Composer:
    def __init__(self, data: bytes, source: str) -> None:
        self._events = _events(data)
        self._source = source
        self._anchors: dict[str, _Made] = {}
        self._open: set[str] = set()
        self.errors: list[InputError] = []

    def document(self) -> Node | None:
        event = next(self._events)
        while isinstance(event, StreamStartEvent | DocumentStartEvent):
            event = next(self._events)
        if isinstance(event, StreamEndEvent):
            return None
        node = self._node(event, 1).node
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                raise _syntax(self._at(event), "a second document (---) in one file")
            if not isinstance(event, DocumentEndEvent):
                break
        return node

    def _at(self, event: Event) -> Position:
        mark = event.start_mark
        assert mark is not None  # noqa: S101  # libyaml's events always have one
        return Position(self._source, mark.line + 1, mark.column + 1)

    def _node(self, event: Event, depth: int) -> _Made:
        """Return the node that begins with `event`."""
        at = self._at(event)
        if depth > MAX_DEPTH:
            raise _too_large(at, "the nesting is too deep")
        anchor = getattr(event, "anchor", None)
        if isinstance(event, AliasEvent):
            made = self._alias(event, at)
            anchor = None
        elif anchor:
            self._open.add(anchor)
            made = self._content(event, at, depth)
            self._open.discard(anchor)
            self._anchors[anchor] = made
        else:
            made = self._content(event, at, depth)
        if made.count > MAX_NODES:
            raise _too_large(at, "too many values")
        if depth + made.height > MAX_DEPTH + 1:
            raise _too_large(at, "the nesting is too deep")
        return made

    def _content(self, event: Event, at: Position, depth: int) -> _Made:
        if isinstance(event, ScalarEvent):
            return _Made(self._scalar(event, at))
        if isinstance(event, SequenceStartEvent):
            return self._list(event, at, depth)
        if isinstance(event, MappingStartEvent):
            return self._map(event, at, depth)
        raise _syntax(at, "a value is missing")

    def _alias(self, event: AliasEvent, at: Position) -> _Made:
        if event.anchor in self._open:
            raise _syntax(at, f"*{event.anchor} contains itself")
        if event.anchor not in self._anchors:
            raise _syntax(at, f"nothing above is called &{event.anchor}")
        return self._anchors[event.anchor]

    def _scalar(self, event: ScalarEvent, at: Position) -> ScalarNode:
        self._check_tag(event.tag, at)
        plain = event.style in (None, "") and event.tag is None
        return ScalarNode(at, event.value, plain)

    def _check_tag(self, tag: str | None, at: Position) -> None:
        if tag not in _TAGS:
            self.errors.append(_syntax(at, f"the tag {tag} means nothing here"))

    def _list(self, event: SequenceStartEvent, at: Position, depth: int) -> _Made:
        self._check_tag(event.tag, at)
        items: list[Node] = []
        count, height = 1, 0
        for inner in self._until_end():
            made = self._node(inner, depth + 1)
            items.append(made.node)
            count, height = count + made.count, max(height, made.height)
        return _Made(ListNode(at, tuple(items)), count, height + 1)

    def _map(self, event: MappingStartEvent, at: Position, depth: int) -> _Made:
        self._check_tag(event.tag, at)
        items: dict[str, Node] = {}
        keys: dict[str, Position] = {}
        merged: list[Node] = []
        count, height = 1, 0
        for inner in self._until_end():
            key = self._node(inner, depth + 1).node
            made = self._node(next(self._events), depth + 1)
            count, height = count + made.count + 1, max(height, made.height)
            if not isinstance(key, ScalarNode):
                self.errors.append(_syntax(key.at, "a key that is a list or a mapping"))
            elif key.plain and key.text == "<<":
                merged.append(made.node)
            elif key.text in items:
                self.errors.append(_duplicate(key, keys[key.text]))
            else:
                items[key.text], keys[key.text] = made.node, key.at
        for node in merged:
            self._merge(node, items, keys)
        return _Made(MapNode(at, items, keys), count, height + 1)

    def _merge(self, value: Node, items: dict[str, Node], keys: dict[str, Position]) -> None:
        """Add what `<<: *anchor` brings and the mapping itself does not say."""
        for source in value.items if isinstance(value, ListNode) else (value,):
            if not isinstance(source, MapNode):
                self.errors.append(_syntax(source.at, "<< takes a mapping, or a list of mappings"))
                continue
            for key, node in source.items.items():
                if key not in items:
                    items[key], keys[key] = node, source.keys[key]

    def _until_end(self) -> Iterator[Event]:
        for event in self._events:
            if isinstance(event, yaml.events.CollectionEndEvent):
                return
            yield event


def _duplicate(key: ScalarNode, first: Position) -> InputError:
    return InputError(
        "config.duplicate-key",
        f"the key {key.text!r} is listed twice",
        place=str(key.at),
        hint=f"instead: one of the two; the first is in line {first.line}",
    )


def _events(data: bytes) -> Iterator[Event]:
    loader = yaml.CSafeLoader(data)
    try:
        while event := loader.get_event():
            yield event
    finally:
        loader.dispose()
