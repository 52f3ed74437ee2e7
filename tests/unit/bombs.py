"""Hostile inputs, each read in a process that measures its own peak memory.

Run as a program: prints the peak resident memory of each bomb, in bytes, and the error that it met.
The kernel's own figure (VmHWM) is reset before each (Documentation/filesystems/proc.rst).
"""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path

from piimage import cache
from piimage.debian import catalogue, deb
from piimage.errors import PiimageError
from piimage.oci import layers
from piimage.python.wheel import Wheel
from piimage.run import Runner
from piimage.store import Store
from piimage.trees import Kind, read_tar

GIGA = 1 << 30


class Stream:
    """A tar that is generated while it is read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        data = self._rest or next(self._chunks, b"")
        self._rest = data[size:]
        return data[:size]


def header(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


def extended(path: str) -> bytes:
    info = tarfile.TarInfo(path)
    info.type = tarfile.DIRTYPE
    return info.tobuf(tarfile.PAX_FORMAT)


def zeros(size: int) -> Iterator[bytes]:
    for _ in range(size >> 20):
        yield bytes(1 << 20)


def read(stream: Stream) -> None:
    for entry in read_tar(stream, "bomb"):
        for _ in entry.content():
            pass


def giant_header(kind: bytes) -> Callable[[Path], None]:
    def run(_: Path) -> None:
        def chunks() -> Iterator[bytes]:
            yield header("x", kind, 7 * GIGA)
            yield from zeros(7 * GIGA)

        read(Stream(chunks()))

    return run


def endless_headers(_: Path) -> None:
    block = header("x", tarfile.XHDTYPE, 12) + b"12 comment=\n".ljust(512, b"\0")
    read(Stream(block for _ in range(1_000_000)))


def layer(members: Callable[[], Iterator[bytes]]) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        path, digest = folder / "layer", hashlib.sha256()
        with gzip.open(path, "wb", compresslevel=1) as out:
            for block in chain(members(), [bytes(1024)]):
                digest.update(block)
                out.write(block)
        layers.scan(Runner(), path, f"sha256:{digest.hexdigest()}", "bomb").encode()

    return run


def one_deep_path() -> Iterator[bytes]:
    yield extended("a/" * 60_000)


def deepest_paths() -> Iterator[bytes]:
    for number in range(3_000):
        yield extended(f"{number:06}/" + "aaaaaaaaaaaaaa/" * 250 + "x")


def long_names() -> Iterator[bytes]:
    for number in range(9_000):
        yield extended("/".join([f"{number:06}" + "b" * 240] * 16))


def many_entries(count: int) -> Callable[[], Iterator[bytes]]:
    """Headers whose names differ in their digits."""

    def members() -> Iterator[bytes]:
        block = bytearray(header("0" * 12, tarfile.DIRTYPE))
        start = int(block[148:154], 8) - 12 * ord("0")
        for number in range(count):
            name = b"%012d" % number
            block[:12] = name
            block[148:154] = b"%06o" % (start + sum(name))
            yield bytes(block)

    return members


def many_attributes() -> Iterator[bytes]:
    for number in range(120):
        info = tarfile.TarInfo(str(number))
        info.type = tarfile.DIRTYPE
        info.pax_headers = {"SCHILY.xattr.user.x": "v" * 1_000_000}
        yield info.tobuf(tarfile.PAX_FORMAT)


def long_links() -> Iterator[bytes]:
    for number in range(9_000):
        info = tarfile.TarInfo(f"{number}")
        info.type, info.linkname = tarfile.SYMTYPE, "l" * 4_000
        yield info.tobuf(tarfile.PAX_FORMAT)


def old_sparse(size: int) -> bytes:
    """GNU tar's own form (type S): no data in the archive, `size` bytes when read."""
    raw = bytearray(header("memo/aa/" + "b" * 62 + ".json", tarfile.GNUTYPE_SPARSE))
    raw[483:495] = b"%011o\0" % size
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw) + bytes(1024)


def pax_sparse(size: int) -> bytes:
    info = tarfile.TarInfo("blobs/sha256/" + "0" * 64)
    info.size = 512
    info.pax_headers = {
        "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(size),
    }  # fmt: skip
    return info.tobuf(tarfile.PAX_FORMAT) + b"0\n".ljust(512, b"\0") + bytes(1024)


def imported(data: bytes) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        (folder / "export.tar").write_bytes(data)
        cache.merge(Store(folder / "store"), folder / "export.tar")

    return run


def imported_memory(folder: Path) -> None:
    target = folder / "export.tar"
    with target.open("wb") as out:
        out.write(header("memo/aa/" + "b" * 62 + ".json", size=4 * GIGA))
        out.truncate(4 * GIGA)
    cache.merge(Store(folder / "store"), target)


