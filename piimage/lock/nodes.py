"""YAML as nodes with their places, for a file that may have been damaged.

PyYAML's own composer recurses in C without a limit and ends the process on a deeply nested text;
this one reads its events and stops early. A lock has no anchors and no aliases.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import yaml
from yaml.parser import ParserError

_DEPTH: Final = 6  # the file itself, a section, an item, a field, a list, and one to spare


@dataclass(frozen=True)
class Node:
    """A value, and where it begins; lines and columns count from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Scalar(Node):
    """A text."""

    text: str


@dataclass(frozen=True)
class Sequence(Node):
    """A list."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class Mapping(Node):
    """Keys and values, in the order of the text; a key can stand twice."""

    pairs: tuple[tuple[Node, Node], ...]


def compose(text: str) -> Node | None:
    """Return the root node of the only document in `text`; yaml.YAMLError if it is no YAML."""
    events = yaml.parse(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))
    found: Node | None = None
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            if found is not None:
                raise _error("a second document begins", event)
            found = _node(next(events), events, 0)
    return found


def _node(event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> Node:
    mark = event.start_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    if depth > _DEPTH:
        raise _error("it is nested too deeply", event)
    if isinstance(event, yaml.ScalarEvent):
        return Scalar(line, column, event.value)
    if isinstance(event, yaml.SequenceStartEvent):
        items = (_node(inner, events, depth + 1) for inner in _until_end(events))
        return Sequence(line, column, tuple(items))
    if isinstance(event, yaml.MappingStartEvent):
        pairs = (
            (_node(key, events, depth + 1), _node(next(events), events, depth + 1))
            for key in _until_end(events)
        )
        return Mapping(line, column, tuple(pairs))
    raise _error("an alias stands here", event)


def _until_end(events: Iterator[yaml.Event]) -> Iterator[yaml.Event]:
    for event in events:
        if isinstance(event, yaml.CollectionEndEvent):
            return
        yield event


def _error(what: str, event: yaml.Event) -> yaml.YAMLError:
    return ParserError(None, None, what, event.start_mark)  # type: ignore[arg-type]  # or C's Mark
