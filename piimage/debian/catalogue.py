"""A Packages index as a small database, for quick look-ups of a few hundred packages.

It is built once for each index, and holds only the fields that resolution needs.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from piimage.inflate import Gunzip, Inflated, unxz
from piimage.tars import Readable

_FIELD: Final = re.compile(
    rb"^(Package|Version|Architecture|Filename|Size|SHA256|Source|Depends|Pre-Depends|Conflicts"
    rb"|Breaks|Provides|Priority):[ \t]*(.*(?:\n[ \t].*)*)$",
    re.MULTILINE,
)
_SOURCE: Final = re.compile(r"(\S+)(?:\s+\((\S+)\))?")
_PROVIDED: Final = re.compile(r"(?:^|,)\s*([^\s,(:]+)")
_PATH: Final = re.compile(r"(?!/)(?!.*(?:^|/)\.\.(?:/|$))[!-~]+")
_BLOCK: Final = 800_000  # bytes of text that are parsed at a time
_MAX_PARAGRAPH: Final = 4 << 20
_MAX_SIZE: Final = 1 << 40  # bytes of a package
_PRIORITIES: Final = ("required", "important", "standard", "optional", "extra")
_SCHEMA: Final = """
CREATE TABLE package (
  id INTEGER PRIMARY KEY, name TEXT, version TEXT, architecture TEXT, path TEXT, size INTEGER,
  sha256 TEXT, source TEXT, source_version TEXT, depends TEXT, conflicts TEXT, provides TEXT,
  priority INTEGER);
CREATE TABLE provided (name TEXT, package INTEGER);
"""
_INDEXES: Final = """
CREATE INDEX package_name ON package (name);
CREATE INDEX provided_name ON provided (name);
"""


class Row(NamedTuple):
    """One package of an index; its relations are text. `priority`: 0 required ... 4 extra."""

    name: str
    version: str
    architecture: str
    path: str
    size: int
    sha256: str
    source: str
    source_version: str
    depends: str
    conflicts: str
    provides: str
    priority: int


_COLUMNS: Final = ", ".join(Row._fields)


@dataclass(frozen=True)
class Catalogue:
    """The database at `path`."""

    path: Path

    def read(self) -> Reader:
        """Open the database; the reader belongs to one thread."""
        # immutable: files of the store do not change, so SQLite needs no locks.
        database = sqlite3.connect(f"{self.path.absolute().as_uri()}?immutable=1", uri=True)
        return Reader(database)


@dataclass(frozen=True)
class Reader:
    """An open catalogue."""

    database: sqlite3.Connection

    def named(self, name: str) -> list[Row]:
        """Return all packages with the name `name`."""
        query = f"SELECT {_COLUMNS} FROM package WHERE name = ? ORDER BY id"  # noqa: S608
        return [Row(*columns) for columns in self.database.execute(query, (name,))]

    def providers(self, name: str) -> list[Row]:
        """Return all packages that provide the virtual package `name`."""
        query = (
            f"SELECT {_COLUMNS} FROM package WHERE id IN "  # noqa: S608
            "(SELECT package FROM provided WHERE name = ?) ORDER BY id"
        )
        return [Row(*columns) for columns in self.database.execute(query, (name,))]

    def names(self, prefix: str) -> list[str]:
        """Return the names that begin with `prefix`, sorted."""
        query = "SELECT DISTINCT name FROM package WHERE name >= ? AND name < ? ORDER BY name"
        return [name for (name,) in self.database.execute(query, (prefix, prefix + "~"))]

    def close(self) -> None:
        """Close the database."""
        self.database.close()


def build(packages: Path, compression: str, target: Path) -> None:
    """Write the catalogue of the index file `packages` to `target`.

    `compression` is ``.xz``, ``.gz`` or empty. Raises ValueError with the reason if the index is
    damaged.
    """
    try:
        with packages.open("rb") as file, closing(sqlite3.connect(target)) as database:
            database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + _SCHEMA)
            with ThreadPoolExecutor(1) as pool, database:
                _fill(database, _rows(_ahead(pool, _decompressed(file, compression))))
            database.executescript(_INDEXES)
    except EOFError as error:
        raise ValueError(str(error)) from error


def _fill(database: sqlite3.Connection, rows: Iterable[Row]) -> None:
    marks = ", ".join("?" * (len(Row._fields) + 1))
    insert = f"INSERT INTO package (id, {_COLUMNS}) VALUES ({marks})"  # noqa: S608
    virtual: list[tuple[str, int]] = []

    def numbered() -> Iterator[tuple[object, ...]]:
        for number, row in enumerate(rows):
            if row.provides:
                virtual.extend((name, number) for name in _PROVIDED.findall(row.provides))
            yield (number, *row)

    database.executemany(insert, numbered())
    database.executemany("INSERT INTO provided VALUES (?, ?)", virtual)


def _ahead(pool: Executor, index: Readable) -> Iterator[bytes]:
    """Yield the blocks of `index`; one is decompressed while the one before it is parsed."""
    coming = pool.submit(index.read, _BLOCK)
    while block := coming.result():
        coming = pool.submit(index.read, _BLOCK)
        yield block


def _decompressed(file: Readable, compression: str) -> Readable:
    match compression:
        case ".xz":
            return Inflated(file, unxz())
        case ".gz":
            return Inflated(file, Gunzip())
    return file


def _rows(chunks: Iterable[bytes]) -> Iterator[Row]:
    rest = b""
    for chunk in chunks:
        whole, _, rest = (rest + chunk).rpartition(b"\n\n")
        if len(rest) > _MAX_PARAGRAPH:
            raise ValueError(f"a paragraph has more than {_MAX_PARAGRAPH} bytes")
        yield from _paragraphs(whole)
    yield from _paragraphs(rest)


def _paragraphs(data: bytes) -> Iterator[Row]:
    fields: dict[bytes, bytes] = {}
    for name, value in _FIELD.findall(data):
        if name == b"Package" and fields:
            yield _row(fields)
            fields = {}
        fields[name] = value
    if fields:
        yield _row(fields)


def _row(fields: dict[bytes, bytes]) -> Row:
    get = fields.get
    try:
        name = fields[b"Package"].decode()
        version = fields[b"Version"].decode()
        path = fields[b"Filename"].decode()
        sha256 = fields[b"SHA256"].decode()
        size = int(fields[b"Size"])
        architecture = fields[b"Architecture"].decode()
    except KeyError as error:
        raise ValueError(f"a package has no field {error.args[0].decode()}") from error
    if not 0 <= size <= _MAX_SIZE:
        raise ValueError(f"the package {name} has the invalid size {size}")
    if len(sha256) != 64 or _PATH.fullmatch(path) is None:
        raise ValueError(f"the package {name} has an invalid digest or path")
    source, source_version = name, ""
    if match := _SOURCE.match(get(b"Source", b"").decode()):
        source, source_version = match.group(1), match.group(2) or ""
    return Row(
        name, version, architecture, path, size, sha256, source, source_version or version,
        _joined(get(b"Pre-Depends", b""), get(b"Depends", b"")),
        _joined(get(b"Conflicts", b""), get(b"Breaks", b"")),
        get(b"Provides", b"").decode(),
        priority_rank(get(b"Priority", b"optional").decode()),
    )  # fmt: skip


def priority_rank(priority: str) -> int:
    """Return the rank of `priority`: 0 required ... 4 extra, 5 unknown."""
    return _PRIORITIES.index(priority) if priority in _PRIORITIES else len(_PRIORITIES)


def _joined(first: bytes, second: bytes) -> str:
    return b", ".join(part for part in (first, second) if part).decode()
