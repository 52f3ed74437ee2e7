"""Reading a .deb (deb(5)): an ar archive of debian-binary, control.tar and data.tar.

The payload is streamed. Any damage becomes one error that names the package.
"""

from __future__ import annotations

import io
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, cast

from piimage.debian.deb822 import paragraph
from piimage.debian.package import Package
from piimage.errors import PiimageError
from piimage.inflate import Gunzip, Inflated, unxz
from piimage.run import Runner
from piimage.store import CHUNK
from piimage.trees import Kind, read_tar

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_MAGIC: Final = b"!<arch>\n"
_HEADER: Final = 60
_MAX_MEMBERS: Final = 16
_MAX_CONTROL: Final = 16 << 20
# The best ratio among Debian's packages is about 40 (empty translations); xz can reach 7000.
_MAX_RATIO: Final = 200
_FREE: Final = 64 << 20
# From this size on, another process decompresses while this process reads the tar (half the wall
# time for the kernel package). For a smaller payload, a new process costs more than it saves.
_BIG: Final = 8 << 20
_XZ: Final = ("xz", "-dc", "-T4", "--memlimit-mt-decompress=128MiB", "--single-stream")
_ZSTD: Final = ("zstd", "-dcq")


@dataclass(frozen=True)
class _Member:
    """One file of the ar archive."""

    name: str
    offset: int
    size: int


@contextmanager
def data_stream(runner: Runner, path: Path, name: str = "") -> Iterator[IO[bytes]]:
    """Yield the uncompressed data.tar of the .deb at `path` as a stream that is read once.

    `name` is the name of the package in errors (default: the path). Raises PiimageError
    ``debian.deb-damaged`` if the file is not a .deb, is truncated or does not decompress,
    ``debian.deb-compression`` for a format that Debian does not use, and ``debian.deb-bomb`` if
    the payload is far too large for the size of the .deb. Reading the stream raises them too.
    """
    with _member_stream(runner, path, "data.tar", name or str(path), None) as stream:
        yield stream


def control_fields(runner: Runner, path: Path, name: str = "") -> Mapping[str, str]:
    """Return the fields of the .deb's control file, names in lower case.

    Descriptions keep their line breaks. Raises the errors of `data_stream`.
    """
    place = name or str(path)
    with _member_stream(runner, path, "control.tar", place, _MAX_CONTROL) as stream:
        try:
            for entry in read_tar(stream, place):
                if entry.path == "control" and entry.kind is Kind.FILE:
                    return paragraph(b"".join(entry.content()).decode())
        except (ValueError, PiimageError) as error:
            if isinstance(error, PiimageError) and not error.code.startswith("trees."):
                raise
            reason = error.message if isinstance(error, PiimageError) else error
            raise _damaged(place, f"its control file cannot be read: {reason}") from error
    raise _damaged(place, "it has no control file")


def check_identity(runner: Runner, path: Path, package: Package) -> None:
    """Refuse a .deb whose control file names another package, version or architecture.

    Raises PiimageError ``debian.deb-swapped``: the digest is right, so the lock or the index was
    altered.
    """
    fields = control_fields(runner, path, str(package))
    identity = tuple(fields.get(field, "") for field in ("package", "version", "architecture"))
    if identity != (package.name, package.version, package.architecture):
        name, version, architecture = identity
        raise PiimageError(
            "debian.deb-swapped",
            f"the file is {name} {version} ({architecture}), not the locked package",
            place=str(package),
            hint=f"the lock was altered; renew it with piimage lock --update {package.name}",
        )


@contextmanager
def _member_stream(
    runner: Runner, path: Path, stem: str, place: str, limit: int | None
) -> Iterator[IO[bytes]]:
    with path.open("rb", buffering=0) as file:
        member = _find(file, stem, place)
        maximum = limit or _FREE + _MAX_RATIO * member.size
        file.seek(member.offset)
        with _source(runner, file, member, place) as read:
            stream = _Stream(read, maximum, place)
            # RawIOBase has all methods of IO[bytes], although its stubs do not declare it.
            yield cast("IO[bytes]", stream)


