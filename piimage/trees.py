"""File trees as streams of entries: read from tar, placed safely, written as tar or cpio.

A tree is never unpacked on the build host's disk. Ownership, modes, devices and links therefore
survive without root, and the host never follows a link of a hostile archive. `Entry.content` of a
tree that is read from a stream is valid only until the next entry is read.
"""

from __future__ import annotations

import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from piimage import host
from piimage.clock import EPOCH
from piimage.errors import PiimageError
from piimage.tars import MAX_PATH, Member, Readable, Tar

_MAX_ENTRIES: Final = 250_000
_MAX_LINKS: Final = 40  # the kernel's limit for one path
_PAX_XATTR: Final = "SCHILY.xattr."
_BLOCK: Final = tarfile.BLOCKSIZE


class Kind(Enum):
    """The type of an entry; the value is its file type in st_mode (0 for a hard link)."""

    FILE = stat.S_IFREG
    DIRECTORY = stat.S_IFDIR
    SYMLINK = stat.S_IFLNK
    CHARACTER = stat.S_IFCHR
    BLOCK = stat.S_IFBLK
    FIFO = stat.S_IFIFO
    HARD_LINK = 0


_KINDS: Final = {
    "0": Kind.FILE,
    "1": Kind.HARD_LINK,
    "2": Kind.SYMLINK,
    "3": Kind.CHARACTER,
    "4": Kind.BLOCK,
    "5": Kind.DIRECTORY,
    "6": Kind.FIFO,
}  # by the type in a tar's header

MERGED: Final = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
"""The folders that a merged /usr makes links of, and where they lead."""

Content = Callable[[], Iterable[bytes]]


def no_content() -> Iterable[bytes]:
    """Return no chunks."""
    return ()


@dataclass(frozen=True)
class Entry:
    """One file, folder, link or device of a tree.

    `path` is relative to the tree's root, without ``.`` or ``..``; `link` is the target of a
    symbolic link as it is written, or the path in the tree of a hard link's target; `origin` names
    the package that the entry comes from, if any.
    """

    path: str
    kind: Kind
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    link: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[str, bytes] = field(default_factory=dict)
    content: Content = no_content
    origin: str = ""


Tree = Iterable[Entry]


def folder(path: str, mode: int = 0o755, uid: int = 0, gid: int = 0) -> Entry:
    """Return the entry of a folder."""
    return Entry(clean_path(path), Kind.DIRECTORY, mode, uid, gid)


def file(path: str, data: bytes, mode: int = 0o644, uid: int = 0, gid: int = 0) -> Entry:
    """Return the entry of a file that holds `data`."""
    return Entry(
        clean_path(path), Kind.FILE, mode, uid, gid, size=len(data), content=lambda: (data,)
    )


def symlink(path: str, target: str) -> Entry:
    """Return the entry of a symbolic link."""
    return Entry(clean_path(path), Kind.SYMLINK, 0o777, link=target)


