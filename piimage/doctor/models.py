"""What differs between the models, as far as a report needs it: the boards' data says it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from piimage.boards import Board

# Documentation of Raspberry Pi, "Raspberry Pi revision codes".
_MEMORY_MIB: Final = (256, 512, 1024, 2048, 4096, 8192, 16384)


def board_of(compatible: Sequence[str], boards: Iterable[Board]) -> Board | None:
    """Return the board that a device tree's ``compatible`` is of; None if it is of none known."""
    same = [board for board in boards if board.processor in compatible]
    exact = (b for b in same if {m.compatible for m in b.models}.intersection(compatible))
    return next(exact, same[0] if same else None)


@dataclass(frozen=True)
class Revision:
    """What a revision code says; `kind` is the model's number."""

    kind: int
    stepping: str
    memory_mib: int | None


def revision(code: int) -> Revision | None:
    """Return what a code of the new style says; None for older ones."""
    if not code >> 23 & 1:
        return None
    memory = code >> 20 & 7
    known = _MEMORY_MIB[memory] if memory < len(_MEMORY_MIB) else None
    return Revision(code >> 4 & 0xFF, f"1.{code & 0xF}", known)


def title(kind: int, boards: Iterable[Board]) -> str:
    """Return what people call the models with the number `kind`: those that its filter names."""
    own = f"board-type={kind:#x}"
    found: list[str] = []
    for board in boards:
        found += [one.title for one in board.models if own in one.filters]
        found += [one.title for one in board.absent if own in one.filters]
    return " or ".join(dict.fromkeys(found)) or f"unknown model ({kind:#x})"