def _find(file: IO[bytes], stem: str, place: str) -> _Member:
    if file.read(len(_MAGIC)) != _MAGIC:
        raise _damaged(place, "it is not an ar archive")
    for count, member in enumerate(_members(file, place)):
        if count == 0 and member.name != "debian-binary":
            raise _damaged(place, "its first member is not debian-binary")
        if member.name == stem or member.name.startswith(f"{stem}."):
            return member
    raise _damaged(place, f"it has no {stem}")


def _members(file: IO[bytes], place: str) -> Iterator[_Member]:
    end = os.fstat(file.fileno()).st_size
    offset = len(_MAGIC)
    for _ in range(_MAX_MEMBERS):
        file.seek(offset)
        header = file.read(_HEADER)
        if not header:
            return
        size = header[48:58].strip()
        if len(header) < _HEADER or header[58:] != b"`\n" or not size.isdigit():
            raise _damaged(place, "an ar header is broken")
        name = header[:16].decode("ascii", "replace").strip().rstrip("/")
        member = _Member(name, offset + _HEADER, int(size))
        if member.offset + member.size > end:
            raise _damaged(place, f"it is truncated within {name}")
        yield member
        offset = member.offset + member.size + member.size % 2
    raise _damaged(place, f"it has more than {_MAX_MEMBERS} members")


@contextmanager
def _source(
    runner: Runner, file: IO[bytes], member: _Member, place: str
) -> Iterator[Callable[[int], bytes]]:
    """Yield the function that reads up to N decompressed bytes of the member."""
    compression = member.name.rpartition(".tar")[2]
    raw = _Window(file, member.size)
    if compression == "":
        yield raw.read
    elif compression == ".gz":
        yield Inflated(raw, Gunzip()).read
    elif compression == ".xz" and member.size < _BIG:
        yield Inflated(raw, unxz()).read
    elif compression == ".xz":
        with runner.start(_XZ, stdin=file) as process:
            yield _Piped(process).read
    elif compression == ".zst":
        # zstd has no option to stop at the end of the member. Debian's own packages use xz.
        with tempfile.TemporaryFile() as copy:
            while chunk := raw.read(CHUNK):
                copy.write(chunk)
            copy.seek(0)
            with runner.start(_ZSTD, stdin=copy) as process:
                yield _Piped(process).read
    else:
        raise PiimageError(
            "debian.deb-compression",
            f"its member {member.name} has a compression that Debian does not use",
            place=place,
            hint="use a package whose members are .xz, .zst, .gz or plain tar",
        )


@dataclass
class _Window:
    """The bytes of one member."""

    file: IO[bytes]
    left: int

    def read(self, size: int, /) -> bytes:
        data = self.file.read(min(size, self.left))
        self.left -= len(data)
        return data


@dataclass
class _Piped:
    """Reads the output of a decompressing process; an error of the process is EOFError."""

    process: subprocess.Popen[bytes]

    def read(self, size: int) -> bytes:
        output, errors = self.process.stdout, self.process.stderr
        if output is None or errors is None:  # started with pipes by Runner
            return b""
        data = output.read(size)
        if not data and self.process.wait() != 0:
            raise EOFError(errors.read().decode(errors="replace").strip())
        return data


class _Stream(io.RawIOBase):
    """The decompressed member, limited in size, with errors that name the package."""

    def __init__(self, source: Callable[[int], bytes], maximum: int, place: str) -> None:
        super().__init__()
        self._source = source
        self._left = maximum
        self._place = place

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Return up to `size` bytes, none at the end; all remaining bytes if `size` is negative."""
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        try:
            data = self._source(size) if size else b""
        except (ValueError, EOFError) as error:
            raise _damaged(self._place, f"its payload does not decompress: {error}") from error
        self._left -= len(data)
        if self._left < 0:
            raise PiimageError(
                "debian.deb-bomb",
                "it unpacks to far more than its size permits",
                place=self._place,
                hint="do not use this package: it is made to exhaust the machine",
            )
        return data

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read once into `buffer`; return the number of bytes."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)


def _damaged(place: str, reason: str) -> PiimageError:
    return PiimageError(
        "debian.deb-damaged",
        f"damaged package: {reason}",
        place=place,
        hint="fetch the package again; if the error remains, the package in the archive is damaged",
    )
