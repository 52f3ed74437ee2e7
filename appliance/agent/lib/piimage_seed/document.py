"""What the readers of the files share: messages with a line, and values of one kind."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

from piimage_seed.tree import Items, Node, Table, Text

MOST_MESSAGES: Final = 20
"""The messages about one file: a serial console takes 10 ms for each."""
_MOST_SHOWN: Final = 40  # characters
_TRUE: Final = frozenset({"true", "yes", "on", "y", "1"})
_FALSE: Final = frozenset({"false", "no", "off", "n", "0"})

Taker = Callable[[Node, str], None]
"""Takes the value of a key; the text is the path of the key, for messages."""


def shown(text: str) -> str:
    """Return `text` as a message shows it: printable ASCII, quoted, of limited length."""
    cut = text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."
    return ascii(cut)


def named(text: str) -> str:
    """Return `text` like `shown`, but without quotes if it is a plain word."""
    plain = text.isascii() and text.replace("-", "").replace("_", "").isalnum()
    return text if plain and len(text) <= _MOST_SHOWN else shown(text)


class Document:
    """A file of settings while it is read; `messages` tells what of it is not used."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._messages: list[str] = []

    @property
    def messages(self) -> list[str]:
        """The first messages, and how many there are besides."""
        more = len(self._messages) - MOST_MESSAGES
        rest = [f"{self.name}: {more} more lines are not used"] if more > 0 else []
        return [*self._messages[:MOST_MESSAGES], *rest]

    @property
    def count(self) -> int:
        """The number of messages so far."""
        return len(self._messages)

    def note(self, node: Node, message: str) -> None:
        """Add a message about the line of `node`."""
        self._messages.append(f"{self.name} line {node.line}: {message}")

    def unsupported(self, node: Node, path: str) -> None:
        """Say that nothing uses what is written at `path`."""
        self.note(node, f"{path}: not supported")

    def table(
        self, node: Node, path: str, takers: Mapping[str, Taker], ignored: Collection[str] = ()
    ) -> None:
        """Give each value to the taker of its key; name the keys that have none."""
        for key, value in self.entries(node, path):
            at = f"{path}{named(key.value)}"
            if key.value in takers:
                takers[key.value](value, at)
            elif key.value not in ignored:
                self.unsupported(key, at)

    def entries(self, node: Node, path: str) -> list[tuple[Text, Node]]:
        """Return the entries of a table; none, and a message, if `node` is something else."""
        if isinstance(node, Table):
            return node.entries
        if not (isinstance(node, Text) and node.is_null):
            self.note(node, f"{path.rstrip(': ') or 'the file'}: lines KEY: VALUE are expected")
        return []

    def items(self, node: Node, path: str) -> list[Node]:
        """Return the items of a list; none, and a message, if `node` is something else."""
        if isinstance(node, Items):
            return node.nodes
        if not (isinstance(node, Text) and node.is_null):
            self.note(node, f"{path}: a list is expected")
        return []

    def texts(self, node: Node, path: str) -> list[Text]:
        """Return the items of a list, or the single text, without those that are no texts."""
        if isinstance(node, Text):
            return [] if node.is_null else [node]
        found = [self.text(item, path) for item in self.items(node, path)]
        return [text for text in found if text is not None]

    def text(self, node: Node, path: str) -> Text | None:
        """Return `node` if it is a text; otherwise add a message."""
        if isinstance(node, Text):
            return node
        self.note(node, f"{path}: one value is expected")
        return None

    def flag(self, node: Node, path: str) -> bool:
        """Return whether the value is true; a message, and false, if it is neither."""
        text = self.text(node, path)
        if text is None:
            return False
        if text.value.lower() not in _TRUE | _FALSE:
            self.note(node, f"{path}: true or false is expected")
        return text.value.lower() in _TRUE
