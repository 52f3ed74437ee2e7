"""Nodes of a document that may be anything: found by their path, or None."""

from collections.abc import Iterable, Iterator, Sequence

from piimage.document.nodes import ListNode, MapNode, Node, Position, ScalarNode


def node_at(node: Node | None, *path: str) -> Node | None:
    """Return what is at `path` below `node`; None if there is nothing."""
    for key in path:
        node = node.items.get(key) if isinstance(node, MapNode) else None
    return node


def items(node: Node | None, *path: str) -> Sequence[Node]:
    """Return the items of the list at `path` below `node`; none if there is no list."""
    found = node_at(node, *path)
    return found.items if isinstance(found, ListNode) else ()


def maps(node: Node | None, *path: str) -> Iterator[MapNode]:
    """Give the mappings of the list at `path` below `node`."""
    yield from (item for item in items(node, *path) if isinstance(item, MapNode))


def scalars(node: Node | None, *path: str) -> Iterator[ScalarNode]:
    """Give the texts of the list at `path` below `node`, but for empty ones."""
    yield from (item for item in items(node, *path) if isinstance(item, ScalarNode) and item.text)


def scalar(node: Node | None, *path: str) -> ScalarNode | None:
    """Return the text at `path` below `node`; None if there is none, or an empty one."""
    found = node_at(node, *path)
    return found if isinstance(found, ScalarNode) and found.text else None


def repeated(entries: Iterable[MapNode], key: str) -> Iterator[tuple[ScalarNode, Position]]:
    """Give each text at `key` that an entry before has as well, with the place of the first."""
    first: dict[str, Position] = {}
    for entry in entries:
        value = scalar(entry, key)
        if value is None:
            continue
        if value.text in first:
            yield value, first[value.text]
        first.setdefault(value.text, value.at)


def is_given(node: MapNode, key: str) -> bool:
    """Tell whether `key` has a value, be it a list or a mapping."""
    value = node.items.get(key)
    return value is not None and not (isinstance(value, ScalarNode) and not value.text)


def name_of(entry: MapNode) -> str:
    """Return what messages call the container of `entry`."""
    name = scalar(entry, "name")
    return name.text if name else "this container"
