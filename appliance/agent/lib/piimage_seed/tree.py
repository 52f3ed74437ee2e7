"""YAML as a tree of texts with their lines, without whatever could make a small file large.

No text becomes a number, a date or a truth value: the country ``NO`` and the passphrase 12345678
stay what somebody wrote, as they do in netplan. Aliases, tags, a second document, a key that is
given twice, and deep nesting make a file unreadable.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

MOST_BYTES = 1 << 16
"""The size of a file; Imager writes less than a tenth of it."""
_DEEPEST = 16
_ESCAPED_BYTE = re.compile(r"(?<!\\)(?:\\\\)*\\x[89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Unreadable(Exception):
    """Nothing of the file can be used; the message shows nothing of it."""


@dataclass(frozen=True)
class Text:
    """A scalar; `octets` are the bytes that it stands for."""

    line: int
    value: str
    octets: bytes = field(repr=False)

    @property
    def is_null(self) -> bool:
        """Whether the value is left out; a quoted "null" counts as well, which nobody needs."""
        return self.value in ("", "~", "null")


@dataclass(frozen=True)
class Items:
    """A sequence."""

    line: int
    nodes: list[Node] = field(default_factory=list)


@dataclass(frozen=True)
class Table:
    """A mapping, whose keys are texts."""

    line: int
    entries: list[tuple[Text, Node]] = field(default_factory=list)


Node = Text | Items | Table


def decoded(data: bytes) -> str:
    """Return the text of a file: UTF-8, or UTF-16 as Windows's editor writes it on request.

    Raises Unreadable.
    """
    if len(data) > MOST_BYTES:
        raise Unreadable(f"it has more than {MOST_BYTES} bytes")
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable("it is not text in UTF-8") from None


def parse(text: str) -> Node | None:
    """Return the tree of the document in `text`; None if it is empty. Raises Unreadable."""
    builder = _Builder(text)
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            builder.add(event)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        raise Unreadable(f"line {line} has a character that YAML does not allow") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise Unreadable(f"line {line} is not valid YAML") from None
    except (yaml.YAMLError, ValueError, OverflowError):  # the last two: of the escape \U
        raise Unreadable("it is not valid YAML") from None
    return builder.root


class _Builder:
    """Makes the tree from the parser's events, without recursion."""

    def __init__(self, text: str) -> None:
        self.root: Node | None = None
        self._text = text
        self._documents = 0
        self._open: list[tuple[Items | Table, list[Node]]] = []

    def add(self, event: yaml.Event) -> None:
        """Take the parser's next event. Raises Unreadable."""
        assert event.start_mark is not None  # noqa: S101  # the parser sets it
        line = event.start_mark.line + 1
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise Unreadable(f"line {line} begins a second document")
        elif isinstance(event, yaml.NodeEvent):
            if event.anchor is not None:
                raise Unreadable(f"line {line} has an anchor or an alias")
            if getattr(event, "tag", None) is not None:
                raise Unreadable(f"line {line} has a tag")
            self._add_node(event, line)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close()

    def _add_node(self, event: yaml.NodeEvent, line: int) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._place(self._scalar(event, line))
            return
        if len(self._open) >= _DEEPEST:
            raise Unreadable(f"line {line} is nested too deeply")
        mapping = isinstance(event, yaml.MappingStartEvent)
        self._open.append((Table(line) if mapping else Items(line), []))

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> Text:
        value = event.value
        if _SURROGATE.search(value):
            raise Unreadable(f"line {line} has half a character")
        return Text(line, value, self._octets(event))

    def _octets(self, event: yaml.ScalarEvent) -> bytes:
        r"""Return the bytes of a scalar.

        Imager writes the bytes of a network's name, and those above 0x7E as ``\xHH``; YAML calls
        these characters.
        """
        assert event.start_mark is not None  # noqa: S101  # the parser sets both
        assert event.end_mark is not None  # noqa: S101
        written = self._text[event.start_mark.index : event.end_mark.index]
        value: str = event.value
        if event.style == '"' and written.isascii() and _ESCAPED_BYTE.search(written):
            try:
                return value.encode("latin-1")
            except UnicodeEncodeError:
                pass  # \u or \U as well: these are characters
        return value.encode()

    def _close(self) -> None:
        container, children = self._open.pop()
        if isinstance(container, Items):
            container.nodes.extend(children)
        else:
            container.entries.extend(_pairs(children))
        self._place(container)

    def _place(self, node: Node) -> None:
        if self._open:
            self._open[-1][1].append(node)
        else:
            self.root = node


def _pairs(children: list[Node]) -> Iterator[tuple[Text, Node]]:
    names = set()
    for key, value in zip(children[::2], children[1::2], strict=True):
        if not isinstance(key, Text):
            raise Unreadable(f"line {key.line} has a key that is not a text")
        if key.octets in names:
            raise Unreadable(f"line {key.line} gives a key again")
        names.add(key.octets)
        yield key, value
