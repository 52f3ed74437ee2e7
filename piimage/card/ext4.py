"""The data partition: a growable ext4, and files written into an ext4 without mounting it."""

from __future__ import annotations

import os
import re
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import ClassVar, Final

from piimage.card import partitions
from piimage.card.extents import Extent, union
from piimage.clock import EPOCH
from piimage.durable import temporary_folder
from piimage.errors import InputError, PiimageError
from piimage.run import Runner

BLOCK: Final = 4096
_INITIAL: Final = 64 << 20  # bytes of the new file system; the Pi grows it to its partition
_MIN: Final = 16 << 20
_GROWN: Final = (1 << 40) // BLOCK  # blocks: group descriptors are reserved for 1 TiB
_INODES: Final = 4096  # in each group of 128 MiB: one for 32 KiB
_PIECE: Final = 1 << 20
_JOURNAL: Final = 4  # MiB; a flash writes all of it
# The complete list, because the meaning of "ext4" differs between releases of e2fsprogs.
_FEATURES: Final = (
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,"
    "large_file,huge_file,dir_nlink,extra_isize,metadata_csum"
)
_CONFIG: Final = """\
[defaults]
  enable_periodic_fsck = 0
[fs_types]
  ext4 = {
  }
  small = {
  }
  floppy = {
  }
"""
_SAFE_PATH: Final = re.compile(r"[A-Za-z0-9._@+-]+(/[A-Za-z0-9._@+-]+)*\Z")
_OF_NO_HOST: Final = """\
set_super_value flags 1
set_super_value kbytes_written 0
"""
"""The commands for debugfs that set what mke2fs took from the build host.

The flags say whether hashes of folders take the bytes of names as signed (1,
EXT2_FLAGS_SIGNED_HASH): `char` is signed on amd64, and not on arm64. The number of kilobytes that
were ever written is larger where the host's file system cannot punch holes, as over 9p or NFS.
"""
_BANNER: Final = re.compile(r"^debugfs \d.*$", re.MULTILINE)
_FREE: Final = re.compile(r"^ +Free blocks: (.*)$", re.MULTILINE)
_COUNT: Final = re.compile(r"^Block count: +(\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class DataFile:
    """A regular file with its content, or a folder if `content` is None."""

    content: bytes | None
    mode: int = 0o644
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class Ext4Volume:
    """An ext4 in a partition of `size` bytes with `files` (paths relative to its root).

    The file system has 64 MiB at most, whatever `size` is: that makes a flash faster, and the Pi
    grows it online on first boot. `id` is its UUID, `seed` determines the order of its folders.
    """

    kind: ClassVar[int] = partitions.LINUX
    name: str
    label: str
    id: uuid.UUID
    seed: uuid.UUID
    size: int
    files: Mapping[str, DataFile] = field(default_factory=dict)

    def write(self, runner: Runner, image: Path, offset: int) -> tuple[Extent, ...]:
        """Write the volume into the existing file `image` at `offset`, where all bytes are zero.

        The bytes depend on the fields alone. The files may belong to root without root rights.
        Returns the parts that must be written to a medium, in bytes from the volume's start. They
        include metadata, journal and inode tables that are zero, because the medium may hold those
        of an old file system. Raises InputError ``card.volume-size``, ``card.bad-name``,
        PiimageError ``card.data-full``.
        """
        if self.size < _MIN:
            raise InputError(
                "card.volume-size",
                f"{self.name}: {self.size >> 20} MiB are too few for a growable ext4",
                hint=f"give it {_MIN >> 20} MiB or more",
            )
        # First in a file of its own, because not every release of the tools accepts an offset.
        with temporary_folder(image.parent, ".ext4-") as scratch:
            volume = scratch / "data"
            volume.touch()
            os.truncate(volume, min(self.size, _INITIAL))
            _format(self, runner, volume)
            put_files(runner, volume, 0, self.files)
            extents = used(runner, volume)
            _copy(volume, extents, image, offset)
            return extents


def _copy(source: Path, extents: Sequence[Extent], target: Path, offset: int) -> None:
    with source.open("rb") as reader, target.open("r+b") as writer:
        for extent in extents:
            reader.seek(extent.start)
            writer.seek(offset + extent.start)
            for piece in extent.pieces(_PIECE):
                writer.write(reader.read(piece.size))


def _format(volume: Ext4Volume, runner: Runner, image: Path) -> None:
    options = [
        f"hash_seed={volume.seed}",
        f"resize={_GROWN}",
        "root_owner=0:0",
        "lazy_itable_init=0",
        "lazy_journal_init=0",
        "nodiscard",
    ]
    geometry = ["-b", str(BLOCK), "-g", "32768", "-I", "256", "-N", str(_INODES), "-m", "1"]
    identity = ["-L", volume.label, "-U", str(volume.id), "-e", "remount-ro"]
    target: list[str | Path] = [
        "-E",
        ",".join(options),
        image,
        f"{min(volume.size, _INITIAL) // 1024}k",
    ]
    with tempfile.NamedTemporaryFile("w", prefix="mke2fs-", suffix=".conf") as config:
        config.write(_CONFIG)
        config.flush()
        tool = _dated(runner).with_environment(MKE2FS_CONFIG=config.name, MKE2FS_SYNC="0")
        features = ["-O", _FEATURES, "-J", f"size={_JOURNAL}"]
        tool.run(["mke2fs", "-q", "-F", "-t", "ext4", *features, *geometry, *identity, *target])
    _dated(runner).run(["debugfs", "-w", "-f", "-", image], stdin=_OF_NO_HOST.encode())


def _dated(runner: Runner) -> Runner:
    return runner.with_environment(E2FSPROGS_FAKE_TIME=str(EPOCH), SOURCE_DATE_EPOCH=str(EPOCH))


def put_files(runner: Runner, target: Path, offset: int, files: Mapping[str, DataFile]) -> None:
    """Write `files` into the unmounted ext4 at `offset` of a file or device; replace old files.

    Missing parent folders are made with owner root and mode 0755. Raises InputError
    ``card.bad-name``, PiimageError ``card.data-full`` if not all files can be written.
    """
    if not files:
        return
    for path in files:
        if not _SAFE_PATH.match(path) or {".", ".."} & set(path.split("/")):
            raise InputError(
                "card.bad-name",
                f"a file on the data partition cannot be named {path!r}",
                hint="use only letters, digits and ._@+-",
            )
    present = existing(runner, target, offset, _with_parents(files))
    with tempfile.TemporaryDirectory(prefix="ext4-") as scratch:
        script = Path(scratch) / "script"
        lines = list(_script(files, present, Path(scratch)))
        script.write_text("".join(f"{line}\n" for line in lines))
        done = _dated(runner).run(["debugfs", "-w", "-f", script, _at(target, offset)])
    if messages := _messages(done.stderr):
        raise PiimageError(
            "card.data-full",
            f"the files cannot be written to the data partition: {messages}",
            place=str(target),
            hint="check the file system with e2fsck, and check its free space",
        )


def existing(runner: Runner, target: Path, offset: int, paths: Sequence[str]) -> frozenset[str]:
    """Return which of `paths` are in the unmounted ext4 at `offset` of `target`."""
    script = "".join(f"testi /{path}\n" for path in paths).encode()
    # `testi` prints whether the inode of a path is in use; for a missing path it prints an error.
    done = runner.run(["debugfs", "-f", "-", _at(target, offset)], stdin=script, accept=(0, 1))
    absent = set(re.findall(r"^/(\S+): File not found", done.stderr.decode(), re.MULTILINE))
    if len(re.findall(r"marked in use", done.text)) + len(absent) != len(paths):
        raise _no_file_system(target, _messages(done.stderr) or done.text)
    return frozenset(paths) - absent


def read_file(runner: Runner, target: Path, offset: int, path: str) -> bytes | None:
    """Return a file of the unmounted ext4 at `offset` of `target`; None if there is none.

    Raises PiimageError ``card.no-data``.
    """
    if not existing(runner, target, offset, [path]):
        return None
    return runner.run(["debugfs", "-R", f"cat /{path}", _at(target, offset)]).stdout


def used(runner: Runner, target: Path) -> tuple[Extent, ...]:
    """Return the allocated parts of the ext4 in the file `target`, in bytes from its start."""
    text = _dated(runner).run(["dumpe2fs", target]).text
    count = _COUNT.search(text)
    if count is None:
        raise _no_file_system(target, "dumpe2fs does not print its size")
    extents: list[Extent] = []
    at = 0
    for free in union(_free_blocks(text)):
        extents.append(Extent(at, free.start))
        at = free.end
    extents.append(Extent(at, int(count[1])))
    return tuple(Extent(e.start * BLOCK, e.end * BLOCK) for e in extents if e.size)


def _free_blocks(text: str) -> Iterator[Extent]:
    for line in _FREE.findall(text):
        for run in filter(None, line.split(", ")):
            first, _, last = run.partition("-")
            yield Extent(int(first), int(last or first) + 1)


def _script(files: Mapping[str, DataFile], present: frozenset[str], scratch: Path) -> Iterator[str]:
    """Yield the commands for debugfs that write `files`, if only the paths `present` exist."""
    folder = DataFile(None, 0o755)
    for number, path in enumerate(_with_parents(files)):
        entry = files.get(path, folder)
        if entry.content is None:
            if path not in present:
                yield f"mkdir /{path}"
            elif path not in files:
                continue
            yield from _attributes(path, 0o040000 | entry.mode, entry)
        else:
            source = scratch / str(number)
            source.write_bytes(entry.content)
            if path in present:
                yield f"rm /{path}"
            yield f"write {source} /{path}"
            yield from _attributes(path, 0o100000 | entry.mode, entry)


def _attributes(path: str, mode: int, entry: DataFile) -> Iterator[str]:
    yield f"set_inode_field /{path} mode 0{mode:o}"
    yield f"set_inode_field /{path} uid {entry.uid}"
    yield f"set_inode_field /{path} gid {entry.gid}"


def _at(target: Path, offset: int) -> str:
    return f"{target}?offset={offset}" if offset else str(target)


def _messages(stderr: bytes) -> str:
    return _BANNER.sub("", stderr.decode(errors="replace")).strip()


def _with_parents(files: Mapping[str, DataFile]) -> list[str]:
    """Return the paths of `files` and of all their parent folders, parents first."""
    paths = {str(parent) for path in files for parent in PurePosixPath(path).parents} - {"."}
    return sorted(paths | set(files))


def _no_file_system(target: Path, reason: str) -> PiimageError:
    return PiimageError(
        "card.no-data",
        f"the data partition has no healthy ext4 file system: {reason}",
        place=str(target),
        hint="use a card that `piimage flash` wrote",
    )
