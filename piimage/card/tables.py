"""The partition table of a card in either form, MBR or GPT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from piimage.card import gpt, partitions
from piimage.card.partitions import Table

HEAD: Final = gpt.HEAD
"""The bytes at the start of a disk that hold a table of either form."""


class Form(Protocol):
    """A form of partition tables."""

    def disk_size(self, table: Table) -> int:
        """Return the size in bytes of the smallest disk with the partitions of `table`."""
        ...

    def encode(self, table: Table, size: int) -> Mapping[int, bytes]:
        """Return the sectors of `table` by their offsets on a disk of `size` bytes."""
        ...


class _Mbr:
    def disk_size(self, table: Table) -> int:
        return table.end

    def encode(self, table: Table, size: int) -> Mapping[int, bytes]:  # a Form
        return {0: partitions.encode(table)}


class _Gpt:
    def disk_size(self, table: Table) -> int:
        return gpt.disk_size(table)

    def encode(self, table: Table, size: int) -> Mapping[int, bytes]:
        return gpt.encode(table, size)


FORMS: Final[Mapping[str, Form]] = {"mbr": _Mbr(), "gpt": _Gpt()}
"""The forms by their names in `layout: table:` of boards."""


def form_of(head: bytes) -> Form:
    """Return the form of the table of a disk that begins with `head`."""
    return FORMS["gpt" if gpt.is_gpt(head) else "mbr"]


def decode(head: bytes, size: int, origin: str) -> Table:
    """Read the table of a disk of `size` bytes from its first `HEAD` bytes, or fewer with an MBR.

    Raises PiimageError ``card.no-table`` if there is no table, or if it is damaged. `origin` is the
    name of the disk in the message.
    """
    if gpt.is_gpt(head):
        return gpt.decode(head, size, origin)
    return partitions.decode(head[: partitions.SECTOR], size, origin)
