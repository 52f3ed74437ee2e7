"""What a build looked at, listed and made, as the witness notes it."""

from __future__ import annotations

import importlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from piimage.lock import Lock
from piimage.locking.current import write_lock
from piimage.store import Store
from piimage.unchanged import Memory, Witness, kind_stamp, link_stamp, stamp

TICK = 0.025  # seconds: longer than a tick of any kernel's clock, and than what counts as one


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Memory(Store(tmp_path / "store"), (), tmp_path, ()).witness()


def test_no_path_is_left_out_for_where_it_lies(witness: Witness) -> None:
    with witness.watching():
        Path("/etc/hosts").read_bytes()
        Path("/run").exists()
        Path(pytest.__file__).read_bytes()
    seen = witness.inputs()
    assert seen is not None
    assert seen.keys() >= {
        ("look", "/etc/hosts"), ("look", "/run"), ("look", pytest.__file__)
    }  # fmt: skip


@pytest.mark.parametrize("listing", [os.listdir, lambda path: [*os.scandir(path)]])
def test_the_list_of_a_folder_is_an_input(
    witness: Witness, tmp_path: Path, listing: Callable[[Path], object]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    time.sleep(TICK)
    with witness.watching():
        listing(folder)
    seen = witness.inputs()
    assert seen is not None
    assert ("list", str(folder)) in seen


def test_code_counts_by_the_modules_and_not_by_what_the_import_looked_at(
    witness: Witness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import looks through many folders, and reads and writes compiled files."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "a_module_that_is_imported", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module = tmp_path / "a_module_that_is_imported.py"
    module.write_text("")
    time.sleep(TICK)
    with witness.watching():
        importlib.import_module(module.stem)
    seen = witness.inputs()
    assert seen is not None
    assert ("look", str(module)) not in seen
    assert ("list", str(tmp_path)) not in seen


@pytest.mark.parametrize("path", ["/proc/version", "/dev/zero"])
def test_what_has_no_state_is_never_the_same(witness: Witness, tmp_path: Path, path: str) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)
    with witness.watching(), link.open("rb") as file:
        file.read(1)
    assert witness.inputs() is None


def test_an_input_that_changed_during_the_build_is_not_forgotten(
    witness: Witness, tmp_path: Path
) -> None:
    path = tmp_path / "input"
    path.write_text("x")
    time.sleep(TICK)
    with witness.watching():
        path.read_bytes()
        os.close(os.open(path, os.O_RDONLY))
    path.chmod(0o600)
    assert witness.inputs() is None


@pytest.mark.parametrize(("later", "known"), [(19_999_999, False), (20_000_000, True)])
def test_an_input_so_new_that_its_times_may_hide_a_change_is_not_believed(
    witness: Witness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: int, known: bool
) -> None:
    path = tmp_path / "input"
    path.write_text("x")
    changed = path.stat().st_ctime_ns
    monkeypatch.setattr(time, "time_ns", lambda: changed + later)
    with witness.watching():
        path.read_bytes()
    assert (witness.inputs() is not None) is known


def test_what_a_build_made_for_itself_is_no_input(witness: Witness, tmp_path: Path) -> None:
    with witness.watching():
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            (Path(folder) / "draft").write_text("x")
            assert (Path(folder) / "draft").exists()
        (tmp_path / "kept").write_text("x")
        (tmp_path / "kept").read_text()
    seen = witness.inputs()
    assert seen is not None
    assert not [path for _, path in seen if path.startswith(folder)]
    assert ("look", str(tmp_path / "kept")) in seen


def test_what_a_build_made_and_another_changed_meanwhile_is_not_the_same(
    witness: Witness, tmp_path: Path
) -> None:
    lock = tmp_path / "pi.lock"
    with witness.watching():
        write_lock(Lock(), lock)
        lock.exists()
        time.sleep(TICK)
    lock.write_text("edited")
    assert witness.inputs() is None


def test_what_the_store_keeps_is_no_input(witness: Witness, tmp_path: Path) -> None:
    """Its folders (store.py) and what makes it an OCI layout (image-layout.md); all else counts."""
    store = tmp_path / "store"
    kept = ["blobs/x", "memo/x", "tmp/x", "locks/x", "trees/x", "built/x"]
    for name in (*kept, "index.json", "oci-layout", "built.yml"):
        (store / name).parent.mkdir(exist_ok=True)
        (store / name).write_text("x")
    time.sleep(TICK)
    with witness.watching():
        for name in (*kept, "index.json", "oci-layout", "built.yml"):
            (store / name).read_text()
    seen = witness.inputs()
    assert seen is not None
    assert [path for _, path in seen if path.startswith(f"{store}/")] == [f"{store}/built.yml"]


@pytest.mark.parametrize("put", [os.rename, os.link, lambda old, new: new.symlink_to(old)])
def test_what_a_build_put_in_place_and_another_changed_meanwhile_is_not_the_same(
    witness: Witness, tmp_path: Path, put: Callable[[Path, Path], None]
) -> None:
    draft, kept = tmp_path / "draft", tmp_path / "kept"
    draft.write_text("x")
    with witness.watching():
        put(draft, kept)
        Path("/etc/hosts").exists()  # what was made is noted before anything else is looked at
        time.sleep(TICK)
    kept.write_text("edited")
    assert witness.inputs() is None


def seen_by(witness: Witness) -> set[tuple[str, str]]:
    seen = witness.inputs()
    assert seen is not None
    return set(seen)


def test_what_was_made_last_is_known_too(witness: Witness, tmp_path: Path) -> None:
    with witness.watching():
        (tmp_path / "kept").write_text("x")
    assert ("look", str(tmp_path / "kept")) in seen_by(witness)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: os.truncate(path, 0),
        lambda path: path.chmod(0o600),
        lambda path: os.chown(path, -1, -1),
        os.utime,
        lambda path: os.close(os.open(path, os.O_WRONLY)),
        lambda path: os.close(os.open(path, os.O_RDWR)),
    ],
)
def test_what_a_build_changes_is_what_it_made(
    witness: Witness, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    path = tmp_path / "kept"
    path.write_text("x")
    with witness.watching():
        path.exists()
        change(path)
    assert ("look", str(path)) in seen_by(witness)
    path.write_text("edited")
    assert witness.inputs() is None


def test_a_folder_is_made_once(witness: Witness, tmp_path: Path) -> None:
    """One that was there before, and was not made, may go without being forgotten."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    time.sleep(TICK)
    with witness.watching():
        old.mkdir(exist_ok=True)
        new.mkdir()
    assert ("look", str(new)) in seen_by(witness)
    assert witness._made == {str(new)}


def test_what_was_looked_for_before_it_was_made_does_not_count(
    witness: Witness, tmp_path: Path
) -> None:
    with witness.watching():
        for name in ("file", "link"):
            assert not os.path.lexists(tmp_path / name)
            assert not (tmp_path / name).exists()
        (tmp_path / "file").write_text("x")
        (tmp_path / "link").symlink_to("file")
    assert ("look", str(tmp_path / "link")) in seen_by(witness)


def test_a_way_to_look_is_noted_as_it_was_asked(
    witness: Witness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c", "d", "e"):
        (tmp_path / name).symlink_to("target")
    time.sleep(TICK)
    monkeypatch.chdir(tmp_path)
    with witness.watching():
        os.stat(tmp_path / "a", follow_symlinks=False)  # noqa: PTH116
        os.lstat(tmp_path / "b")
        os.readlink(tmp_path / "c")  # noqa: PTH115
        os.access(b"d", os.F_OK)
        os.access("e", os.F_OK, follow_symlinks=False)
        os.listdir()  # noqa: PTH208
    found = {(way, Path(path).name) for way, path in seen_by(witness)}
    assert found == {
        ("link", "a"), ("link", "b"), ("link", "c"), ("look", "d"), ("link", "e"),
        ("list", tmp_path.name),
    }  # fmt: skip


def test_names_below_an_open_folder_are_not_taken_for_others(
    witness: Witness, tmp_path: Path
) -> None:
    (tmp_path / "x").write_text("")
    folder = os.open(tmp_path, os.O_RDONLY)
    with witness.watching():
        os.stat("x", dir_fd=folder)
        os.stat(folder)  # noqa: PTH116
    os.close(folder)
    assert seen_by(witness) == set()


def test_after_the_build_nothing_is_watched(witness: Witness) -> None:
    functions = {name: getattr(os, name) for name in ("stat", "lstat", "readlink", "access")}
    with witness.watching():
        assert all(getattr(os, name) is not own for name, own in functions.items())
        wrapped = os.stat
    assert all(getattr(os, name) is own for name, own in functions.items())
    wrapped("/etc")
    Path("/etc/hosts").read_bytes()
    assert seen_by(witness) == set()
    with pytest.raises(InterruptedError), witness.watching():
        raise InterruptedError
    assert os.stat is functions["stat"]


def test_what_is_written_to_devices_is_not_made(witness: Witness) -> None:
    with witness.watching():
        Path("/dev/null").write_text("x")
    assert seen_by(witness) == set()
    assert witness._made == set()


def test_a_program_is_looked_for_where_its_environment_says(
    witness: Witness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy("/bin/true", tmp_path / "true")
    monkeypatch.setenv("PATH", str(tmp_path))
    time.sleep(TICK)
    with witness.watching():
        subprocess.run(["true"], check=True)
        subprocess.run(["/bin/true"], env={"PATH": "/nowhere"}, check=True)
        with pytest.raises(FileNotFoundError):
            subprocess.run(["no-such-program"], check=True)
    found = seen_by(witness)
    assert {("look", str(tmp_path / "true")), ("look", "/bin/true")} <= found


def test_a_stamp_tells_one_state_of_a_path_from_another(tmp_path: Path) -> None:
    """Kind, mode, device, number, owner, size and times; a folder's for itself has no times."""
    path = tmp_path / "file"
    path.write_text("x")
    status = path.stat()
    own = (status.st_mode, status.st_dev, status.st_ino, status.st_uid, status.st_gid)
    whole = (*own, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    assert stamp(path) == kind_stamp(path) == whole
    assert link_stamp(path) == (stat.S_IFREG,)
    folder = tmp_path.stat()
    assert kind_stamp(tmp_path) == (
        folder.st_mode, folder.st_dev, folder.st_ino, folder.st_uid, folder.st_gid,
    )  # fmt: skip
    assert stamp(tmp_path) == (*kind_stamp(tmp_path), folder.st_size, folder.st_mtime_ns,
                               folder.st_ctime_ns)  # fmt: skip
    link = tmp_path / "link"
    link.symlink_to("file")
    assert link_stamp(link)[:3] == (link.lstat().st_mode, link.lstat().st_dev, link.lstat().st_ino)
    assert stamp(link) == stamp(path)
    for nothing in (tmp_path / "gone", "a\0b", path / "below"):
        assert stamp(nothing) is kind_stamp(nothing) is link_stamp(nothing) is None