def clean_path(path: str) -> str:
    """Return `path` without leading ``/`` or ``./`` and doubled slashes; "" is the root.

    Raises PiimageError ``trees.escape`` if `path` has a ``..`` part or a NUL.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in path:
        raise PiimageError(
            "trees.escape",
            f"the path {path!r} leaves its root",
            hint="do not use this archive: no honest tool writes such a path",
        )
    return "/".join(parts)


def read_tar(stream: Readable, origin: str) -> Iterator[Entry]:
    """Yield the entries of an uncompressed tar from `stream`, in its order, without the root.

    `origin` names the archive in errors: PiimageError ``trees.damaged`` if the archive is
    truncated or not a tar, ``trees.escape`` for a path out of the root, ``trees.too-many`` past
    `_MAX_ENTRIES`, and those of `piimage.tars.Tar`.
    """
    archive = Tar(stream)
    with _errors_of_archive(origin):
        for count, member in enumerate(archive):
            if count >= _MAX_ENTRIES:
                raise too_many(f"more than {_MAX_ENTRIES} entries")
            entry = _entry(archive, member, origin)
            if entry is not None:
                yield entry


def too_many(message: str) -> PiimageError:
    """Return the error for an archive that has more of something than any real archive."""
    return PiimageError(
        "trees.too-many",
        message,
        hint="do not use this archive: it is made to exhaust the machine",
    )


@contextmanager
def _errors_of_archive(origin: str) -> Iterator[None]:
    """Turn any error about the bytes of the archive `origin` into one that names the archive."""
    try:
        yield
    except (EOFError, ValueError, OSError) as error:
        host.raise_host_error(error, origin)
        raise PiimageError(
            "trees.damaged",
            f"damaged archive ({error})",
            place=origin,
            hint="fetch the archive again; if the error remains, the source itself is damaged",
        ) from error
    except PiimageError as error:
        if error.place is None:
            error.place = origin
        raise


def _entry(archive: Tar, member: Member, origin: str) -> Entry | None:
    path = clean_path(member.path)
    if not path:
        return None
    kind = _KINDS[member.type]
    return Entry(
        path,
        kind,
        member.mode,
        member.uid,
        member.gid,
        member.size,
        clean_path(member.link) if kind is Kind.HARD_LINK else member.link,
        member.device,
        member.xattrs,
        lambda: _content(archive, member, origin) if kind is Kind.FILE else (),
    )


def _content(archive: Tar, member: Member, origin: str) -> Iterator[bytes]:
    chunks = archive.content(member)
    while True:
        with _errors_of_archive(origin):
            data = next(chunks, b"")
        if not data:
            return
        yield data


class Placement:
    """Overlays trees as if they were unpacked one after another into one root.

    Symbolic links in a path are followed inside the root. A missing folder is made. A folder that
    comes twice keeps its first entry. A file that comes twice is an error, because a stream cannot
    take back the first one: drop one of them with a rule.
    """

    def __init__(self) -> None:
        self._kinds: dict[str, Kind] = {}
        self._links: dict[str, str] = {}

    def assume(self, links: Mapping[str, str]) -> None:
        """Assume that a lower layer has `links` (path to target)."""
        self._links.update(links)

    def place(self, entries: Tree) -> Iterator[Entry]:
        """Yield `entries` with their real paths, each preceded by its missing parent folders."""
        for entry in entries:
            path = self.real(entry.path)
            if path in self._kinds:
                if entry.kind is Kind.DIRECTORY and self._is_folder(path):
                    continue
                if entry.kind is Kind.SYMLINK and self._links.get(path) == entry.link:
                    continue
                raise PiimageError(
                    "trees.conflict",
                    f"/{path} comes twice, but not as the same folder or link",
                    hint="drop one of them with a `drop:` rule",
                )
            yield from self._parents(path)
            self._kinds[path] = entry.kind
            if entry.kind is Kind.SYMLINK:
                self._links[path] = entry.link
            link = self.real(entry.link) if entry.kind is Kind.HARD_LINK else entry.link
            yield replace(entry, path=path, link=link)

    def has(self, path: str) -> bool:
        """Return whether an entry was placed at `path`."""
        return self.real(path) in self._kinds

    def _is_folder(self, path: str) -> bool:
        # A package may ship /lib as a folder although /lib is a link to a folder.
        if self._kinds[path] is Kind.SYMLINK:
            target = self._follow(path)
            return self._kinds.get(target, Kind.DIRECTORY) is Kind.DIRECTORY
        return self._kinds[path] is Kind.DIRECTORY

    def _parents(self, path: str) -> Iterator[Entry]:
        parts = path.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            parent = "/".join(parts[:depth])
            if parent not in self._kinds:
                self._kinds[parent] = Kind.DIRECTORY
                yield folder(parent)
            elif self._kinds[parent] is not Kind.DIRECTORY:
                raise PiimageError(
                    "trees.conflict",
                    f"/{path} is below /{parent}, which is not a folder",
                    hint="drop one of them with a `drop:` rule",
                )

    def real(self, path: str) -> str:
        """Return `path` with the symbolic links among its parents resolved inside the root."""
        parent, slash, name = path.rpartition("/")
        return f"{self._follow(parent)}{slash}{name}".lstrip("/") if slash else path

    def _follow(self, path: str) -> str:
        for _ in range(_MAX_LINKS + 1):  # once more, to see that no link is left
            link = next((p for p in _prefixes(path) if p in self._links), None)
            if link is None:
                return path
            path = _join(link, self._links[link], path[len(link) :])
            if len(path) > MAX_PATH:
                raise _loop(f"symbolic links make the path /{path[:40]}... endless")
        raise _loop(f"/{path} leads through a loop of symbolic links")


def _loop(message: str) -> PiimageError:
    return PiimageError(
        "trees.link-loop",
        message,
        hint="do not use this archive: no honest tool writes such links",
    )


def _prefixes(path: str) -> Iterator[str]:
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)
    yield path


def _join(link: str, target: str, rest: str) -> str:
    """Return the path of `rest` below the target of `link`, inside the root as with chroot."""
    parts = [] if target.startswith("/") else link.split("/")[:-1]
    for part in [*target.split("/"), *rest.split("/")]:
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def tar_chunks(entries: Tree) -> Iterator[bytes]:
    """Yield `entries` as a PAX tar: one time stamp for all, numeric owners, no owner names."""
    for entry in entries:
        yield _tar_header(entry)
        if entry.kind is Kind.FILE:
            yield from _exactly(entry)
            yield bytes(-entry.size % _BLOCK)
    yield bytes(2 * _BLOCK)


def _exactly(entry: Entry) -> Iterator[bytes]:
    left = entry.size
    for chunk in entry.content():
        left -= len(chunk)
        yield chunk
    if left:
        raise ValueError(f"{entry.path}: the content does not have the stated {entry.size} bytes")


def _tar_header(entry: Entry) -> bytes:
    types = {
        Kind.FILE: tarfile.REGTYPE,
        Kind.DIRECTORY: tarfile.DIRTYPE,
        Kind.SYMLINK: tarfile.SYMTYPE,
        Kind.HARD_LINK: tarfile.LNKTYPE,
        Kind.CHARACTER: tarfile.CHRTYPE,
        Kind.BLOCK: tarfile.BLKTYPE,
        Kind.FIFO: tarfile.FIFOTYPE,
    }
    info = tarfile.TarInfo(entry.path)
    info.type = types[entry.kind]
    info.mode, info.uid, info.gid = entry.mode, entry.uid, entry.gid
    info.size, info.linkname, info.mtime = entry.size, entry.link, EPOCH
    info.devmajor, info.devminor = entry.device
    info.pax_headers = {
        f"{_PAX_XATTR}{name}": value.decode("utf-8", "surrogateescape")
        for name, value in sorted(entry.xattrs.items())
    }
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8")


def cpio_chunks(entries: Tree) -> Iterator[bytes]:
    """Yield `entries` as a newc cpio, the format of the kernel's initramfs.

    Source: Documentation/driver-api/early-userspace/buffer-format.rst.
    """
    for number, entry in enumerate(entries, start=1):
        yield _cpio_header(number, entry)
        if entry.kind is Kind.FILE:
            yield from _exactly(entry)
            yield bytes(-entry.size % 4)
        elif entry.kind is Kind.SYMLINK:
            target = _raw(entry.link)
            yield target + bytes(-len(target) % 4)
    yield _cpio_header(0, Entry("TRAILER!!!", Kind.HARD_LINK, mode=0))


def _cpio_header(number: int, entry: Entry) -> bytes:
    name = _raw(entry.path) + b"\0"
    links = 2 if entry.kind is Kind.DIRECTORY else 1
    size = len(_raw(entry.link)) if entry.kind is Kind.SYMLINK else entry.size
    mtime = EPOCH if number else 0
    numbers = (
        number,
        entry.kind.value | entry.mode,
        entry.uid,
        entry.gid,
        links,
        mtime,
        size,
        0,
        0,
        *entry.device,
        len(name),
        0,
    )
    header = b"070701" + b"".join(b"%08X" % value for value in numbers) + name
    return header + bytes(-len(header) % 4)


def _raw(name: str) -> bytes:
    """Return the bytes of a file name, which need not be UTF-8."""
    return name.encode("utf-8", "surrogateescape")
