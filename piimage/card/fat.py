"""FAT volumes inside a card image, written by mkfs.fat and mtools, without root."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import ClassVar, Final

from piimage.card import partitions
from piimage.card.extents import Extent
from piimage.card.fat_layout import Layout, clusters_of_folder, sectors_per_cluster
from piimage.clock import EPOCH
from piimage.durable import temporary_folder
from piimage.errors import InputError, PiimageError, raise_all
from piimage.run import Runner

_FORBIDDEN: Final = frozenset('"*/:<>?\\|[]') | {chr(code) for code in range(32)} | {"\x7f"}
_MAX_NAME: Final = 255
_MAX_FILE: Final = (1 << 32) - 1
_BATCH: Final = 1000  # files in one mcopy: far below the kernel's limit for arguments


@dataclass(frozen=True)
class FatVolume:
    """A FAT file system of `size` bytes with `files` (paths to host files or bytes).

    `name` is its name in messages (``slot A``), `label` its volume label (at most 11 letters),
    `serial` its 32-bit serial number; `bits` is 32, or 16 for a small volume. The paths of `files`
    imply the folders.
    """

    kind: ClassVar[int] = partitions.FAT
    prefix: ClassVar[str] = ""
    name: str
    label: str
    serial: int
    size: int
    files: Mapping[str, Path | bytes] = field(default_factory=dict)
    bits: int = 32

    def write(self, runner: Runner, image: Path, offset: int) -> tuple[Extent, ...]:
        """Write the volume into the existing file `image` at `offset`, where all bytes are zero.

        The bytes depend on the fields alone. Returns the parts that must be written to a medium,
        in bytes from the volume's start. Raises InputError ``card.bad-name``,
        ``card.volume-size``, PiimageError ``card.slot-full``.
        """
        self.require_names()
        self.format_empty(runner, image, offset)
        with image.open("rb") as file:
            file.seek(offset)
            layout = Layout.read(file.read(partitions.SECTOR))
        require_space(self, layout)
        self.fill(runner, image, offset)
        # Opened again, because the buffer of the first file has the bytes from before mcopy.
        with image.open("rb") as file:
            return tuple(layout.used(file, offset))

    def with_files(self, files: Mapping[str, Path | bytes]) -> FatVolume:
        """Return the volume with other `files`."""
        return replace(self, files=files)

    def head(self, layout: Layout) -> int:  # a folder needs it
        """Return the offset of the part without which it is no file system: the boot sector's."""
        return 0

    def require_names(self) -> None:
        """Raise InputError ``card.bad-name`` for each path that a FAT cannot have."""
        raise_all(_name_errors(self))

    def format_empty(self, runner: Runner, image: Path, offset: int) -> None:
        """Write the file system without its files; raises InputError ``card.volume-size``."""
        cluster = sectors_per_cluster(self.size, self.bits)
        if cluster is None:
            raise InputError(
                "card.volume-size",
                f"{self.name}: a FAT{self.bits} of {self.size >> 20} MiB does not exist",
                hint="a FAT32 needs 40 MiB or more, a FAT16 from 4 MiB to 2 GiB",
            )
        sector = str(offset // partitions.SECTOR)
        geometry = ["-F", str(self.bits), "-s", str(cluster), "-S", str(partitions.SECTOR)]
        identity = ["-n", self.label, "-i", f"{self.serial:08x}"]
        target: list[str | Path] = ["--offset", sector, "-h", sector, image, str(self.size // 1024)]
        runner.run(["mkfs.fat", "--invariant", *geometry, *identity, *target])

    def fill(self, runner: Runner, image: Path, offset: int, folders: Iterable[str] = ()) -> None:
        """Put the files into the file system, and the `folders` even if they are empty."""
        contents = {**{folder: {} for folder in folders}, **by_folder(self.files)}
        if not contents:
            return
        with temporary_folder(image.parent, ".fat-") as scratch:
            # The mtools settings of the user or the host must not affect the card.
            mtools = runner.with_environment(
                HOME=str(scratch),
                MTOOLSRC="/dev/null",
                MTOOLS_SKIP_CHECK="1",
                SOURCE_DATE_EPOCH=str(EPOCH),
            )
            drive = ["-i", f"{image.name}@@{offset}"]
            if folders := [f"::{folder}" for folder in contents if folder != "."]:
                mtools.run(["mmd", *drive, *folders], cwd=image.parent)
            for number, (folder, files) in enumerate(contents.items()):
                staged = _staged(scratch / str(number), files)
                for batch in _batches(staged):
                    target = "::" if folder == "." else f"::{folder}/"
                    mtools.run(["mcopy", "-Q", *drive, *batch, target], cwd=image.parent)


def by_folder(files: Mapping[str, Path | bytes]) -> dict[str, dict[str, Path | bytes]]:
    """Return the contents by name for each folder (``.`` is the root), parents first, sorted."""
    folders: dict[PurePosixPath, dict[str, Path | bytes]] = defaultdict(dict)
    for text, content in sorted(files.items()):
        path = PurePosixPath(text)
        for parent in path.parents:
            folders[parent] = folders[parent]
        folders[path.parent][path.name] = content
    order = sorted(folders, key=lambda folder: (len(folder.parts), str(folder)))
    return {str(folder): folders[folder] for folder in order}


def _staged(scratch: Path, files: Mapping[str, Path | bytes]) -> list[Path]:
    """Return host files with the names of `files`, from which mcopy takes the names."""
    scratch.mkdir()
    for name, content in files.items():
        if isinstance(content, bytes):
            (scratch / name).write_bytes(content)
        else:
            (scratch / name).symlink_to(content.absolute())
    return [scratch / name for name in files]


def _batches(paths: Sequence[Path]) -> Iterator[Sequence[Path]]:
    for at in range(0, len(paths), _BATCH):
        yield paths[at : at + _BATCH]


def _name_errors(volume: FatVolume) -> Iterator[InputError]:
    by_lower_case: dict[str, str] = {}
    for path, content in sorted(volume.files.items()):
        if fault := _path_fault(path):
            yield _bad_name(volume, path, fault)
        elif _size(content) > _MAX_FILE:
            yield _bad_name(volume, path, "a file on a FAT must be smaller than 4 GiB")
        elif any(str(parent) in volume.files for parent in PurePosixPath(path).parents):
            yield _bad_name(volume, path, "one of its parents is a file, not a folder")
        other = by_lower_case.setdefault(path.casefold(), path)
        if other != path:
            yield _bad_name(volume, path, f"a FAT does not distinguish it from {other!r}")
    if not 1 <= len(volume.label) <= 11 or not volume.label.isascii():
        yield _bad_name(volume, volume.label, "a label must have 1 to 11 ASCII letters")


def _path_fault(path: str) -> str | None:
    for part in path.split("/"):
        if part in {"", ".", ".."}:
            return "the path must be relative, without empty parts, . or .."
        if _FORBIDDEN & set(part) or part[-1] in " ." or part[0] == " ":
            return "it has a character that a FAT or mtools does not allow there"
        if len(part.encode("utf-16-le", "surrogatepass")) // 2 > _MAX_NAME:
            return "a part of the path has more than 255 characters"
    return None


def _bad_name(volume: FatVolume, path: str, reason: str) -> InputError:
    return InputError(
        "card.bad-name", f"{volume.name} cannot hold {path!r}: {reason}", hint="choose another name"
    )


def _size(content: Path | bytes) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def require_space(volume: FatVolume, layout: Layout) -> None:
    """Raise PiimageError ``card.slot-full`` if the files do not fit."""
    contents = by_folder(volume.files)
    clusters = sum(-(-_size(content) // layout.cluster) for content in volume.files.values())
    clusters += sum(
        clusters_of_folder(_children(folder, contents), layout.cluster) for folder in contents
    )
    if clusters > layout.clusters:
        needed, available = (-(-n * layout.cluster >> 20) for n in (clusters, layout.clusters))
        raise PiimageError(
            "card.slot-full",
            f"{volume.name} needs {clusters * layout.cluster / 2**20:.1f} MiB for its files, "
            f"but has only {available} MiB",
            hint=f"enlarge it to {needed + 8} MiB or more, or remove files from it",
        )


def _children(folder: str, contents: Mapping[str, Mapping[str, object]]) -> Iterable[str]:
    yield from contents[folder]
    for other in contents:
        path = PurePosixPath(other)
        if other != "." and str(path.parent) == folder:
            yield path.name
