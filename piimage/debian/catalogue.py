"""A Packages index as a small database, for quick look-ups of a few hundred packages.

It is built once for each index, and holds the paragraphs as they are: of 70,000 packages, a
resolution reads a few hundred.
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

from piimage.errors import PiimageError
from piimage.inflate import Gunzip, Inflated, unxz
from piimage.tars import Readable

_NAME: Final = re.compile(rb"^Package:[ \t]*(\S+)", re.MULTILINE)
_PROVIDES: Final = re.compile(rb"^Provides:(.*(?:\n[ \t].*)*)$", re.MULTILINE)
_FIELD: Final = re.compile(
    r"^(Package|Version|Architecture|Filename|Size|SHA256|Source|Depends|Pre-Depends|Conflicts"
    r"|Breaks|Provides|Priority):[ \t]*(.*(?:\n[ \t].*)*)$",
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
CREATE TABLE package (id INTEGER PRIMARY KEY, name TEXT, paragraph BLOB);
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


@dataclass(frozen=True)
class Catalogue:
    """The database at `path` of an index of the suite called `suite`."""

    path: Path
    suite: str

    def read(self) -> Reader:
        """Open the database; the reader belongs to one thread."""
        # immutable: files of the store do not change, so SQLite needs no locks.
        database = sqlite3.connect(f"{self.path.absolute().as_uri()}?immutable=1", uri=True)
        return Reader(database, self.suite)


@dataclass(frozen=True)
class Reader:
    """An open catalogue of a suite. What it returns has been checked.

    `named` and `providers` raise PiimageError ``debian.index-damaged``.
    """

    database: sqlite3.Connection
    suite: str

    def named(self, name: str) -> list[Row]:
        """Return all packages with the name `name`."""
        return self._rows("SELECT paragraph FROM package WHERE name = ? ORDER BY id", name)

    def providers(self, name: str) -> list[Row]:
        """Return all packages that provide the virtual package `name`."""
        query = (
            "SELECT paragraph FROM package WHERE id IN "
            "(SELECT package FROM provided WHERE name = ?) ORDER BY id"
        )
        return self._rows(query, name)

    def _rows(self, query: str, name: str) -> list[Row]:
        try:
            return [_row(paragraph) for (paragraph,) in self.database.execute(query, (name,))]
        except ValueError as error:
            raise damaged(self.suite, str(error)) from error

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
                _fill(database, _paragraphs(_ahead(pool, _decompressed(file, compression))))
            database.executescript(_INDEXES)
    except EOFError as error:
        raise ValueError(str(error)) from error


def _fill(database: sqlite3.Connection, paragraphs: Iterable[bytes]) -> None:
    virtual: list[tuple[str, int]] = []

    def numbered() -> Iterator[tuple[int, str, bytes]]:
        for number, paragraph in enumerate(paragraphs):
            name = _NAME.search(paragraph)
            if name is None:
                raise ValueError("a package has no field Package")
            if b"\nProvides:" in paragraph and (provides := _PROVIDES.search(paragraph)):
                names = _PROVIDED.findall(provides[1].decode())
                virtual.extend((provided, number) for provided in names)
            yield number, name[1].decode(), paragraph

    database.executemany("INSERT INTO package VALUES (?, ?, ?)", numbered())
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


def _paragraphs(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n\n")
        if len(rest) > _MAX_PARAGRAPH:
            raise ValueError(f"a paragraph has more than {_MAX_PARAGRAPH} bytes")
        yield from filter(bytes.strip, whole)
    if rest.strip():
        yield rest


def _row(paragraph: bytes) -> Row:
    fields = dict(_FIELD.findall(paragraph.decode()))
    get = fields.get
    try:
        name, version, path = fields["Package"], fields["Version"], fields["Filename"]
        sha256, architecture = fields["SHA256"], fields["Architecture"]
        size = int(fields["Size"])
    except KeyError as error:
        raise ValueError(f"a package has no field {error.args[0]}") from error
    if not 0 <= size <= _MAX_SIZE:
        raise ValueError(f"the package {name} has the invalid size {size}")
    if len(sha256) != 64 or _PATH.fullmatch(path) is None:
        raise ValueError(f"the package {name} has an invalid digest or path")
    source, source_version = name, ""
    if match := _SOURCE.match(get("Source", "")):
        source, source_version = match.group(1), match.group(2) or ""
    return Row(
        name, version, architecture, path, size, sha256, source, source_version or version,
        _joined(get("Pre-Depends"), get("Depends")), _joined(get("Conflicts"), get("Breaks")),
        get("Provides", ""), priority_rank(get("Priority", "optional")),
    )  # fmt: skip


def priority_rank(priority: str) -> int:
    """Return the rank of `priority`: 0 required ... 4 extra, 5 unknown."""
    return _PRIORITIES.index(priority) if priority in _PRIORITIES else len(_PRIORITIES)


def damaged(suite: str, reason: str) -> PiimageError:
    """Return the error for what a signed index of `suite` should not have."""
    return PiimageError(
        "debian.index-damaged",
        f"the archive's index cannot be read: {reason}",
        place=suite,
        hint="use another mirror",
    )


def _joined(*relations: str | None) -> str:
    return ", ".join(filter(None, relations))
