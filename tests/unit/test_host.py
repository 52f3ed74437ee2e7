"""Errors of the host: their messages, and that no incomplete file remains."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from piimage import cache, host
from piimage.cli import main as cli
from piimage.durable import write_chunks
from piimage.errors import PiimageError
from piimage.lock import Lock
from piimage.locking.current import write_lock
from piimage.oci.archive import export_archive
from piimage.oci.layout import Layout
from piimage.run import Runner
from piimage.store import Store
from piimage.testing.report import save
from piimage.trees import file, read_tar, tar_chunks

CODES = {
    errno.ENOSPC: "host.full", errno.EDQUOT: "host.full", errno.EACCES: "host.denied",
    errno.EPERM: "host.denied", errno.EROFS: "host.read-only", errno.EMFILE: "host.open-files",
    errno.ENFILE: "host.open-files", errno.ENOMEM: "host.memory", errno.EAGAIN: "host.processes",
    errno.EIO: "host.disk", errno.EFBIG: "host.too-large", errno.ENOENT: "host.gone",
    errno.ESTALE: "host.gone", errno.ENOTDIR: "host.path", errno.EISDIR: "host.path",
    errno.EEXIST: "host.path", errno.ELOOP: "host.path", errno.ENAMETOOLONG: "host.path",
    errno.ENOTEMPTY: "host.path", errno.ENOEXEC: "host.program", errno.ETXTBSY: "host.busy",
    errno.EOPNOTSUPP: "host.unable",
}  # fmt: skip
"""The errors of errno(3), and piimage's codes for them."""


@pytest.mark.provokes(
    "host.full", "host.denied", "host.read-only", "host.open-files", "host.memory",
    "host.processes", "host.disk", "host.too-large", "host.gone", "host.path", "host.program",
    "host.busy", "host.unable",
)  # fmt: skip
def test_each_error_of_the_system_is_one_line_with_the_path_and_a_hint(tmp_path: Path) -> None:
    for number, code in CODES.items():
        error = host.explain(OSError(number, os.strerror(number), str(tmp_path)))
        assert error is not None
        assert (error.code, error.place, error.exit_code) == (code, str(tmp_path), 1)
        assert error.hint
        assert "\n" not in str(error)


def test_a_defect_is_not_an_error_of_the_host() -> None:
    defects = (ValueError("x"), KeyError("x"), OSError("no number"), OSError(errno.EBADF, "x"))
    assert [host.explain(error) for error in defects] == [None] * 4


@pytest.mark.provokes("host.memory", "host.processes")
def test_a_lack_of_memory_or_threads_is_an_error_of_the_host() -> None:
    for exception, code in (
        (MemoryError(), "host.memory"),
        (RuntimeError("can't start new thread"), "host.processes"),
    ):
        error = host.explain(exception)
        assert error is not None
        assert error.code == code


@pytest.mark.provokes("host.full")
def test_a_full_disk_tells_how_much_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "free_space", lambda _: (Path("/mnt"), 1000, 5))
    draft = tmp_path / ".draft"
    draft.write_bytes(bytes(4096))
    allocated = draft.stat().st_blocks * 512
    has_free = "the file system at /mnt has free"
    for size, message in (
        (90_000, f"it needs 90000 bytes, {89_000 - allocated} more than {has_free}"),
        (None, f"it needs more than the {1000 + allocated} bytes that {has_free}"),
    ):
        with (
            pytest.raises(PiimageError) as caught,
            host.writing(tmp_path / "a", size, draft),
        ):
            raise OSError(errno.ENOSPC, "No space left on device")
        assert caught.value.place == str(tmp_path / "a")
        assert message in caught.value.message


def test_a_lack_of_inodes_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "free_space", lambda _: (Path("/mnt"), 1000, 0))
    error = host.explain(OSError(errno.ENOSPC, "No space left on device", str(tmp_path)))
    assert "0 inodes are free" in str(error)