def package(name: str, made: Callable[[], bytes]) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        ar, data = b"!<arch>\n", made()
        for member, content in (("debian-binary", b"2.0\n"), (name, data)):
            ar += f"{member:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
            ar += content + b"\n" * (len(content) % 2)
        (folder / "x.deb").write_bytes(ar)
        if name.startswith("control"):
            deb.control_fields(Runner(), folder / "x.deb")
            return
        with deb.data_stream(Runner(), folder / "x.deb") as stream:
            for entry in read_tar(stream, "bomb"):
                assert entry.kind is Kind.FILE
                for _ in entry.content():
                    pass

    return run


SIZE = 160 << 20


def squeezed(name: str) -> bytes:
    """A tar of one member of SIZE bytes."""
    packer = lzma.LZMACompressor(preset=0)
    return packer.compress(header(name, size=SIZE)) + pressed(packer.compress) + packer.flush()


def pressed(compress: Callable[[bytes], bytes]) -> bytes:
    return b"".join(map(compress, zeros(SIZE)))


def index(made: Callable[[], bytes], compression: str) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        (folder / "Packages").write_bytes(made())
        try:
            catalogue.build(folder / "Packages", compression, folder / "catalogue")
        except ValueError as error:
            raise PiimageError("debian.index-damaged", str(error)) from error

    return run


def gzipped() -> bytes:
    packer = zlib.compressobj(1, wbits=31)
    return pressed(packer.compress) + packer.flush()


def wheel(**files: Callable[[], bytes]) -> Callable[[Path], None]:
    """A wheel whose files in its dist-info are `files`."""

    def run(folder: Path) -> None:
        name = "hello-1.0-py3-none-any.whl"
        with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
            for path, made in {"WHEEL": lambda: b"Wheel-Version: 1.0\n", **files}.items():
                out.writestr(f"hello-1.0.dist-info/{path}", made())
        for entry in Wheel(folder / name, name, "3.13").entries():
            for _ in entry.content():
                pass

    return run


def rows() -> bytes:
    made = bytearray()
    for number in range(200_000):
        made += b"%030x,,\n" % number
    return bytes(made)


def long_fields() -> bytes:
    return b"Wheel-Version: 1.0\n" + b"a: b\n" * 3_000_000


BOMBS: dict[str, Callable[[Path], None]] = {
    "a pax header of 7 GiB": giant_header(tarfile.XHDTYPE),
    "a global pax header of 7 GiB": giant_header(tarfile.XGLTYPE),
    "a long name of 7 GiB": giant_header(tarfile.GNUTYPE_LONGNAME),
    "a long link of 7 GiB": giant_header(tarfile.GNUTYPE_LONGLINK),
    "pax headers without an end": endless_headers,
    "a layer with one deep path": layer(one_deep_path),
    "a layer with the deepest paths": layer(deepest_paths),
    "a layer with the longest names": layer(long_names),
    "a layer with long links": layer(long_links),
    "a layer with too many entries": layer(many_entries(251_000)),
    "a layer with as many entries as may be": layer(many_entries(250_000)),
    "a layer with attributes": layer(many_attributes),
    "a sparse memory of 3 GiB": imported(old_sparse(3 * GIGA)),
    "a sparse blob of 4 GiB": imported(pax_sparse(4 * GIGA)),
    "a memory of 4 GiB": imported_memory,
    "a sparse control file": package("control.tar", partial(old_sparse, 3 * GIGA)),
    "a long control file": package("control.tar.xz", partial(squeezed, "control")),
    "a long payload": package("data.tar.xz", partial(squeezed, "x")),
    "an index without an end": index(partial(squeezed, "x"), ".xz"),
    "a gzipped index without an end": index(gzipped, ".gz"),
    "a wheel that lists what it has not": wheel(RECORD=rows),
    "a wheel with long fields": wheel(WHEEL=long_fields, RECORD=lambda: b""),
}


SLOW = frozenset(name for name in BOMBS if name.endswith(("many entries", "as may be")))
"""Which of them take seconds."""


def peak(bomb: Callable[[Path], None]) -> tuple[str, int]:
    """Run `bomb` and return the code of its error and the peak of this process's memory."""
    with tempfile.TemporaryDirectory() as name:
        Path("/proc/self/clear_refs").write_text("5")
        code = "none"
        try:
            bomb(Path(name))
        except PiimageError as error:
            code = error.code
        status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return code, int(line.split()[1]) << 10


if __name__ == "__main__":
    for name, bomb in BOMBS.items():
        if not sys.argv[1:] or name in sys.argv[1:]:
            sys.stdout.write(json.dumps([name, *peak(bomb)]) + "\n")
