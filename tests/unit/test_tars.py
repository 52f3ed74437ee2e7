from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.errors import PiimageError
from piimage.tars import Member, Tar, records
from tests.examples import examples


def members(data: bytes) -> list[Member]:
    return list(Tar(io.BytesIO(data)))


def contents(data: bytes) -> list[tuple[str, bytes]]:
    tar = Tar(io.BytesIO(data))
    return [(member.path, b"".join(tar.content(member))) for member in tar]


def header(form: int, **fields: object) -> bytes:
    info = tarfile.TarInfo("name")
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(form)


def pax(*pairs: bytes) -> bytes:
    """Return an extended header of `pairs` (KEY=VALUE), and the header of a file."""
    body = b""
    for pair in pairs:
        length = len(pair) + 2
        length += len(str(length + len(str(length))))
        body += b"%d %s\n" % (length, pair)
    head = header(tarfile.USTAR_FORMAT, type=tarfile.XHDTYPE, size=len(body))
    return head + body.ljust(-(-len(body) // 512) * 512, b"\0") + header(tarfile.USTAR_FORMAT)


def altered(header: bytes, start: int, new: bytes) -> bytes:
    """Return the header with `new` at `start`, and with the right checksum."""
    raw = bytearray(header)
    raw[start : start + len(new)] = new
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw[:512])
    return bytes(raw)


END = bytes(1024)


@pytest.mark.parametrize("form", ["v7", "oldgnu", "gnu", "ustar", "posix"])
def test_archives_of_gnu_tar_are_read(tmp_path: Path, form: str) -> None:
    tree = tmp_path / "tree"
    (tree / "folder").mkdir(parents=True, mode=0o750)
    (tree / "folder" / "file").write_bytes(b"x" * 700)
    (tree / "folder" / "file").chmod(0o640)
    (tree / "link").symlink_to("folder/file")
    os.link(tree / "folder" / "file", tree / "other")
    deep = "d" * 60 + "/" + "n" * 90 if form != "v7" else "d/n"
    (tree / deep).parent.mkdir()
    (tree / deep).write_bytes(b"")
    argv = ["tar", f"--format={form}", "--sort=name", "--owner=:7", "--group=:8", "-C", tree]
    data = subprocess.run([*argv, "-c", "."], capture_output=True, check=True).stdout
    types = {m.path: (m.type, m.uid, m.gid, m.size, m.link) for m in members(data)}
    assert types == {
        "./": ("5", 7, 8, 0, ""),
        f"./{deep.partition('/')[0]}/": ("5", 7, 8, 0, ""),
        f"./{deep}": ("0", 7, 8, 0, ""),
        "./folder/": ("5", 7, 8, 0, ""),
        "./folder/file": ("0", 7, 8, 700, ""),
        "./link": ("2", 7, 8, 0, "folder/file"),
        "./other": ("1", 7, 8, 0, "./folder/file"),
    }
    assert {m.path: m.mode for m in members(data)}["./folder/file"] == 0o640
    assert dict(contents(data))["./folder/file"] == b"x" * 700


NAMES = st.binary(min_size=1, max_size=300).filter(lambda name: b"\0" not in name)
NUMBERS = st.integers(0, (1 << 32) - 2)


@settings(max_examples=examples(150))
@given(
    form=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    name=NAMES.filter(lambda name: max(map(len, name.split(b"/"))) < 256),
    link=NAMES,
    kind=st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE]),
    mode=st.integers(0, 0o7777),
    ids=st.tuples(NUMBERS, NUMBERS),
    size=st.integers(0, 3000),
)
def test_tarfile_and_this_read_the_same(
    form: int, name: bytes, link: bytes, kind: bytes, mode: int, ids: tuple[int, int], size: int
) -> None:
    info = tarfile.TarInfo(os.fsdecode(name))
    info.type, info.mode, info.linkname = kind, mode, os.fsdecode(link)
    info.uid, info.gid = ids
    info.size = size if kind == tarfile.REGTYPE else 0
    data = info.tobuf(form, "utf-8", "surrogateescape") + bytes(-(-info.size // 512) * 512) + END
    (member,) = members(data)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        (theirs,) = archive
    assert member.path.rstrip("/") == theirs.name.rstrip("/")
    assert (member.mode, member.uid, member.gid) == (theirs.mode, theirs.uid, theirs.gid)
    # A file whose name ends in a slash is a folder to GNU tar and to this; its content is skipped.
    assert member.size == (0 if name.endswith(b"/") else theirs.size)
    assert theirs.size == info.size
    if kind == tarfile.SYMTYPE:
        assert member.link == theirs.linkname == os.fsdecode(link)


@pytest.mark.parametrize("name", ["a/", "/"])
def test_the_content_of_a_folder_that_is_written_as_a_file_is_skipped(name: str) -> None:
    first = header(tarfile.GNU_FORMAT, name=name, size=700) + b"x" * 1024
    (folder, after) = members(first + header(tarfile.GNU_FORMAT, name="after") + END)
    assert (folder.type, folder.size, after.path) == ("5", 0, "after")


def test_names_that_are_not_utf8_are_kept() -> None:
    data = header(tarfile.GNU_FORMAT, name=os.fsdecode(b"b\xff/" + b"n\xe9" * 100)) + END
    assert os.fsencode(members(data)[0].path) == b"b\xff/" + b"n\xe9" * 100
    (member,) = members(pax(b"path=p\xff", b"SCHILY.xattr.user.a=\x00\xff=\n") + END)
    assert (os.fsencode(member.path), member.xattrs) == (b"p\xff", {"user.a": b"\x00\xff=\n"})


@pytest.mark.provokes("trees.xattr-name")
def test_an_attribute_whose_name_is_not_utf8_is_refused_with_its_file() -> None:
    with pytest.raises(PiimageError, match=r"'f' has an .* not UTF-8 \(b'user.\\xff'\)"):
        members(pax(b"path=f", b"SCHILY.xattr.user.\xff=x") + END)


def test_a_global_header_applies_to_all_later_members() -> None:
    body = b"9 uid=77\n18 comment=of git\n"
    head = header(tarfile.USTAR_FORMAT, type=tarfile.XGLTYPE, size=len(body))
    data = head + body.ljust(512, b"\0") + header(tarfile.USTAR_FORMAT) * 2 + END
    assert [member.uid for member in members(data)] == [77, 77]


def test_the_last_record_of_a_key_counts_and_an_empty_one_is_ignored() -> None:
    assert members(pax(b"path=a", b"path=b") + END)[0].path == "b"
    assert members(pax(b"path=", b"uid=") + END)[0].path == "name"
    assert records(b"6 a=b\n6 a=c\n") == {b"a": b"c"}


@pytest.mark.parametrize(
    "data",
    [b"x", b"5 a=b\n", b"7 a=b\n", b"6 a:b\n", b"6 a=bx", b"-6 a=b\n", b"5 =b\n", b"0 a=b\n",
     b"99999999999999999999999 a=b\n"],
)  # fmt: skip
def test_a_broken_record_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="extended header is broken"):
        records(data)


FILE = header(tarfile.USTAR_FORMAT, size=3) + b"abc".ljust(512, b"\0")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (b"x" * 512, "checksum"),
        (FILE[:511], "truncated"),
        (FILE[:514], "truncated"),
        (FILE[:515], "truncated"),
        (FILE + b"x" * 512, "checksum"),  # which tarfile takes for the end
        (FILE + bytes(512) + FILE, "follow the end of the archive"),
        (pax(b"uid=x"), "invalid uid 'x'"),
        (pax(b"uid=4294967295"), "invalid uid"),
        (pax(b"size=-1"), "invalid size"),
        (altered(FILE, 108, b"0000009\0"), "invalid uid '0000009'"),
        (altered(FILE, 124, b"\xff" * 12), "invalid size"),
        (altered(FILE, 124, b"\x80" + b"\xff" * 11), "invalid size"),
        (altered(FILE, 156, b"Z"), "unknown type 'Z'"),
        (altered(FILE, 156, b"M"), "unknown type 'M'"),
        (header(tarfile.USTAR_FORMAT, type=tarfile.SYMTYPE), "a link without a target"),
        (
            header(tarfile.USTAR_FORMAT, type=tarfile.CHRTYPE, devmajor=4096),
            "invalid device number",
        ),
        (
            header(tarfile.USTAR_FORMAT, type=tarfile.BLKTYPE, devminor=1 << 20),
            "invalid device number",
        ),
    ],
)
def test_a_stream_that_is_not_a_tar_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises((ValueError, EOFError), match=reason):
        contents(data)


