"""Reading a .deb (deb(5)): an ar archive of debian-binary, control.tar and data.tar.

The payload is never whole in memory. What cannot be read becomes one error that names the file.
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
# Above this much, another process decompresses while this one reads the tar (kernel package:
# half the wall time); below, starting a process costs more than it gains.
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
    """Give the uncompressed data.tar of the .deb at `path` as a stream to be read once.

    `name` stands for the file in errors (its path if empty). Raises PiimageError
    ``debian.deb-damaged`` for what is no .deb, is cut short or does not decompress,
    ``debian.deb-compression`` for a format that Debian does not use, and ``debian.deb-bomb`` when
    it unpacks to far more than its size explains; reading from the stream raises them too.
    """
    with _member_stream(runner, path, "data.tar", name or str(path), None) as stream:
        yield stream


def control_fields(runner: Runner, path: Path, name: str = "") -> Mapping[str, str]:
    """Return the fields of the .deb's control file, names in lower case; errors as `data_stream`.

    Descriptions keep their line breaks.
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
            why = error.message if isinstance(error, PiimageError) else error
            raise _damaged(place, f"its control file cannot be read: {why}") from error
    raise _damaged(place, "it has no control file")


def check_identity(runner: Runner, path: Path, package: Package) -> None:
    """Refuse a .deb whose control file names another package, version or architecture.

    Raises PiimageError ``debian.deb-swapped``: the digest was right, so the lock or the index is
    what was altered.
    """
    fields = control_fields(runner, path, str(package))
    found = tuple(fields.get(field, "") for field in ("package", "version", "architecture"))
    if found != (package.name, package.version, package.architecture):
        raise PiimageError(
            "debian.deb-swapped",
            f"the file is {found[0]} {found[1]} ({found[2]}), not the package that was asked for",
            place=str(package),
            hint="the lock was altered by hand or by somebody; make it anew with piimage lock "
            f"--update {package.name}",
        )


@contextmanager
def _member_stream(
    runner: Runner, path: Path, stem: str, place: str, limit: int | None
) -> Iterator[IO[bytes]]:
    with path.open("rb", buffering=0) as file:
        member = _find(file, stem, place)
        most = limit or _FREE + _MAX_RATIO * member.size
        file.seek(member.offset)
        with _source(runner, file, member, place) as read:
            stream = _Stream(read, most, place)
            # RawIOBase has all that IO[bytes] asks for, but the stubs do not say so.
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
            raise _damaged(place, f"it is cut short within {name}")
        yield member
        offset = member.offset + member.size + member.size % 2
    raise _damaged(place, f"it has more than {_MAX_MEMBERS} members")


@contextmanager
def _source(
    runner: Runner, file: IO[bytes], member: _Member, place: str
) -> Iterator[Callable[[int], bytes]]:
    """Give the function that returns up to so many bytes of the member, decompressed."""
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
        # zstd cannot be told to stop at the end of the member; Debian's own packages have none.
        with tempfile.TemporaryFile() as alone:
            while chunk := raw.read(CHUNK):
                alone.write(chunk)
            alone.seek(0)
            with runner.start(_ZSTD, stdin=alone) as process:
                yield _Piped(process).read
    else:
        raise PiimageError(
            "debian.deb-compression",
            f"its member {member.name} is compressed in a way that Debian does not use",
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
    """Reads what a decompressing process writes, and believes it only if it ended well."""

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

    def __init__(self, source: Callable[[int], bytes], most: int, place: str) -> None:
        super().__init__()
        self._source = source
        self._left = most
        self._place = place

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Return up to `size` bytes, none at the end; all that is left if `size` is negative."""
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
                "it unpacks to far more than its size explains",
                place=self._place,
                hint="do not use this package: it is made to exhaust the machine",
            )
        return data

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill `buffer` as far as one read goes."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)


def _damaged(place: str, why: str) -> PiimageError:
    return PiimageError(
        "debian.deb-damaged",
        f"damaged package: {why}",
        place=place,
        hint="fetch it again; if it stays so, the archive that it came from is damaged",
    )
