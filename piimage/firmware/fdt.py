"""A reader of flattened device trees: nodes, properties, phandles, aliases and labels.

Source: Devicetree Specification 0.4, chapter 5 (the format) and 2.3 (standard properties). A tree
that Linux would refuse (drivers/of/fdt.c) is refused here too.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from piimage.errors import PiimageError

_HEADER: Final = struct.Struct(">10I")
_MAGIC: Final = 0xD00DFEED
_VERSION: Final = 17
_BEGIN, _END, _PROP, _NOP, _LAST = 1, 2, 3, 4, 9
_MAX_DEPTH: Final = 64  # FDT_MAX_DEPTH of Linux


@dataclass(eq=False)
class Node:
    """A node with its properties, in the order of the tree."""

    name: str
    parent: Node | None = field(repr=False)
    properties: dict[str, bytes] = field(default_factory=dict)
    children: dict[str, Node] = field(default_factory=dict, repr=False)

    @property
    def path(self) -> str:
        """The full path, ``/`` for the root."""
        names = [node.name for node in (self, *self.ancestors) if node.parent is not None]
        return "/" + "/".join(reversed(names))

    @property
    def ancestors(self) -> Iterator[Node]:
        """The parent, its parent, and so on up to the root."""
        node = self.parent
        while node is not None:
            yield node
            node = node.parent

    @property
    def enabled(self) -> bool:
        """Whether the node and its ancestors are enabled (specification, 2.3.4)."""
        return all(node.text("status") in ("", "ok", "okay") for node in (self, *self.ancestors))

    @property
    def compatible(self) -> tuple[str, ...]:
        """The names of the device, the most specific one first."""
        return self.strings("compatible")

    def strings(self, name: str) -> tuple[str, ...]:
        """Return the strings in the property `name`; none if the property is missing.

        Raises PiimageError ``firmware.bad-device-tree`` if the value is not a list of strings.
        """
        value = self.properties.get(name, b"")
        if not value:
            return ()
        if value[-1] or not value.isascii():
            raise damaged(f"{name} is not a list of strings", self.path)
        return tuple(value[:-1].decode("ascii").split("\0"))

    def text(self, name: str) -> str:
        """Return the first string of the property `name`; empty if there is none."""
        return next(iter(self.strings(name)), "")

    def cells(self, name: str) -> tuple[int, ...]:
        """Return the 32-bit cells of the property `name`; none if the property is missing.

        Raises PiimageError ``firmware.bad-device-tree`` if the value does not consist of cells.
        """
        value = self.properties.get(name, b"")
        if len(value) % 4:
            raise damaged(f"{name} does not consist of 32-bit cells", self.path)
        return struct.unpack(f">{len(value) // 4}I", value)

    def number(self, name: str, default: int) -> int:
        """Return the first cell of the property `name`, or `default`."""
        return next(iter(self.cells(name)), default)


@dataclass(frozen=True)
class Tree:
    """A device tree; `origin` is its name in errors."""

    root: Node
    origin: str

    @cached_property
    def phandles(self) -> Mapping[int, Node]:
        """The nodes by phandle."""
        nodes: dict[int, Node] = {}
        for node in self.nodes():
            number = node.number("phandle", node.number("linux,phandle", 0))
            if number and nodes.setdefault(number, node) is not node:
                raise damaged(f"two nodes have the phandle {number}", self.origin)
        return nodes

    def nodes(self) -> Iterator[Node]:
        """Yield every node, parents before children."""
        waiting = [self.root]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += reversed(node.children.values())

    def node(self, path: str) -> Node | None:
        """Return the node with the full path `path`."""
        node: Node | None = self.root
        for name in filter(None, path.split("/")):
            node = node.children.get(name) if node is not None else None
        return node

    def find(self, name: str) -> Node | None:
        """Return the node with the alias, label or full path `name`.

        A path relative to the node may follow an alias or a label (``spi0/flash@0``). Only a tree
        that was compiled with symbols has labels.
        """
        start, _, rest = name.partition("/")
        if not start:
            return self.node(name)
        for table in ("/aliases", "/__symbols__"):
            names = self.node(table)
            if names is not None and names.text(start):
                return self.node(f"{names.text(start)}/{rest}")
        return None

    def by_phandle(self, phandle: int, source: Node) -> Node:
        """Return the node with `phandle`, which is a reference in the node `source`.

        Raises PiimageError ``firmware.bad-device-tree`` if no node has this phandle.
        """
        if phandle not in self.phandles:
            raise damaged(f"{source.path} refers to a missing phandle {phandle}", self.origin)
        return self.phandles[phandle]


def read_tree(blob: bytes, origin: str) -> Tree:
    """Read a device tree blob.

    Raises PiimageError ``firmware.bad-device-tree`` if it is damaged or not a device tree.
    """
    try:
        structure, strings = _blocks(blob)
        return Tree(_Reader(structure, strings).root(), origin)
    except (ValueError, struct.error, UnicodeDecodeError) as error:
        message = f"the device tree is damaged, or is not a device tree ({error})"
        raise damaged(message, origin) from None


def damaged(message: str, place: str) -> PiimageError:
    """Return the error for a device tree that violates the specification."""
    hint = "build the image again"
    return PiimageError("firmware.bad-device-tree", message, place=place, hint=hint)


def _blocks(blob: bytes) -> tuple[bytes, bytes]:
    """Return the structure block and the strings block (specification, 5.2)."""
    header = _HEADER.unpack_from(blob)
    magic, total, structure, strings, _, version, oldest, _, strings_size, size = header
    if magic != _MAGIC:
        raise ValueError("it has no magic number")
    if oldest > _VERSION or version < _VERSION:
        raise ValueError(f"its version {version} is not {_VERSION}")
    if total > len(blob) or max(structure + size, strings + strings_size) > total:
        raise ValueError("it is truncated")
    return blob[structure : structure + size], blob[strings : strings + strings_size]


@dataclass
class _Reader:
    """Reads the structure block (specification, 5.4); each token has at least 4 bytes."""

    structure: bytes
    strings: bytes
    at: int = 0

    def root(self) -> Node:
        if self._token() != _BEGIN or self._name():
            raise ValueError("it has no root node")
        root = Node("", None)
        self._fill(root)
        if self._token() != _LAST:
            raise ValueError("it has data after its root node")
        return root

    def _fill(self, root: Node) -> None:
        node, depth = root, 1
        while True:
            token = self._token()
            if token == _PROP:
                self._property(node)
            elif token == _BEGIN and depth < _MAX_DEPTH:
                node, depth = self._child(node), depth + 1
            elif token == _END:
                if node.parent is None:
                    return
                node, depth = node.parent, depth - 1
            else:
                raise ValueError(f"token {token} is misplaced")

    def _child(self, parent: Node) -> Node:
        name = self._name()
        if not name or "/" in name or name in parent.children:
            raise ValueError(f"the name {name!r} of a node is invalid or a duplicate")
        return parent.children.setdefault(name, Node(name, parent))

    def _property(self, node: Node) -> None:
        size, offset = struct.unpack_from(">II", self.structure, self.at)
        start = self.at + 8
        name = self.strings[offset : self.strings.index(b"\0", offset)].decode("ascii")
        if start + size > len(self.structure) or node.children or name in node.properties:
            raise ValueError(f"the property {name!r} is misplaced, truncated or a duplicate")
        node.properties[name] = self.structure[start : start + size]
        self.at = _aligned(start + size)

    def _name(self) -> str:
        end = self.structure.index(b"\0", self.at)
        name = self.structure[self.at : end].decode("ascii")
        self.at = _aligned(end + 1)
        return name

    def _token(self) -> int:
        token = _NOP
        while token == _NOP:
            (token,) = struct.unpack_from(">I", self.structure, self.at)
            self.at += 4
        return int(token)


def _aligned(offset: int) -> int:
    return -(-offset // 4) * 4
