from __future__ import annotations

import hashlib
import lzma
import os
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from piimage.debian import deb
from piimage.errors import PiimageError
from piimage.run import Runner
from tests.examples import examples
from tests.unit.debian.makers import Deb, ar, control, gz, tar

FILES = {"./usr/": b"", "./usr/hello": b"hello\n" * 1000}
META = ("debian-binary", b"2.0\n")
CONTROL = ("control.tar", tar({"./control": control(Deb("hello").control)}))


@pytest.fixture
def _small_is_big(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat small payloads as big ones."""
    monkeypatch.setattr(deb, "_BIG", 1 << 16)


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "hello.deb"
    path.write_bytes(data)
    return path


def payload(runner: Runner, path: Path) -> bytes:
    with deb.data_stream(runner, path) as stream:
        return stream.read()


@pytest.mark.parametrize("compression", ["xz", "gzip", "zstd", "none"])
def test_dpkg_extracts_the_same_payload(tmp_path: Path, runner: Runner, compression: str) -> None:
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_bytes(control(Deb("hello").control | {"Description": "x"}))
    (tree / "random").write_bytes(os.urandom(100_000))
    path = tmp_path / "hello.deb"
    argv = ["dpkg-deb", f"-Z{compression}", "--root-owner-group", "-b", str(tree), str(path)]
    subprocess.run(argv, check=True, capture_output=True)
    theirs = subprocess.run(
        ["dpkg-deb", "--fsys-tarfile", str(path)], check=True, capture_output=True
    ).stdout
    assert payload(runner, path) == theirs
    assert deb.control_fields(runner, path)["description"] == "x"


@pytest.mark.usefixtures("_small_is_big")
def test_a_big_payload_is_decompressed_by_another_process(tmp_path: Path, runner: Runner) -> None:
    noise = tar({"./noise": os.urandom(1 << 18)})
    packed = lzma.compress(noise, preset=0)
    # The member after the payload must not be decompressed.
    data = ar([META, CONTROL, ("data.tar.xz", packed), ("_gpgorigin", b"odd")])
    lines: list[object] = []
    with deb.data_stream(Runner(lines.append), written(tmp_path, data)) as stream:
        digest = hashlib.sha256()
        while chunk := stream.read(1 << 16):
            digest.update(chunk)
    assert digest.digest() == hashlib.sha256(noise).digest()
    assert len(lines) == 1


@pytest.mark.usefixtures("_small_is_big")
def test_a_reader_may_stop_within_a_big_payload(tmp_path: Path, runner: Runner) -> None:
    packed = lzma.compress(os.urandom(1 << 18), preset=0)
    path = written(tmp_path, ar([META, CONTROL, ("data.tar.xz", packed)]))
    with deb.data_stream(runner, path) as stream:
        assert len(stream.read(100)) == 100


def test_readinto_gives_the_same_bytes(tmp_path: Path, runner: Runner) -> None:
    path = written(tmp_path, Deb("hello", files=FILES).content)
    buffer = bytearray(100_000)
    size = 0
    with deb.data_stream(runner, path) as stream:
        while count := stream.readinto(memoryview(buffer)[size:]):  # type: ignore[attr-defined]
            size += count
    assert bytes(buffer[:size]) == tar(FILES)


def test_fields_are_read_with_their_line_breaks(tmp_path: Path, runner: Runner) -> None:
    content = Deb("hello", fields={"Description": "short\n long one\n .\n more"}).content
    fields = deb.control_fields(runner, written(tmp_path, content))
    assert fields["package"] == "hello"
    assert fields["description"] == "short\nlong one\n.\nmore"


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([], "no data.tar"),
        ([("data.tar.xz", b"x")], "first member"),
        ([META, CONTROL], "no data.tar"),
        ([META, CONTROL, ("data.tar.xz", b"garbage!")], "does not decompress"),
        ([META, CONTROL, ("data.tar.gz", b"garbage!")], "does not decompress"),
        ([META, CONTROL, ("data.tar.xz", lzma.compress(b"x" * 9999)[:-20])], "too early"),
        ([META, CONTROL, ("data.tar.gz", gz(b"x" * 9999)[:-12])], "too early"),
        ([META, CONTROL, ("data.tar.zst", b"garbage!")], "does not decompress"),
        ([META, *[("x", b"")] * 20, ("data.tar", b"")], "more than 16 members"),
    ],
)
@pytest.mark.provokes("debian.deb-damaged")
def test_a_file_that_is_not_a_package_is_refused_by_name(
    tmp_path: Path, runner: Runner, members: Sequence[tuple[str, bytes]], reason: str
) -> None:
    path = written(tmp_path, ar(members))
    with (
        pytest.raises(PiimageError, match=reason) as caught,
        deb.data_stream(runner, path, "hello 1.0") as stream,
    ):
        stream.read()
    assert caught.value.place == "hello 1.0"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not an ar archive"),
        (b"PK\x03\x04", "not an ar archive"),
        (Deb("hello").content[:100], "broken|truncated"),
        (Deb("hello").content[:-30], "truncated"),
        (Deb("hello").content.replace(b"`\n", b"``", 1), "broken"),
    ],
)
@pytest.mark.provokes("debian.deb-damaged")
def test_a_truncated_or_broken_archive_is_refused(
    tmp_path: Path, runner: Runner, data: bytes, reason: str
) -> None:
    with pytest.raises(PiimageError, match=reason):
        payload(runner, written(tmp_path, data))


@pytest.mark.usefixtures("_small_is_big")
@pytest.mark.provokes("debian.deb-damaged")
def test_a_truncated_big_payload_is_refused(tmp_path: Path, runner: Runner) -> None:
    packed = lzma.compress(os.urandom(1 << 18), preset=0)
    data = ar([META, CONTROL, ("data.tar.xz", packed[:-10_000])])
    with pytest.raises(PiimageError, match="does not decompress"):
        payload(runner, written(tmp_path, data))


@pytest.mark.provokes("debian.deb-compression")
def test_a_compression_that_debian_does_not_use_is_refused(tmp_path: Path, runner: Runner) -> None:
    path = written(tmp_path, ar([META, CONTROL, ("data.tar.lzma", b"x")]))
    with pytest.raises(PiimageError, match=r"data\.tar\.lzma"):
        payload(runner, path)


@pytest.mark.slow
@pytest.mark.provokes("debian.deb-bomb")
@pytest.mark.parametrize("name", ["data.tar.xz", "data.tar.gz"])
def test_a_payload_that_explodes_is_stopped(tmp_path: Path, runner: Runner, name: str) -> None:
    pack = lzma.LZMACompressor(preset=0).compress if name.endswith("xz") else None
    zeros = bytes(1 << 20)
    if pack is not None:
        packer = lzma.LZMACompressor(preset=0)
        data = b"".join(packer.compress(zeros) for _ in range(100)) + packer.flush()
    else:
        data = gz(zeros * 100)
    path = written(tmp_path, ar([META, CONTROL, (name, data)]))
    if name.endswith("gz"):  # deflate's own limit is 1032:1, so the allowance must be the cause
        assert len(data) * 200 + (64 << 20) < 100 << 20
    with pytest.raises(PiimageError, match="far more"), deb.data_stream(runner, path) as stream:
        while stream.read(1 << 20):
            pass


def test_a_payload_may_have_64_megabytes_and_200_times_its_size(
    tmp_path: Path, runner: Runner
) -> None:
    path = written(tmp_path, ar([META, CONTROL, ("data.tar.xz", bytes(1000))]))
    with deb.data_stream(runner, path) as stream:
        assert stream._left == 64 * 1024 * 1024 + 200_000  # type: ignore[attr-defined]


@pytest.mark.provokes("debian.deb-bomb")
def test_a_control_file_that_explodes_is_stopped(tmp_path: Path, runner: Runner) -> None:
    bomb = lzma.compress(tar({"./x": bytes(32 << 20)}), preset=0)
    path = written(tmp_path, ar([META, ("control.tar.xz", bomb), ("data.tar", b"")]))
    with pytest.raises(PiimageError, match="far more"):
        deb.control_fields(runner, path)


@pytest.mark.provokes("debian.deb-damaged")
@pytest.mark.parametrize(
    "inner",
    [tar({}), tar({"./md5sums": b""}), b"x" * 700, tar({"./control": b"\xff\xfe"}),
     tar({"./control": b"no field"}), tar({"./control": b" first"})],
)  # fmt: skip
def test_a_package_without_a_readable_control_file_is_refused(
    tmp_path: Path, runner: Runner, inner: bytes
) -> None:
    path = written(tmp_path, ar([META, ("control.tar", inner), ("data.tar", b"")]))
    with pytest.raises(PiimageError, match="control file"):
        deb.control_fields(runner, path)


def test_the_requested_package_is_accepted(tmp_path: Path, runner: Runner) -> None:
    hello = Deb("hello", "1:2.0-1")
    deb.check_identity(runner, written(tmp_path, hello.content), hello.package())


@pytest.mark.provokes("debian.deb-swapped")
@pytest.mark.parametrize("field", ["name", "version", "architecture"])
def test_another_package_under_the_right_digest_is_refused(
    tmp_path: Path, runner: Runner, field: str
) -> None:
    hello = Deb("hello")
    package = replace(hello.package(), **{field: "other"})
    with pytest.raises(PiimageError, match=r"the file is hello 1\.0 \(arm64\)"):
        deb.check_identity(runner, written(tmp_path, hello.content), package)


GOOD = Deb("hello", files=FILES).content


@pytest.mark.parametrize("odd", [b"abc", b"abcd", b"x"])
def test_a_member_of_an_odd_size_is_followed_by_one_byte(
    tmp_path: Path, runner: Runner, odd: bytes
) -> None:
    path = written(tmp_path, ar([META, CONTROL, ("_note", odd), ("data.tar", tar(FILES))]))
    with deb.data_stream(runner, path) as stream:
        assert stream.read() == tar(FILES)


def survives(path: Path) -> None:
    for read in (payload, deb.control_fields):
        try:
            read(Runner(), path)
        except PiimageError as error:
            assert error.code.startswith("debian.deb-")


QUICK = settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@QUICK
@given(changes=st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=8))
def test_altered_bytes_are_read_or_refused(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for offset, value in changes:
        data[offset] = value
    survives(written(tmp_path, bytes(data)))


@QUICK
@given(cut=st.integers(0, len(GOOD)))
def test_a_package_truncated_anywhere_is_read_or_refused(tmp_path: Path, cut: int) -> None:
    survives(written(tmp_path, GOOD[:cut]))


@QUICK
@given(
    members=st.lists(
        st.tuples(
            st.sampled_from(["debian-binary", "control.tar", "data.tar", "data.tar.gz", "é/.."]),
            st.binary(max_size=600),
        ),
        max_size=4,
    )
)
def test_any_members_are_read_or_refused(tmp_path: Path, members: list[tuple[str, bytes]]) -> None:
    survives(written(tmp_path, ar([(name, data) for name, data in members])))


@QUICK
@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path: Path, data: bytes) -> None:
    survives(written(tmp_path, b"!<arch>\n" + data))
