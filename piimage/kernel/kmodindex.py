"""The binary indexes of depmod (modules.*.bin) in a canonical order.

depmod of kmod 30 writes the nodes of its trie from the leaves to the root, and that of kmod 34 from
the root to the leaves: the same index, but other bytes. Source: kmod, libkmod/libkmod-index.h.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from piimage.errors import PiimageError

_MAGIC: Final = 0xB007F457
_VERSION: Final = 0x00020001
_PREFIX: Final = 0x80000000
_VALUES: Final = 0x40000000
_CHILDREN: Final = 0x20000000
_OFFSET: Final = 0x0FFFFFFF
_MAX_DEPTH: Final = 400


@dataclass(frozen=True)
class Node:
    """A node of the trie: its text after that of its parent, its values, children by character.

    A value has a priority (its line in the text index) and a text.
    """

    prefix: bytes
    values: tuple[tuple[int, bytes], ...]
    children: tuple[tuple[int, Node], ...]


def canonical(data: bytes, place: str) -> bytes:
    """Return the index `data` with its nodes from the root to the leaves, depth first.

    An empty file, which depmod writes without a list of built-in modules, stays empty. Raises
    PiimageError ``kernel.bad-index`` if `data` is not an index; `place` is its name.
    """
    if not data:
        return data
    try:
        magic, version, root = struct.unpack_from(">III", data)
        if (magic, version) != (_MAGIC, _VERSION):
            raise ValueError("unknown magic number or version")
        # A trie cannot have more nodes than bytes; more nodes are a loop.
        return encode(_Reader(data, len(data)).node(root, 0))
    except (ValueError, struct.error, IndexError) as error:
        raise PiimageError(
            "kernel.bad-index",
            f"depmod wrote an index in an unknown format ({error})",
            place=place,
            hint="use kmod 30 or newer, and report this with the output of `depmod -V`",
        ) from error


def encode(root: Node) -> bytes:
    """Return the index with the root `root`."""
    out = bytearray(struct.pack(">III", _MAGIC, _VERSION, 0))
    struct.pack_into(">I", out, 8, _write(root, out))
    return bytes(out)


@dataclass
class _Reader:
    data: bytes
    left: int

    def node(self, at: int, depth: int) -> Node:
        offset = at & _OFFSET
        self.left -= 1
        if self.left < 0 or depth > _MAX_DEPTH or offset > len(self.data):
            raise ValueError("a node is misplaced")
        prefix = b""
        if at & _PREFIX:
            prefix, offset = self._text(offset)
        children: list[tuple[int, Node]] = []
        if at & _CHILDREN:
            first, last = self.data[offset], self.data[offset + 1]
            offset += 2
            for character in range(first, last + 1):
                (child,) = struct.unpack_from(">I", self.data, offset)
                offset += 4
                if child:
                    children.append((character, self.node(child, depth + 1)))
        values = self._values(offset) if at & _VALUES else ()
        return Node(prefix, values, tuple(children))

    def _values(self, offset: int) -> tuple[tuple[int, bytes], ...]:
        (count,) = struct.unpack_from(">I", self.data, offset)
        offset += 4
        values: list[tuple[int, bytes]] = []
        for _ in range(count):
            (priority,) = struct.unpack_from(">I", self.data, offset)
            text, offset = self._text(offset + 4)
            values.append((priority, text))
        return tuple(values)

    def _text(self, offset: int) -> tuple[bytes, int]:
        end = self.data.index(b"\0", offset)
        return self.data[offset:end], end + 1


def _write(node: Node, out: bytearray) -> int:
    """Append `node` and its children; return its offset with its flags."""
    flags = (
        (_PREFIX if node.prefix else 0)
        | (_CHILDREN if node.children else 0)
        | (_VALUES if node.values else 0)
    )
    offset = len(out) | flags
    if node.prefix:
        out += node.prefix + b"\0"
    table = first = 0
    if node.children:
        first, last = node.children[0][0], node.children[-1][0]
        out += bytes((first, last))
        table = len(out)
        out += bytes(4 * (last - first + 1))
    if node.values:
        out += struct.pack(">I", len(node.values))
        for priority, text in node.values:
            out += struct.pack(">I", priority) + text + b"\0"
    for character, child in node.children:
        struct.pack_into(">I", out, table + 4 * (character - first), _write(child, out))
    return offset
