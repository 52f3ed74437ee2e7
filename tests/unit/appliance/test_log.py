"""The ring of log files."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.unit.appliance.scripts import Pi, environment


def _log(pi: Pi, out: bytes, err: bytes = b"", *, settings: str = "", container: str = "") -> None:
    """Run the log program as the shim does: output on 3, errors on 4, readiness on 5."""
    script = pi.install("log")
    pi.install_library()
    pi.write("run/piimage/boot", settings)
    pi.write("containers/services/one/container.env", container)
    pi.path("var/log/services/one/log")
    events = pi.path("run/piimage/services/one/events")
    events.touch()
    pi.write("out", "").write_bytes(out)
    pi.write("err", "").write_bytes(err)
    ready, told = os.pipe()
    with pi.path("out").open("rb"), pi.path("err").open("rb"):
        process = subprocess.Popen(
            ["busybox", "sh", "-c", f"exec busybox sh {script} 3<out 4<err 5>&{told}"],
            cwd=pi.root, pass_fds=[told], env=environment() | {"CONTAINER_ID": "one"},
        )  # fmt: skip
    os.close(told)
    os.set_blocking(ready, True)
    assert process.wait(timeout=20) == 0
    assert os.read(ready, 1) == b""
    os.close(ready)


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    return Pi(tmp_path)


def test_lines_are_kept_as_printed(pi: Pi) -> None:
    _log(pi, b"one\n  two \\n three\n-n\nlast without newline")
    kept = (pi.root / "var/log/services/one/log").read_bytes()
    assert kept == b"one\n  two \\n three\n-n\nlast without newline\n"
    assert pi.console() == []


def test_a_line_without_end_is_cut(pi: Pi) -> None:
    _log(pi, b"x" * 150_000 + b"\nnext\n", container="LOG_SIZE=1000000\n")
    kept = (pi.root / "var/log/services/one/log").read_text().splitlines()
    assert [len(line) for line in kept] == [65536, 65536, 150_000 - 2 * 65536, 4]


def test_errors_are_kept_beside_the_output(pi: Pi) -> None:
    _log(pi, b"out\n", b"err\n")
    assert sorted((pi.root / "var/log/services/one/log").read_text().split()) == ["err", "out"]


def test_when_lines_were_printed_is_kept_beside_them(pi: Pi) -> None:
    begun = _uptime()
    _log(pi, b"one\n")
    _log(pi, b"two\n")
    marks = _lines(pi.root / "var/log/times/one/log")
    seconds, offsets = zip(*(line.split() for line in marks), strict=True)
    assert offsets == ("0", "4")
    assert all(begun <= int(second) <= _uptime() for second in seconds)


def _uptime() -> int:
    """Return the seconds since the boot: proc_uptime(5)."""
    return int(float(Path("/proc/uptime").read_text().split()[0]))


def test_times_rotate_with_the_log(pi: Pi) -> None:
    _log(pi, b"0123456789\n" * 50, container="LOG_SIZE=100\nLOG_COUNT=2\n")
    names = [path.name for path in (pi.root / "var/log/times/one").iterdir()]
    assert sorted(names) == ["log", "log.1", "log.2"]


def test_the_console_shows_them_unprefixed_if_the_image_says_so(pi: Pi) -> None:
    pi.path("dev/console")
    _log(pi, b"HELLO\nagain\n", settings="CONSOLE_LOGS=1\n")
    assert pi.console() == ["HELLO", "again"]


def test_the_ring_is_bounded_in_size_and_number(pi: Pi) -> None:
    lines = [f"line {number:04}" for number in range(1000)]
    _log(pi, "\n".join(lines).encode(), container="LOG_SIZE=1000\nLOG_COUNT=2\n")
    folder = pi.root / "var/log/services/one"
    assert sorted(path.name for path in folder.iterdir()) == ["log", "log.1", "log.2"]
    kept = [line for name in ("log.2", "log.1", "log") for line in _lines(folder / name)]
    assert kept == lines[-len(kept) :]
    assert len(kept) >= 200
    assert max(path.stat().st_size for path in folder.iterdir()) <= 1010


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_without_older_files_the_ring_is_one_file(pi: Pi) -> None:
    _log(pi, b"0123456789\n" * 50, container="LOG_SIZE=100\nLOG_COUNT=0\n")
    assert [path.name for path in (pi.root / "var/log/services/one").iterdir()] == ["log"]
