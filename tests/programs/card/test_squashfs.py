from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from piimage import trees
from piimage.card.squashfs import Compression, write_squashfs
from piimage.clock import EPOCH
from piimage.errors import PiimageError
from piimage.run import Completed, Runner
from piimage.trees import Entry, Kind
from tests.unit.card.volumes import tool

QUICK = Compression(level=1)
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")


def tree(size: int = 300_000) -> list[Entry]:
    return [
        trees.folder("bin", 0o750, uid=5, gid=6),
        trees.file("bin/tool", bytes(range(256)) * (size // 256), 0o4755),
        Entry("bin/same", Kind.HARD_LINK, link="bin/tool"),
        trees.symlink("bin/sh", "tool"),
        replace(trees.file("bin/ping", b"p", 0o755), xattrs={"security.capability": CAPABILITY}),
        trees.folder("dev"),
        Entry("dev/null", Kind.CHARACTER, 0o666, device=(1, 3)),
        Entry("dev/big", Kind.BLOCK, 0o600, device=(259, 70)),
        Entry("dev/pipe", Kind.FIFO, 0o600),
        trees.file("dev/ümlaut", b""),
    ]


def packed(target: Path, entries: list[Entry], processors: int = 2) -> Path:
    write_squashfs(Runner(), trees.tar_chunks(entries), target, QUICK, processors)
    return target


def test_ownership_modes_links_and_devices_survive(tmp_path: Path) -> None:
    image = packed(tmp_path / "image", tree())
    text = tool("unsquashfs", "-no-progress", "-llnumeric", image)
    shown = {line.split("squashfs-root")[-1].split(" -> ")[0]: line for line in text.splitlines()}
    assert shown["/bin"].startswith("drwxr-x--- 5/6")
    assert shown["/bin/tool"].startswith("-rwsr-xr-x 0/0")
    assert shown["/bin/sh"].endswith("sh -> tool")
    assert shown["/dev/null"].startswith("crw-rw-rw- 0/0") and "1,  3" in shown["/dev/null"]
    assert shown["/dev/big"].startswith("brw-------") and "259, 70" in shown["/dev/big"]
    assert shown["/dev/pipe"].startswith("prw-------")
    assert "/dev/ümlaut" in shown
    assert shown[""].startswith("drwxr-xr-x 0/0")
    assert all("2025-01-01" in line for line in shown.values() if "squashfs-root" in line)


def test_names_and_links_that_are_not_utf8_survive(tmp_path: Path) -> None:
    raw = [b"b\xff", b"b\xff/" + b"n\xe9" * 120]
    entries = [
        trees.folder(os.fsdecode(raw[0])),
        trees.file(os.fsdecode(raw[1]), b"x"),
        trees.symlink("l", os.fsdecode(b"to\xff")),
        replace(trees.file("a", b""), xattrs={"user.a": b"\xff\x00"}),
    ]
    image = packed(tmp_path / "image", entries)
    listing = Runner().run(["unsquashfs", "-no-progress", "-ll", image]).stdout
    for name in (*raw, b"l -> to\xff"):
        assert b"squashfs-root/" + name + b"\n" in listing


def test_extended_attributes_and_hard_links_survive(tmp_path: Path) -> None:
    image, out = packed(tmp_path / "image", tree()), tmp_path / "out"
    done = subprocess.run(
        ["unsquashfs", "-no-progress", "-d", out, image],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (out / "bin/tool").stat().st_ino == (out / "bin/same").stat().st_ino
    if os.geteuid() == 0:
        assert os.getxattr(out / "bin/ping", "security.capability") == CAPABILITY
        assert stat.S_ISCHR((out / "dev/null").stat().st_mode)
    else:  # the kernel lets only root set it; the tool found it in the image
        assert f"write xattr security.capability for file {out / 'bin/ping'}" in done.stderr


def test_content_survives(tmp_path: Path) -> None:
    image = packed(tmp_path / "image", [trees.file("f", b"content\n" * 99)])
    assert tool("unsquashfs", "-cat", image, "f") == "content\n" * 99


def test_the_bytes_do_not_depend_on_processors_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = packed(tmp_path / "first", tree(3_000_000), processors=1).read_bytes()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "5")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    old = os.umask(0o077)
    try:
        second = packed(tmp_path / "second", tree(3_000_000), processors=5).read_bytes()
    finally:
        os.umask(old)
    assert first == second
    assert int.from_bytes(first[8:12], "little") == EPOCH


@pytest.mark.provokes("run.failed")
def test_a_stream_that_is_not_a_tar_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(PiimageError, match="mksquashfs ended"):
        write_squashfs(Runner(), [b"this is not a tar" * 100], tmp_path / "image", QUICK)
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield next(iter(trees.tar_chunks([trees.file("f", b"x" * 99)])))
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        write_squashfs(Runner(), chunks(), tmp_path / "image", QUICK)
    assert list(tmp_path.iterdir()) == []


def test_an_older_file_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "image"
    packed(target, tree())
    assert (
        packed(target, [trees.file("f", b"x")]).read_bytes()
        == packed(tmp_path / "other", [trees.file("f", b"x")]).read_bytes()
    )


@pytest.mark.parametrize(("level", "block"), [(0, 4096), (23, 4096), (3, 5000), (3, 2 << 20)])
def test_an_invalid_level_or_block_size_is_refused(level: int, block: int) -> None:
    with pytest.raises(ValueError, match="no"):
        Compression(level, block)


def test_a_user_who_is_not_root_gets_the_same_bytes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    as_root = packed(tmp_path / "root", tree()).read_bytes()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert packed(tmp_path / "user", tree()).read_bytes() == as_root


def test_the_superblock_tells_block_size_and_compression(tmp_path: Path) -> None:
    """linux/fs/squashfs/squashfs_fs.h: block size at 12, compression (zstd is 6) at 20, block log
    at 22; zstd's level, if it is not 15, follows the superblock of 96 bytes and a header."""
    small, large = Compression(1, 1 << 12), Compression(22, 1 << 20)
    for compression, block, level in ((Compression(), 17, 15), (small, 12, 1), (large, 20, 22)):
        target = tmp_path / "image"
        write_squashfs(Runner(), trees.tar_chunks([trees.file("f", b"x")]), target, compression)
        data = target.read_bytes()
        assert int.from_bytes(data[12:16], "little") == 1 << block
        assert int.from_bytes(data[20:22], "little") == 6
        assert int.from_bytes(data[22:24], "little") == block
        assert level == 15 or int.from_bytes(data[98:102], "little") == level


def test_the_words_for_mksquashfs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """mksquashfs(1) of 4.6; unshare(1) for a user who is not root, before 4.6."""
    words = (
        "mksquashfs - image -tar -noappend -xattrs -no-exports -comp zstd -Xcompression-level 15 "
        "-b 131072 -processors 2 -mem 64M -all-time 1735689600 -mkfs-time 1735689600 "
        "-root-time 1735689600 -root-mode 0755 -root-uid 0 -root-gid 0 -quiet -no-progress"
    )
    seen: list[list[str]] = []
    monkeypatch.setattr(Runner, "feed", lambda _, argv, __: seen.append([str(w) for w in argv]))
    unshare = "unshare --map-root-user -- "
    for user, version, prefix in (
        (0, "4.5.1", ""), (1, "4.5.1", unshare), (1, "4.6.1", ""), (1, "4.6", ""), (1, "4.10", ""),
        (1, "5.0", ""), (1, "unknown", unshare),
    ):  # fmt: skip
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        told = Completed(0, f"mksquashfs version {version} (2023/03/25)\n".encode(), b"")
        monkeypatch.setattr(Runner, "run", lambda *_, told=told, **__: told)
        write_squashfs(Runner(), [], Path("image"), Compression())
        assert " ".join(seen[-1]) == prefix + words
