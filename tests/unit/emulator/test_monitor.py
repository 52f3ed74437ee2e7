"""The monitor: the reason of a stop, and the flag of a try, from QEMU's own messages."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piimage.emulator.monitor import Monitor

GREETING = b'{"QMP": {"version": {}, "capabilities": ["oob"]}}\r\n'
# As QEMU 10.0.2 sent it.
RESET = (
    b'{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN", '
    b'"data": {"guest": true, "reason": "guest-reset"}}\r\n'
)
QUIT = RESET.replace(b"guest-reset", b"host-qmp-quit")


@contextmanager
def monitor(folder: Path, flag_at: int | None = 0x40100000) -> Iterator[Monitor]:
    made = Monitor(flag_at, folder)
    try:
        made.remote.settimeout(10)
        yield made
    finally:
        made.close()


def told(made: Monitor, data: bytes) -> list[dict[str, object]]:
    """Return what the monitor answers to `data` from QEMU."""
    made.remote.sendall(data + b'{"event": "END"}\n')
    made.receive()
    made.remote.setblocking(False)
    try:
        answer = made.remote.recv(4096)
    except BlockingIOError:
        return []
    return [json.loads(line) for line in answer.splitlines()]


def test_a_reset_is_answered_by_reading_the_flag_and_then_by_the_end(tmp_path: Path) -> None:
    with monitor(tmp_path) as made:
        assert told(made, GREETING) == [{"execute": "qmp_capabilities"}]
        assert told(made, b'{"return": {}}\r\n') == []
        (save,) = told(made, RESET)
        assert save == {
            "execute": "pmemsave",
            "id": "try-flag",
            "arguments": {
                "val": 0x40100000, "size": 4, "filename": str(tmp_path / "try-flag"),
            },
        }  # fmt: skip
        assert told(made, b'{"return": {}, "id": "try-flag"}\r\n') == [{"execute": "quit"}]
        assert told(made, QUIT) == []
        assert made.reset


@pytest.mark.parametrize(
    ("content", "flag"),
    [
        (struct.pack("<I", 0x54525931), True),
        (struct.pack("<I", 0x54525930), False),
        (bytes(4), False),
        (b"\1\0\0\0", False),
        (b"", False),
        (None, False),
    ],
)
def test_only_the_modules_own_number_is_a_flag(
    content: bytes | None, flag: bool, tmp_path: Path
) -> None:
    (tmp_path / "try-flag").write_bytes(struct.pack("<I", 0x54525931))  # of an earlier start
    with monitor(tmp_path) as made:
        if content is not None:
            (tmp_path / "try-flag").write_bytes(content)
        assert made.try_flag is flag


def test_without_a_place_for_the_flag_a_reset_ends_qemu(tmp_path: Path) -> None:
    with monitor(tmp_path, None) as made:
        assert told(made, RESET) == [{"execute": "quit"}]
        assert (made.reset, made.try_flag) == (True, False)


@pytest.mark.parametrize("reason", ["guest-shutdown", "host-signal", "guest-panic"])
def test_another_end_is_no_reset(reason: str, tmp_path: Path) -> None:
    with monitor(tmp_path) as made:
        assert told(made, RESET.replace(b"guest-reset", reason.encode())) == [{"execute": "quit"}]
        assert not made.reset


def test_the_watchdog_is_seen_before_the_reset(tmp_path: Path) -> None:
    with monitor(tmp_path) as made:
        told(made, b'{"event": "WATCHDOG", "data": {"action": "reset"}}\r\n' + RESET)
        assert (made.watchdog, made.reset) == (True, True)


def test_a_message_may_come_in_pieces(tmp_path: Path) -> None:
    with monitor(tmp_path) as made:
        for at in range(len(RESET)):
            made.remote.sendall(RESET[at : at + 1])
            assert made.receive()
        assert made.reset
        made.remote.close()
        assert not made.receive()


@given(st.lists(st.binary(max_size=40) | st.sampled_from([RESET, b'{"event": "SHUTDOWN"}\n'])))
def test_whatever_comes_is_survived(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]
) -> None:
    with monitor(tmp_path_factory.getbasetemp()) as made:
        for piece in filter(None, pieces):
            made.remote.sendall(piece)
            assert made.receive()
