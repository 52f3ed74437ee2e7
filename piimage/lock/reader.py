"""Reading a lock file; every error says at which line and column."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NoReturn, TypeVar

from piimage.debian.package import Package
from piimage.document.nodes import ListNode, MapNode, Node, ScalarNode, parse
from piimage.errors import InputError
from piimage.lock.model import (
    VERSION,
    Lock,
    LockedEnvironment,
    LockedImage,
    LockedRoot,
    LockedSuite,
    LockedWheel,
)

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_RELATIVE: Final = re.compile(r"(?!/)(?!.*://)(?!(?:.*/)?\.\.(?:/|$))[!-~]+")
_NAME: Final = re.compile(r"[!-~]+")
_MACHINE: Final = re.compile(r"arm64|amd64")
_MINOR: Final = re.compile(r"[0-9]+\.[0-9]+")
_FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!~-]*\.(?:whl|tar\.gz)")
_REMAKE: Final = "restore it, or write a new one with piimage lock --update; do not edit it by hand"
_T = TypeVar("_T")


def read_lock(path: Path) -> Lock:
    """Read the lock file at `path`.

    Raises InputError, each with ``file:line:column``: ``lock.absent``; ``lock.syntax`` if the text
    is not YAML; ``lock.version`` if another version of piimage wrote it; ``lock.field`` if a value
    has a wrong form; ``lock.duplicate`` if a key is listed twice; ``lock.dangling`` if a root names
    a package that is not pinned.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(
            "lock.absent", "there is no lock file", place=str(path), hint="run piimage lock"
        ) from None
    except OSError as error:
        raise InputError(
            "lock.syntax", f"cannot be read: {error}", place=str(path), hint=_REMAKE
        ) from error
    return parse_lock(data, str(path))


def parse_lock(data: bytes, place: str) -> Lock:
    """Read the lock in `data`; `place` names it in errors, which are those of `read_lock`."""
    return _Reader(place).lock(data)


