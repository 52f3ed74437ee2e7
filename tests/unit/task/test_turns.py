"""How many clients are at containerd at once."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from piimage_task import turns


@pytest.mark.parametrize(
    ("online", "memory", "expected"),
    [
        ("0-3\n", 425_000, 4),
        ("0-3\n", 250_000, 2),
        ("0\n", 425_000, 1),
        ("0,2\n", 425_000, 3),
        ("0-1\n", 90_000, 1),
    ],
)
def test_there_are_as_many_turns_as_processors_if_memory_is_enough(
    online: str, memory: int, expected: int
) -> None:
    assert turns.count(online, f"MemTotal:  {memory} kB\n") == expected


def test_whoever_comes_when_all_turns_are_taken_waits_for_one(tmp_path: Path) -> None:
    taken = [turns.take(str(tmp_path), 2) for _ in range(2)]
    got = []
    waiting = threading.Thread(target=lambda: got.append(turns.take(str(tmp_path), 2)))
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    for turn in taken:
        turn.release()
    waiting.join(10)
    assert len(got) == 1
    got[0].release()


def test_what_a_file_says_of_who_holds_the_turn_is_nothing(tmp_path: Path) -> None:
    (tmp_path / ".turn0").write_text("1\n")
    turns.take(str(tmp_path), 1).release()
