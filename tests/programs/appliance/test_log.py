"""The ring of log files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.programs.appliance.scripts import Pi, environment


def _log(pi: Pi, out: bytes, *, settings: str = "", container: str = "") -> None:
    """Run the reader of a task's output on `out`, as the service's runner does."""
    script = pi.install("log.sh")
    library = pi.install_library()
    pi.write("etc/piimage/settings", settings)
    pi.write("containers/services/one/container.env", container)
    pi.path("var/log/services/one/log")
    pi.path("var/log/times/one/log")
    pi.path("run/piimage/services/one/events").touch()
    pi.write("out", "").write_bytes(out)
    folder = library.parent
    begin = f"set -u; . {folder}/lib.sh; . {folder}/container.sh; NAME=one"
    names = f"DIR={pi.root}/run/piimage/services/one; . {script}"
    load = f"load_settings; load_container {pi.root}/containers/services/one"
    subprocess.run(
        ["busybox", "sh", "-c", f"{begin}; {names}; {load}; log_lines <{pi.root}/out"],
        cwd=pi.root, env=environment(), timeout=20, check=True,
    )  # fmt: skip


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
