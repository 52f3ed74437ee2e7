"""The order of versions of the system: a Pi takes none below its floor, which every commit raises.

The place of a version is two numbers, of which the first one that differs decides: ``version:`` of
its file, and when Debian's newest index in its lock was made.
"""

from __future__ import annotations

from piimage_agent import journal
from piimage_agent.refusal import Refused
from piimage_agent.root import Root, make_folders, read_line, write_file
from piimage_agent.status import manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

Order = tuple[int, int]


def order_of(value: Any) -> Order:  # noqa: ANN401  # of JSON
    """Return a version's place from JSON; the lowest one for versions of older tools.

    Raises ValueError unless it is two numbers.
    """
    if value is None:
        return (0, 0)
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(value)
    for number in value:
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 1 << 37:
            raise ValueError(value)
    return (value[0], value[1])


def floor(root: Root) -> Order:
    """Return the lowest place that the Pi takes: what it has kept before, and what it runs."""
    words = read_line(_path(root)).split()
    kept = (int(words[0]), int(words[1])) if _is_pair(words) else (0, 0)
    try:
        return max(kept, order_of(manifest(root).get("order")))
    except ValueError:
        return kept


def _is_pair(words: list[str]) -> bool:
    return len(words) == 2 and all(word.isascii() and word.isdigit() for word in words)


def _path(root: Root) -> str:
    return f"{journal.folder(root)}/floor"


def raise_floor(root: Root) -> None:
    """Make the running version's place the floor, unless it is higher."""
    first, second = floor(root)
    line = f"{first} {second}"
    if read_line(_path(root)) != line:
        make_folders(journal.folder(root))
        write_file(_path(root), f"{line}\n".encode())


def require(root: Root, order: Order) -> None:
    """Raise Refused ``downgrade`` for a version below the floor."""
    if order < floor(root):
        raise Refused(
            "downgrade", "this version of the system is older than one that the Pi has kept",
            "deploy it with --allow-downgrade, if you want that",
        )  # fmt: skip
