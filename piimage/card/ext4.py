"""The data partition: an ext4 made to grow, and files put into an ext4 without mounting it."""

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
from piimage.durable import folder_in
from piimage.errors import InputError, PiimageError
from piimage.run import Runner

BLOCK: Final = 4096
_MADE: Final = 64 << 20  # bytes of the file system as made; the Pi grows it to its partition
_MIN: Final = 16 << 20
_GROWN: Final = (1 << 40) // BLOCK  # blocks: descriptors are set aside for 1 TiB
_INODES: Final = 4096  # in each group of 128 MiB: one for 32 KiB
_PIECE: Final = 1 << 20
_JOURNAL: Final = 4  # MiB; all of it is written when a card is flashed
# Named in full: what "ext4" means differs between releases of e2fsprogs.
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
_BANNER: Final = re.compile(r"^debugfs \d.*$", re.MULTILINE)
_FREE: Final = re.compile(r"^ +Free blocks: (.*)$", re.MULTILINE)
_COUNT: Final = re.compile(r"^Block count: +(\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class DataFile:
    """A regular file with its content, or a folder when `content` is None."""

    content: bytes | None
    mode: int = 0o644
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class Ext4Volume:
    """An ext4 in a partition of `size` bytes, holding `files` (paths relative to its root).

    The file system itself is made small (64 MiB at most), whatever `size` is: the Pi grows it on
    first boot, online, and a card is flashed faster. `id` is its UUID, `seed` orders its folders.
    """

    kind: ClassVar[int] = partitions.LINUX
    name: str
    label: str
    id: uuid.UUID
    seed: uuid.UUID
    size: int
    files: Mapping[str, DataFile] = field(default_factory=dict)

    def write(self, runner: Runner, image: Path, offset: int) -> tuple[Extent, ...]:
        """Write the volume into the existing file `image` at `offset`, where it is all zeros.

        The bytes follow from the fields alone, and no root is needed for root to own them. Returns
        the parts that must reach a medium, in bytes from the volume's start: metadata, journal and
        inode table even where they are zeros, since an old card's would be taken for this one's.
        Raises InputError ``card.volume-size``, ``card.bad-name``, PiimageError ``card.data-full``.
        """
        if self.size < _MIN:
            raise InputError(
                "card.volume-size",
                f"{self.name}: {self.size >> 20} MiB are too few for an ext4 that can grow",
                hint=f"give it {_MIN >> 20} MiB or more",
            )
        # A file of its own first: not every release of every tool takes an offset.
        with folder_in(image.parent, ".ext4-") as scratch:
            alone = scratch / "data"
            alone.touch()
            os.truncate(alone, min(self.size, _MADE))
            _format(self, runner, alone)
            put_files(runner, alone, 0, self.files)
            extents = used(runner, alone)
            _copy(alone, extents, image, offset)
            return extents


def _copy(source: Path, extents: Sequence[Extent], target: Path, offset: int) -> None:
    with source.open("rb") as read, target.open("r+b") as write:
        for extent in extents:
            read.seek(extent.start)
            write.seek(offset + extent.start)
            for piece in extent.pieces(_PIECE):
                write.write(read.read(piece.size))


def _format(volume: Ext4Volume, runner: Runner, image: Path) -> None:
    options = [
        f"hash_seed={volume.seed}",
        f"resize={_GROWN}",
        "root_owner=0:0",
        "lazy_itable_init=0",
        "lazy_journal_init=0",
        "nodiscard",
    ]
    shape = ["-b", str(BLOCK), "-g", "32768", "-I", "256", "-N", str(_INODES), "-m", "1"]
    who = ["-L", volume.label, "-U", str(volume.id), "-e", "remount-ro"]
    where: list[str | Path] = [
        "-E",
        ",".join(options),
        image,
        f"{min(volume.size, _MADE) // 1024}k",
    ]
    with tempfile.NamedTemporaryFile("w", prefix="mke2fs-", suffix=".conf") as config:
        config.write(_CONFIG)
        config.flush()
        tool = _dated(runner).with_environment(MKE2FS_CONFIG=config.name, MKE2FS_SYNC="0")
        features = ["-O", _FEATURES, "-J", f"size={_JOURNAL}"]
        tool.run(["mke2fs", "-q", "-F", "-t", "ext4", *features, *shape, *who, *where])


def _dated(runner: Runner) -> Runner:
    return runner.with_environment(E2FSPROGS_FAKE_TIME=str(EPOCH), SOURCE_DATE_EPOCH=str(EPOCH))


def put_files(runner: Runner, target: Path, offset: int, files: Mapping[str, DataFile]) -> None:
    """Write `files` into the unmounted ext4 at `offset` of a file or device, over what is there.

    Missing parent folders are made, root's with mode 0755. Raises InputError ``card.bad-name``,
    PiimageError ``card.data-full`` when the file system does not take them all.
    """
    if not files:
        return
    for path in files:
        if not _SAFE_PATH.match(path) or {".", ".."} & set(path.split("/")):
            raise InputError(
                "card.bad-name",
                f"the data partition takes no file named {path!r} from here",
                hint="use letters, digits and ._@+- only",
            )
    there = existing(runner, target, offset, _with_parents(files))
    with tempfile.TemporaryDirectory(prefix="ext4-") as scratch:
        script = Path(scratch) / "script"
        lines = list(_script(files, there, Path(scratch)))
        script.write_text("".join(f"{line}\n" for line in lines))
        done = _dated(runner).run(["debugfs", "-w", "-f", script, _at(target, offset)])
    if said := _complaints(done.stderr):
        raise PiimageError(
            "card.data-full",
            f"the data partition did not take the files: {said}",
            place=str(target),
            hint="check the file system with e2fsck, and see whether it has space left",
        )


def existing(runner: Runner, target: Path, offset: int, paths: Sequence[str]) -> frozenset[str]:
    """Return which of `paths` are in the unmounted ext4 at `offset` of `target`."""
    script = "".join(f"testi /{path}\n" for path in paths).encode()
    # `testi` says for each inode whether it is in use; an absent path is a complaint instead.
    done = runner.run(["debugfs", "-f", "-", _at(target, offset)], stdin=script, accept=(0, 1))
    absent = set(re.findall(r"^/(\S+): File not found", done.stderr.decode(), re.MULTILINE))
    if len(re.findall(r"marked in use", done.text)) + len(absent) != len(paths):
        raise _no_file_system(target, _complaints(done.stderr) or done.text)
    return frozenset(paths) - absent


def read_file(runner: Runner, target: Path, offset: int, path: str) -> bytes | None:
    """Return a file of the unmounted ext4 at `offset` of `target`; None if there is none.

    Raises PiimageError ``card.no-data``.
    """
    if not existing(runner, target, offset, [path]):
        return None
    return runner.run(["debugfs", "-R", f"cat /{path}", _at(target, offset)]).stdout


def used(runner: Runner, target: Path) -> tuple[Extent, ...]:
    """Return what the ext4 that `target` is has allocated, in bytes from its start."""
    text = _dated(runner).run(["dumpe2fs", target]).text
    count = _COUNT.search(text)
    if count is None:
        raise _no_file_system(target, "dumpe2fs does not say how large it is")
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


def _script(files: Mapping[str, DataFile], there: frozenset[str], scratch: Path) -> Iterator[str]:
    """Give debugfs's commands for putting `files` where only the paths `there` exist."""
    folder = DataFile(None, 0o755)
    for number, path in enumerate(_with_parents(files)):
        entry = files.get(path, folder)
        if entry.content is None:
            if path not in there:
                yield f"mkdir /{path}"
            elif path not in files:
                continue
            yield from _attributes(path, 0o040000 | entry.mode, entry)
        else:
            source = scratch / str(number)
            source.write_bytes(entry.content)
            if path in there:
                yield f"rm /{path}"
            yield f"write {source} /{path}"
            yield from _attributes(path, 0o100000 | entry.mode, entry)


def _attributes(path: str, mode: int, entry: DataFile) -> Iterator[str]:
    yield f"set_inode_field /{path} mode 0{mode:o}"
    yield f"set_inode_field /{path} uid {entry.uid}"
    yield f"set_inode_field /{path} gid {entry.gid}"


def _at(target: Path, offset: int) -> str:
    return f"{target}?offset={offset}" if offset else str(target)


def _complaints(stderr: bytes) -> str:
    return _BANNER.sub("", stderr.decode(errors="replace")).strip()


def _with_parents(files: Mapping[str, DataFile]) -> list[str]:
    """Return the paths of `files` and of all folders above them, parents first."""
    paths = {str(parent) for path in files for parent in PurePosixPath(path).parents} - {"."}
    return sorted(paths | set(files))


def _no_file_system(target: Path, why: str) -> PiimageError:
    return PiimageError(
        "card.no-data",
        f"no healthy ext4 file system is there: {why}",
        place=str(target),
        hint="give a card that `piimage flash` wrote",
    )
