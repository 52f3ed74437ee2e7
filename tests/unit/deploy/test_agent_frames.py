"""The frames between tool and Pi, byte by byte, and what a process of a change keeps open."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from piimage_agent import change, frames
from piimage_agent.frames import BadFrame, Ended, read_frame, write_frame
from piimage_agent.refusal import Refused


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue  # closed by the test


def head(words: int, body: int, magic: bytes = b"\xb1\x1a") -> bytes:
    return magic + words.to_bytes(4, "big") + body.to_bytes(4, "big")


def reading(pipe: tuple[int, int], data: bytes) -> tuple[dict[str, object], bytes]:
    """What is read of `data` and the end after it."""
    os.write(pipe[1], data)
    os.close(pipe[1])
    return read_frame(pipe[0])


def test_a_frame_byte_by_byte(pipe: tuple[int, int]) -> None:
    write_frame(pipe[1], {"a": [1, "é"]}, b"raw")
    words = b'{"a":[1,"\\u00e9"]}'
    assert os.read(pipe[0], 100) == head(len(words), 3) + words + b"raw"
    write_frame(pipe[1], {})
    assert read_frame(pipe[0]) == ({}, b"")


def test_frames_follow_one_another_until_the_end(pipe: tuple[int, int]) -> None:
    data = head(2, 1) + b"{}x" + head(7, 0) + b'{"a":1}'
    assert reading(pipe, data) == ({}, b"x")
    assert read_frame(pipe[0]) == ({"a": 1}, b"")
    with pytest.raises(Ended):
        read_frame(pipe[0])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (head(2, 0, b"\xb1\x1b") + b"{}", "not a frame of piimage's protocol"),
        (head(2, 0)[:5], "ended in the middle"),
        (head(5, 0) + b"{}", "ended in the middle"),
        (head(2, 5) + b"{}abc", "ended in the middle"),
        (head(3, 0) + b"{a}", "header is not JSON"),
        (head(4, 0) + b"[{}]", "header is not a JSON object"),
        (head(9999, 0) + b"[" * 9999, "header is not JSON"),
        (head(1 << 20, 1 << 18), "ended in the middle"),
        (head((1 << 20) + 1, 0), r"a frame of 1048577 \+ 0 bytes is larger than allowed"),
        (head(2, (1 << 18) + 1), r"a frame of 2 \+ 262145 bytes is larger than allowed"),
    ],
)
def test_what_is_no_frame_is_refused(pipe: tuple[int, int], data: bytes, message: str) -> None:
    with pytest.raises(BadFrame, match=message):
        reading(pipe, data)


def test_a_silent_side_is_left(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    assert frames.SILENCE == 120
    monkeypatch.setattr(frames, "SILENCE", 0.01)
    with pytest.raises(BadFrame, match=r"nothing was received for 0\.01 s"):
        read_frame(pipe[0])


def test_nobody_who_reads_is_an_end(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    with pytest.raises(Ended):
        write_frame(pipe[1], {})


def test_a_process_of_a_change_keeps_nothing_of_the_session_but_the_lock() -> None:
    """Otherwise the tool would wait for the end of what it started."""
    child = os.fork()
    if child == 0:
        try:
            opened = [os.dup(0) for _ in range(4)]
            os.dup2(0, 3)
            lock = opened[2]
            change._alone(lock)
            open_files = {fd for fd in range(300) if Path(f"/proc/self/fd/{fd}").exists()}
            null = all(Path(f"/proc/self/fd/{fd}").samefile("/dev/null") for fd in range(3))
            numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)
            deaf = all(signal.getsignal(n) is signal.SIG_IGN for n in numbers)
            os._exit(0 if open_files == {0, 1, 2, lock} and null and deaf else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_rollback_that_cannot_switch_leads_back_to_what_ran() -> None:
    told: list[tuple[object, ...]] = []

    def refuse(*_: str) -> None:
        raise Refused("switch", "no room")

    rollback = cast(Any, SimpleNamespace(
        after="x", _use=refuse, _go_back=lambda bad, why: told.append((bad, why))
    ))  # fmt: skip
    change.Rollback._run(rollback)
    assert told == [({}, "the switch failed: no room")]