@dataclass(frozen=True)
class _Reader:
    """Turns YAML nodes into a lock."""

    place: str

    def lock(self, data: bytes) -> Lock:
        node = self._document(data)
        top = self._mapping(node)
        self._version(node, top)
        lock = Lock(
            suites=self._items(top, "suites", self._suite),
            roots=self._items(top, "roots", self._root),
            packages=self._items(top, "packages", self._package),
            images=self._items(top, "images", self._image),
            environments=self._items(top, "environments", self._environment),
            wheels=self._items(top, "wheels", self._wheel),
        )
        self._check_roots(lock, top)
        return lock

    def _document(self, data: bytes) -> Node | None:
        try:
            node, errors = parse(data, self.place)
        except InputError as error:
            raise _syntax(error) from error
        for first in errors:
            raise _duplicate(first) if first.code == "config.duplicate-key" else _syntax(first)
        return node

    def _version(self, node: Node | None, top: Mapping[str, Node]) -> None:
        if self._text(self._field(node, top, "version")) != str(VERSION):
            raise InputError(
                "lock.version",
                f"the lock does not have version {VERSION}",
                place=self._at(top["version"]),
                hint="use the piimage that wrote it, or run piimage lock --update",
            )

    def _items(
        self,
        top: Mapping[str, Node],
        section: str,
        read: Callable[[str, Node, Mapping[str, Node]], _T],
    ) -> tuple[_T, ...]:
        if section not in top:
            return ()
        return tuple(
            read(name, node, self._mapping(node))
            for name, node in self._mapping(top[section]).items()
        )

    def _suite(self, name: str, node: Node, fields: Mapping[str, Node]) -> LockedSuite:
        date = self._field(node, fields, "date")
        try:
            moment = datetime.strptime(self._text(date), "%Y-%m-%dT%H:%M:%SZ")
        except ValueError:
            self._refuse(date, "a date such as 2026-01-31T12:00:00Z")
        return LockedSuite(
            name,
            self._words(self._field(node, fields, "components")),
            moment.replace(tzinfo=UTC),
            self._matching(self._field(node, fields, "sha256"), _SHA256, "a SHA-256 digest"),
        )

    def _root(self, name: str, node: Node, fields: Mapping[str, Node]) -> LockedRoot:
        return LockedRoot(
            name,
            self._words(self._field(node, fields, "asks")),
            self._words(self._field(node, fields, "without")),
            self._matching(self._field(node, fields, "architecture"), _NAME, "an architecture"),
            self._words(self._field(node, fields, "packages")),
        )

    def _package(self, key: str, node: Node, fields: Mapping[str, Node]) -> Package:
        name, colon, architecture = key.partition(":")
        if not (name and colon and architecture):
            self._refuse(node, "a key name:architecture")
        text = {
            field: self._matching(self._field(node, fields, field), _NAME, f"a {field}")
            for field in ("version", "suite", "source", "source_version")
        }
        return Package(
            name=name,
            architecture=architecture,
            path=self._path(node, fields),
            size=self._size(node, fields),
            sha256=self._matching(self._field(node, fields, "sha256"), _SHA256, "a SHA-256 digest"),
            **text,
        )

    def _image(self, name: str, node: Node, fields: Mapping[str, Node]) -> LockedImage:
        return LockedImage(
            name,
            self._matching(self._field(node, fields, "digest"), _DIGEST, "a digest"),
            self._matching(self._field(node, fields, "manifest"), _DIGEST, "a digest"),
            self._words(fields["granted"]) if "granted" in fields else (),
        )

    def _environment(self, name: str, node: Node, fields: Mapping[str, Node]) -> LockedEnvironment:
        return LockedEnvironment(
            name,
            self._words(self._field(node, fields, "asks")),
            self._matching(self._field(node, fields, "architecture"), _MACHINE, "arm64 or amd64"),
            self._matching(self._field(node, fields, "python"), _MINOR, "a version such as 3.13"),
            self._matching(self._field(node, fields, "glibc"), _MINOR, "a version such as 2.41"),
            self._words(self._field(node, fields, "wheels")),
            self._words(fields["sources"]) if "sources" in fields else (),
        )

    def _wheel(self, filename: str, node: Node, fields: Mapping[str, Node]) -> LockedWheel:
        if _FILE.fullmatch(filename) is None:
            self._refuse(node, "the file name of a wheel or a source archive as the key")
        return LockedWheel(
            self._matching(self._field(node, fields, "name"), _NAME, "a name"),
            self._matching(self._field(node, fields, "version"), _NAME, "a version"),
            filename,
            self._size(node, fields),
            self._matching(self._field(node, fields, "sha256"), _SHA256, "a SHA-256 digest"),
        )

    def _path(self, node: Node, fields: Mapping[str, Node]) -> str:
        return self._matching(self._field(node, fields, "path"), _RELATIVE, "a relative path")

    def _size(self, node: Node, fields: Mapping[str, Node]) -> int:
        digits = re.compile(r"[0-9]{1,15}")
        return int(self._matching(self._field(node, fields, "size"), digits, "a number of bytes"))

    def _check_roots(self, lock: Lock, top: Mapping[str, Node]) -> None:
        for root in lock.roots:
            self._check_pinned("roots", root.name, root.packages, lock.by_key, top)
        wheels = {wheel.filename for wheel in lock.wheels}
        for environment in lock.environments:
            names = environment.wheels
            self._check_pinned("environments", environment.name, names, wheels, top)

    def _check_pinned(
        self,
        section: str,
        name: str,
        keys: Iterable[str],
        known: Container[str],
        top: Mapping[str, Node],
    ) -> None:
        for key in keys:
            if key not in known:
                raise InputError(
                    "lock.dangling",
                    f"{name} names {key}, which the lock does not pin",
                    place=self._at(self._mapping(top[section])[name]),
                    hint=_REMAKE,
                )

    def _mapping(self, node: Node | None) -> dict[str, Node]:
        if not isinstance(node, MapNode):
            self._refuse(node, "a mapping")
        return node.items

    def _field(self, node: Node | None, fields: Mapping[str, Node], name: str) -> Node:
        if name not in fields:
            self._refuse(node, f"a field {name}")
        return fields[name]

    def _words(self, node: Node) -> tuple[str, ...]:
        if not isinstance(node, ListNode):
            self._refuse(node, "a list")
        return tuple(self._text(item) for item in node.items)

    def _text(self, node: Node) -> str:
        if not isinstance(node, ScalarNode):
            self._refuse(node, "a text")
        return node.text

    def _matching(self, node: Node, form: re.Pattern[str], expected: str) -> str:
        text = self._text(node)
        if form.fullmatch(text) is None:
            self._refuse(node, expected)
        return text

    def _refuse(self, node: Node | None, expected: str) -> NoReturn:
        raise InputError("lock.field", f"expected {expected}", place=self._at(node), hint=_REMAKE)

    def _at(self, node: Node | None) -> str:
        return str(node.at) if node is not None else f"{self.place}:1:1"


def _syntax(error: InputError) -> InputError:
    return InputError("lock.syntax", error.message, place=error.place, hint=_REMAKE)


def _duplicate(error: InputError) -> InputError:
    return InputError("lock.duplicate", error.message, place=error.place, hint=_REMAKE)