def test_a_tar_may_end_without_blocks_of_zeros() -> None:
    assert contents(FILE) == [("name", b"abc")]
    assert contents(FILE + bytes(512)) == [("name", b"abc")]
    assert contents(FILE + END + b"more bytes after the end") == [("name", b"abc")]
    assert contents(END) == []


def test_a_checksum_of_signed_characters_is_valid() -> None:
    raw = bytearray(header(tarfile.GNU_FORMAT, name=os.fsdecode(b"\xe9")))
    raw[148:156] = b"%06o\0 " % (int(raw[148:154], 8) - 256)
    assert os.fsencode(members(bytes(raw))[0].path) == b"\xe9"


@pytest.mark.parametrize(
    ("path", "fits"),
    [
        (b"n" * 255, True),
        (b"n" * 256, False),
        (b"/".join([b"n" * 63] * 64), True),  # 4,095 bytes
        (b"/" * 4096 + b"n", False),
        (b"/".join([b"n"] * 256), True),
        (b"/".join([b"n"] * 257), False),
    ],
)
def test_a_path_may_be_as_long_as_linux_allows(path: bytes, fits: bool) -> None:
    data = pax(b"path=" + path) + END
    if fits:
        assert os.fsencode(members(data)[0].path) == path
        return
    with pytest.raises(PiimageError) as caught:
        members(data)
    assert caught.value.code == "trees.too-long"


