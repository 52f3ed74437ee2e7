from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.errors import PiimageError
from piimage.trees import (
    MERGED,
    Entry,
    Kind,
    Placement,
    clean_path,
    cpio_chunks,
    file,
    folder,
    read_tar,
    symlink,
    tar_chunks,
)
from tests.examples import examples


def written(*entries: Entry) -> bytes:
    return b"".join(tar_chunks(entries))


def contents(data: bytes) -> dict[str, bytes]:
    return {e.path: b"".join(e.content()) for e in read_tar(io.BytesIO(data), "test")}


def placed(*entries: Entry) -> list[str]:
    return [entry.path for entry in Placement().place(entries)]


def foreign_tar(name: str, **fields: object) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo(name)
        for field, value in fields.items():
            setattr(info, field, value)
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    return out.getvalue()


def test_read_tar_reads_what_tar_chunks_writes() -> None:
    entries = [
        folder("etc", 0o750, 1, 2),
        file("etc/motd", b"hello", 0o640, 3, 4),
        symlink("etc/link", "../x"),
        Entry("dev/null", Kind.CHARACTER, 0o666, device=(1, 3)),
        Entry("bin/ping", Kind.FILE, 0o755, xattrs={"security.capability": b"\x01\xff\x00"}),
        Entry("etc/again", Kind.HARD_LINK, 0o640, link="etc/motd"),
        file("long/" + "n" * 200, b""),
    ]
    read = list(read_tar(io.BytesIO(written(*entries)), "test"))

    def fields(entry: Entry) -> tuple[object, ...]:
        return (
            entry.path, entry.kind, entry.mode, entry.uid, entry.gid, entry.size, entry.link,
            entry.device, dict(entry.xattrs),
        )  # fmt: skip

    assert [fields(entry) for entry in read] == [fields(entry) for entry in entries]


def test_a_tar_ends_with_two_blocks_of_zeros() -> None:
    """POSIX.1-2017, pax, "ustar Interchange Format"."""
    assert written() == bytes(1024)
    data = written(file("a", b"x" * 513))
    assert len(data) == 512 + 1024 + 1024
    assert data[-1024:] == bytes(1024)