@contextlib.contextmanager
def at_most(size: int) -> Iterator[None]:
    """Limit the files of this process and its children to `size` bytes.

    A write then fails in the middle of a file with EFBIG, as it does with ENOSPC on a full disk.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


Write = Callable[[Path, Store], object]
TEXT = "x" * 20_000
WAYS: Mapping[str, Write] = {
    "chunks": lambda path, _: write_chunks(path, [TEXT.encode()]),
    "stream": lambda path, _: write_chunks(path, iter([TEXT.encode()] * 3)),
    "lock": lambda path, _: write_lock(Lock(), path),
    "report": lambda path, _: save(path, TEXT),
    "memory": lambda path, store: store.write_beside(path, TEXT.encode()),
    "export": lambda path, store: cache.export(store, path),
    "archive": lambda path, store: export_archive(Layout(store), {}, path),
}
"""The ways in which piimage writes files."""


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("exists", [True, False])
def test_a_file_is_written_completely_or_stays_as_it_was(
    way: str, exists: bool, tmp_path: Path, store: Store
) -> None:
    store.add_bytes(b"blob" * 1000)
    write = WAYS[way]
    whole = tmp_path / "whole"
    write(whole, store)
    target = tmp_path / "folder" / "target"
    target.parent.mkdir()
    for point in range(30):
        target.unlink(missing_ok=True)
        if exists:
            target.write_text("as it was")
        with at_most(whole.stat().st_size * point // 30), pytest.raises(PiimageError) as caught:
            write(target, store)
        assert (caught.value.code, caught.value.place) == ("host.too-large", str(target))
        assert [path.name for path in target.parent.iterdir()] == ["target"] * exists
        assert not exists or target.read_text() == "as it was"
        assert not list((store.root / "tmp").iterdir())


def test_a_blob_is_stored_completely_or_not_at_all(store: Store) -> None:
    for point in range(30):
        with at_most(100_000 * point // 30), pytest.raises(PiimageError):
            store.add_stream([b"x" * 10_000] * 10)
    assert [path.name for path in store.root.rglob("*") if path.is_file()] == []


@pytest.mark.provokes("run.killed")
def test_a_killed_program_is_reported_with_its_signal(runner: Runner) -> None:
    argv = ["sh", "-c", "kill -9 $$"]
    calls: list[Callable[[], object]] = [
        lambda: runner.run(argv), lambda: runner.feed(argv, [b"x"] * 10)
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(PiimageError) as caught:
            call()
        assert caught.value.code == "run.killed"
        assert caught.value.message == (
            "sh was killed by SIGKILL; dmesg tells whether memory ran out"
        )


@pytest.mark.provokes("run.failed")
def test_a_crash_is_a_failure_of_the_program(runner: Runner) -> None:
    with pytest.raises(PiimageError) as caught:
        runner.run(["sh", "-c", "kill -SEGV $$"])
    assert caught.value.code == "run.failed"


@pytest.mark.provokes("host.full")
def test_the_messages_of_programs_about_a_full_disk_become_one_line(
    runner: Runner, tmp_path: Path
) -> None:
    script = "for i in 1 2 3 4 5; do echo 'plain_io: No space left on device' >&2; done; exit 1"
    (tmp_path / "card.img").touch()
    with pytest.raises(PiimageError) as caught:
        runner.run(["sh", "-c", script, f"card.img@@{1 << 20}"], cwd=tmp_path)
    assert caught.value.code == "host.full"
    assert caught.value.place == str(tmp_path / "card.img")
    assert re.match(r"sh: no space is left: it needs more than the \d+ bytes", caught.value.message)
    assert "\n" not in str(caught.value)


@pytest.mark.provokes("host.no-folder")
def test_a_removed_working_folder_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PIIMAGE_STORE", str(tmp_path / "store"))
    folder.rmdir()
    assert cli.execute(["build", "a.yml"]) == 1
    assert capsys.readouterr().err == (
        "piimage: the working folder was removed [host.no-folder]; cd to an existing folder\n"
    )


@pytest.mark.provokes("host.gone")
@pytest.mark.parametrize("out", ["/proc/x", "/proc/x/y"])
def test_an_output_folder_that_cannot_be_made_is_reported_before_the_work(
    out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIIMAGE_STORE", str(tmp_path / "store"))
    file = tmp_path / "a.yml"
    file.write_text("board: qemu-virt\n")
    assert cli.execute(["build", str(file), "-o", out, "--offline"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("/proc/x")
    assert error.count("\n") == 1


@pytest.mark.provokes("host.path")
def test_a_file_in_the_place_of_the_store_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "store").write_text("")
    monkeypatch.setenv("PIIMAGE_STORE", str(tmp_path / "store"))
    for words in (["cache", "ls"], ["cache", "gc"], ["build", "a.yml"], ["pkg", "ls"]):
        assert cli.execute(words) == 1
        error = capsys.readouterr().err
        assert error.startswith(f"{tmp_path / 'store'}: such a file or folder cannot exist")
        assert error.count("\n") == 1


@pytest.mark.provokes("host.no-temporary")
def test_a_missing_folder_for_temporary_files_is_reported() -> None:
    error = host.explain(
        FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/a', '/b']")
    )
    assert "No usable temporary directory found" in str(error)
    assert "TMPDIR" in str(error)


@pytest.mark.provokes("host.output")
@pytest.mark.parametrize("words", [["doctor", "--json"], ["cache", "ls"]])
def test_output_that_cannot_be_written_is_reported(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("PIIMAGE_STORE", str(tmp_path / "store"))
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert cli.execute(words) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "standard output: the output cannot be written (No space left on device) [host.output]; "
        "redirect it to a file system with free space"
    )


def test_a_full_disk_is_an_error_even_if_the_status_is_accepted(runner: Runner) -> None:
    argv = ["sh", "-c", "echo 'gpgv: write error: no space left on device' >&2; exit 2"]
    with pytest.raises(PiimageError) as caught:
        runner.run(argv, accept=(0, 1, 2))
    assert caught.value.code == "host.full"


def test_a_full_disk_of_another_machine_is_not_an_error_of_the_host(
    runner: Runner, tmp_path: Path
) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\necho 'tar: No space left on device' >&2; exit 1\n")
    ssh.chmod(0o755)
    assert runner.run([ssh], accept=range(256)).status == 1


class Failing(io.RawIOBase):
    """A fake file whose disk fails with an I/O error after some bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:  # any buffer
        if not self._data:
            raise OSError(errno.EIO, "Input/output error")
        count = min(len(into), len(self._data))
        into[:count], self._data = self._data[:count], self._data[count:]
        return count


@pytest.mark.provokes("host.disk")
def test_a_failing_disk_is_not_reported_as_a_damaged_archive() -> None:
    whole = b"".join(tar_chunks([file("a", bytes(100_000))]))
    for size in (0, 100, 512, 5000, 90_000):
        with pytest.raises(PiimageError) as caught:
            for entry in read_tar(io.BufferedReader(Failing(whole[:size])), "layer"):
                list(entry.content())
        assert (caught.value.code, caught.value.place) == ("host.disk", "layer")