@pytest.mark.provokes("trees.too-long")
def test_a_link_target_may_be_as_long_as_linux_allows() -> None:
    head = header(tarfile.GNU_FORMAT, type=tarfile.SYMTYPE, linkname="l" * 4095)
    assert members(head + END)[0].link == "l" * 4095
    head = header(tarfile.GNU_FORMAT, type=tarfile.SYMTYPE, linkname="l" * 4096)
    with pytest.raises(PiimageError, match="4096 bytes; the limit is 4095"):
        members(head + END)


@pytest.mark.provokes("trees.sparse")
@pytest.mark.parametrize("form", ["gnu", "posix"])
@pytest.mark.parametrize("version", ["0.0", "0.1", "1.0"])
def test_a_sparse_file_is_refused_by_name(tmp_path: Path, form: str, version: str) -> None:
    with (tmp_path / "holes").open("wb") as out:
        out.truncate(10 << 20)
    words = ["--sparse", f"--sparse-version={version}"] if form == "posix" else ["--sparse"]
    data = subprocess.run(
        ["tar", f"--format={form}", *words, "-C", tmp_path, "-c", "holes"],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    with pytest.raises(PiimageError, match="is a sparse file"):
        members(data)


def test_an_earlier_member_has_no_content_left() -> None:
    tar = Tar(io.BytesIO(FILE + FILE + END))
    first, _ = iter(tar)
    with pytest.raises(ValueError, match="already past"):
        b"".join(tar.content(first))


VALID = FILE + pax(b"path=" + b"p" * 200, b"SCHILY.xattr.user.a=b") + FILE + END


@settings(max_examples=examples(300))
@given(st.lists(st.tuples(st.integers(0, len(VALID) - 1), st.binary(max_size=12)), max_size=3))
def test_a_damaged_tar_is_read_or_refused(changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(VALID)
    for at, noise in changes:
        data[at : at + len(noise)] = noise
    try:
        contents(bytes(data))
    except (ValueError, EOFError, PiimageError):
        return