def test_gnu_tar_lists_the_written_entries(tmp_path) -> None:
    (tmp_path / "t.tar").write_bytes(written(folder("a", 0o700), file("a/b", b"x", 0o4755, 7, 8)))
    listing = subprocess.run(
        ["tar", "--numeric-owner", "--utc", "-tvf", tmp_path / "t.tar"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert listing.splitlines() == [
        "drwx------ 0/0               0 2025-01-01 00:00 a/",
        "-rwsr-xr-x 7/8               1 2025-01-01 00:00 a/b",
    ]


def test_cpio_lists_the_written_entries(tmp_path) -> None:
    archive = b"".join(cpio_chunks([folder("a"), file("a/b", b"hello"), symlink("a/c", "b")]))
    listing = subprocess.run(["cpio", "-itv"], input=archive, capture_output=True, check=True)
    text = listing.stdout.decode()
    assert [line.split()[0] for line in text.splitlines()] == [
        "drwxr-xr-x", "-rw-r--r--", "lrwxrwxrwx",
    ]  # fmt: skip
    assert "a/c -> b" in text


def newc(*numbers: int) -> bytes:
    return b"070701" + b"".join(b"%08X" % number for number in numbers)


def test_the_kernels_archive_byte_by_byte() -> None:
    """buffer-format.rst: inode, mode, owner, group, links, time, size, two numbers of the archive's
    device, two of the entry's own, length of the name, checksum; padded to four bytes."""
    time = 1735689600  # 2025-01-01
    archive = b"".join(
        cpio_chunks(
            [
                folder("a", 0o750, 1, 2),
                Entry("f", Kind.FILE, size=5, content=lambda: (b"hel", b"lo")),
                Entry("ff", Kind.FILE, size=4, content=lambda: (b"four",)),
                symlink("a/link", "12345"),
                symlink("a/l", "1234"),
                Entry("null", Kind.CHARACTER, 0o666, device=(1, 3)),
            ]
        )
    )
    assert archive == b"".join(
        [
            newc(1, 0o040750, 1, 2, 2, time, 0, 0, 0, 0, 0, 2, 0) + b"a\0",
            newc(2, 0o100644, 0, 0, 1, time, 5, 0, 0, 0, 0, 2, 0) + b"f\0hello\0\0\0",
            newc(3, 0o100644, 0, 0, 1, time, 4, 0, 0, 0, 0, 3, 0) + b"ff\0\0\0\0four",
            newc(4, 0o120777, 0, 0, 1, time, 5, 0, 0, 0, 0, 7, 0) + b"a/link\0\0\0\0",
            b"12345\0\0\0",
            newc(5, 0o120777, 0, 0, 1, time, 4, 0, 0, 0, 0, 4, 0) + b"a/l\0\0\0" + b"1234",
            newc(6, 0o020666, 0, 0, 1, time, 0, 0, 0, 1, 3, 5, 0) + b"null\0\0",
            newc(0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 11, 0) + b"TRAILER!!!\0\0\0\0",
        ]
    )


def test_a_merged_usr_is_that_of_debian() -> None:
    """Debian Policy 9.1.1 and usrmerge: what the links of a root lead to."""
    assert MERGED == {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}


def test_names_that_are_not_utf8_keep_their_bytes() -> None:
    name = os.fsdecode(b"b\xff")
    entries = [file(name, b""), symlink("l", name), Entry("h", Kind.HARD_LINK, link=name)]
    read = list(read_tar(io.BytesIO(written(*entries)), "test"))
    assert [(e.path, e.link) for e in read] == [(name, ""), ("l", name), ("h", name)]
    archive = b"".join(cpio_chunks([file(name, b""), symlink("l", name)]))
    listing = subprocess.run(["cpio", "-it"], input=archive, capture_output=True, check=True)
    assert listing.stdout == b"b\xff\nl\n"
    assert b"l\0b\xff\0\0" in archive.replace(b"\0\0\0", b"\0")


@pytest.mark.parametrize("data", [b"longer", b"x"])
def test_a_content_of_another_size_than_stated_is_a_defect(data: bytes) -> None:
    wrong = Entry("a", Kind.FILE, size=3, content=lambda: (data,))
    for write in (tar_chunks, cpio_chunks):
        with pytest.raises(ValueError, match="not have the stated 3 bytes"):
            b"".join(write([wrong]))


@pytest.mark.provokes("trees.link-loop")
def test_links_that_make_a_path_ever_longer_are_refused() -> None:
    links = [symlink(f"l{n}", f"l{n + 1}/" + "d/" * 500) for n in range(20)]
    with pytest.raises(PiimageError, match=r"the path /.* endless"):
        placed(*links, file("l0/x", b""))


@pytest.mark.parametrize("path", ["../x", "a/../../x", "..", "/../etc/passwd", "a\0b"])
@pytest.mark.provokes("trees.escape")
def test_a_path_out_of_the_root_is_refused(path: str) -> None:
    with pytest.raises(PiimageError, match="leaves its root"):
        clean_path(path)


def test_an_escape_in_an_archive_names_the_archive() -> None:
    with pytest.raises(PiimageError, match=r"^test: the path '\.\./x' leaves its root"):
        contents(foreign_tar("../x"))


def test_a_hard_link_out_of_the_root_is_refused() -> None:
    with pytest.raises(PiimageError, match="leaves its root"):
        contents(foreign_tar("x", type=tarfile.LNKTYPE, linkname="../../etc/shadow"))


def test_leading_slashes_and_dots_are_removed() -> None:
    assert list(contents(foreign_tar("/./etc//motd"))) == ["etc/motd"]


@pytest.mark.provokes("trees.damaged")
@pytest.mark.parametrize("size", [1, 100, 511, 512, 700, 1030])
def test_a_truncated_tar_is_refused(size: int) -> None:
    data = written(file("a", b"x" * 1000))[:size]
    with pytest.raises(PiimageError, match="damaged archive"):
        contents(data)


@settings(max_examples=examples(60))
@given(st.binary(max_size=2000))
def test_random_bytes_give_entries_or_one_clear_error(data: bytes) -> None:
    try:
        contents(data)
    except PiimageError as error:
        assert error.place == "test"


@settings(max_examples=examples(100))
@given(st.integers(0, 2500), st.binary(min_size=1, max_size=8))
def test_a_damaged_tar_gives_entries_or_one_clear_error(at: int, noise: bytes) -> None:
    data = bytearray(written(folder("a"), file("a/b", b"x" * 700), symlink("l", "a/b")))
    data[at : at + len(noise)] = noise
    try:
        contents(bytes(data))
    except PiimageError as error:
        assert error.place == "test"


def test_missing_parent_folders_are_made_before_their_files() -> None:
    assert placed(file("a/b/c", b"")) == ["a", "a/b", "a/b/c"]


def test_a_folder_that_comes_twice_is_kept_once() -> None:
    assert placed(folder("a"), file("a/b", b""), folder("a"), file("a/c", b"")) == [
        "a", "a/b", "a/c",
    ]  # fmt: skip


def test_symbolic_links_in_a_path_are_followed() -> None:
    entries = (folder("usr/lib"), symlink("lib", "usr/lib"), folder("lib"), file("lib/x.so", b""))
    assert placed(*entries) == ["usr", "usr/lib", "lib", "usr/lib/x.so"]


def test_a_link_out_of_the_root_is_followed_inside_it() -> None:
    assert placed(symlink("out", "../../../etc"), file("out/passwd", b"")) == [
        "out", "etc", "etc/passwd",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("links", "real"),
    [
        ({"a/b": "c"}, "a/c/x"),  # beside the link
        ({"a/b": "/c"}, "c/x"),  # from the root
        ({"a/b": "../c"}, "c/x"),
        ({"a": "c"}, "c/b/x"),
        ({"a/b": "./c"}, "a/c/x"),
        ({"a/b": "c/./d//e/../f"}, "a/c/d/f/x"),
        ({"a/b": "../../../../c"}, "c/x"),
        ({"a": "/d", "d/b": "../e"}, "e/x"),  # a link in what a link leads to
        ({"a": "d/e", "d/e/b": "../f"}, "d/f/x"),
        ({"a/b": "/"}, "x"),  # the root itself
    ],
)
def test_links_are_followed_as_the_kernel_does(links: dict[str, str], real: str) -> None:
    """path_resolution(7), for a process whose root is the tree."""
    placement = Placement()
    placement.assume(links)
    assert placement.real("a/b/x") == real


def test_what_follows_a_link_is_kept() -> None:
    placement = Placement()
    placement.assume({"a/b": "c", "r": "/"})
    assert placement.real("a/b/xd/e/f") == "a/c/xd/e/f"
    assert placement.real("a/bb/x") == "a/bb/x"
    assert placement.real("r/a/b/x") == "a/c/x"
    assert placement.real("a/b") == "a/b"
    assert placement.real("x") == "x"


def test_as_many_links_in_a_path_as_the_kernel_follows() -> None:
    """path_resolution(7): forty, and ELOOP for one more."""
    placement = Placement()
    placement.assume({str(n): str(n + 1) for n in range(40)})
    assert placement.real("0/x") == "40/x"
    placement.assume({"40": "41"})
    with pytest.raises(PiimageError, match="loop of symbolic links"):
        placement.real("0/x")


def test_a_link_that_comes_twice_is_kept_once() -> None:
    assert placed(symlink("a", "b"), symlink("a", "b")) == ["a"]


@pytest.mark.provokes("trees.conflict")
@pytest.mark.parametrize("second", [symlink("a", "c"), file("a", b"")])
def test_a_link_and_another_entry_of_one_path_are_refused(second: Entry) -> None:
    with pytest.raises(PiimageError, match="/a comes twice"):
        placed(symlink("a", "b"), second)


def test_a_hard_link_follows_the_links_of_its_own_path() -> None:
    entries = (
        symlink("lib", "usr/lib"),
        file("lib/a", b""),
        Entry("b", Kind.HARD_LINK, link="lib/a"),
    )
    assert [e.link for e in Placement().place(entries)][-1] == "usr/lib/a"


@pytest.mark.provokes("trees.conflict")
def test_two_files_of_one_path_are_refused() -> None:
    with pytest.raises(PiimageError, match="/etc/motd comes twice"):
        placed(file("etc/motd", b"a"), file("etc/motd", b"b"))


@pytest.mark.provokes("trees.conflict")
def test_a_file_below_a_file_is_refused() -> None:
    with pytest.raises(PiimageError, match="/a/b is below /a, which is not a folder"):
        placed(file("a", b""), file("a/b", b""))


@pytest.mark.provokes("trees.link-loop")
def test_a_loop_of_links_is_refused() -> None:
    with pytest.raises(PiimageError, match="loop of symbolic links"):
        placed(symlink("a", "b"), symlink("b", "a"), file("a/x", b""))


@pytest.mark.provokes("trees.too-many")
def test_an_archive_with_too_many_entries_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("piimage.trees._MAX_ENTRIES", 2)
    with pytest.raises(PiimageError, match="more than 2 entries"):
        contents(written(folder("a"), folder("b"), folder("c")))


PATHS = st.lists(st.sampled_from(["a", "b", "..", ".", "", "etc"]), min_size=1, max_size=6)


@settings(max_examples=examples(200))
@given(st.lists(st.tuples(PATHS, st.sampled_from(["dir", "file", "link"]), PATHS), max_size=6))
def test_no_path_ever_leaves_the_root(parts: list[tuple[list[str], str, list[str]]]) -> None:
    def entry(path: str, kind: str, target: str) -> Entry:
        if kind == "link":
            return symlink(path, target or "x")
        return folder(path) if kind == "dir" else file(path, b"")

    try:
        entries = [entry("/".join(p), kind, "/".join(t)) for p, kind, t in parts]
        for path in placed(*(e for e in entries if e.path)):
            assert ".." not in path.split("/")
            assert not path.startswith("/")
    except PiimageError as error:
        assert error.code.startswith("trees.")


@pytest.mark.parametrize("chunks", [(b"hello!",), (b"hel", b"lo", b"!"), (b"hell",), ()])
@pytest.mark.parametrize("write", [tar_chunks, cpio_chunks])
def test_content_of_another_size_than_stated_is_refused(
    write: Callable[[list[Entry]], Iterator[bytes]], chunks: tuple[bytes, ...]
) -> None:
    """Otherwise a reader takes content for a header, or a header for content."""
    entry = Entry("etc/motd", Kind.FILE, size=5, content=lambda: chunks)
    with pytest.raises(ValueError, match="not have the stated 5 bytes"):
        list(write([entry]))
    assert list(write([replace(entry, content=lambda: (b"hel", b"", b"lo"))]))
