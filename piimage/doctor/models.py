"""The differences between models that a report needs, from the boards' data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from piimage.board import Board

# Documentation of Raspberry Pi, "Raspberry Pi revision codes".
_MEMORY_MIB: Final = (256, 512, 1024, 2048, 4096, 8192, 16384)


def board_of(compatible: Sequence[str], boards: Iterable[Board]) -> Board | None:
    """Return the board of a device tree's ``compatible``, or None if it is unknown."""
    same = [board for board in boards if board.processor in compatible]
    exact = (b for b in same if {m.compatible for m in b.models}.intersection(compatible))
    return next(exact, same[0] if same else None)


@dataclass(frozen=True)
class Revision:
    """The content of a revision code; `kind` is the model's number."""

    kind: int
    stepping: str
    memory_mib: int | None


def revision(code: int) -> Revision | None:
    """Return the content of a new-style code, or None for an old-style one."""
    if not code >> 23 & 1:
        return None
    memory = code >> 20 & 7
    known = _MEMORY_MIB[memory] if memory < len(_MEMORY_MIB) else None
    return Revision(code >> 4 & 0xFF, f"1.{code & 0xF}", known)


def title(kind: int, boards: Iterable[Board]) -> str:
    """Return the titles of the models with the number `kind`, found by their filters."""
    filter_ = f"board-type={kind:#x}"
    titles: list[str] = []
    for board in boards:
        titles += [model.title for model in board.models if filter_ in model.filters]
        titles += [model.title for model in board.absent if filter_ in model.filters]
    return " or ".join(dict.fromkeys(titles)) or f"unknown model ({kind:#x})"
