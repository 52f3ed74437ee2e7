"""The parts of a container's root file system on which its configuration depends.

They are noted while a layer is written, so that no layer is unpacked for them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from piimage.errors import InputError
from piimage.oci.layers import OPAQUE_XATTR, is_hidden, is_whiteout
from piimage.trees import Entry, Kind, Placement, Tree

_ACCOUNTS: Final = frozenset({"etc/passwd", "etc/group"})
_MAX_ACCOUNTS: Final = 1 << 20


@dataclass(frozen=True)
class LayerNotes:
    """The paths that one overlayfs layer adds and hides, and the text of its account files."""

    folders: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    links: Mapping[str, str] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    opaque: frozenset[str] = frozenset()
    accounts: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return the notes as JSON, to be kept in the store."""
        fields = {
            "folders": sorted(self.folders),
            "files": sorted(self.files),
            "links": dict(self.links),
            "hidden": sorted(self.hidden),
            "opaque": sorted(self.opaque),
            "accounts": dict(self.accounts),
        }
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()

    @staticmethod
    def decode(data: bytes) -> LayerNotes:
        """Read what `encode` wrote."""
        fields = json.loads(data)
        return LayerNotes(
            frozenset(fields["folders"]),
            frozenset(fields["files"]),
            fields["links"],
            frozenset(fields["hidden"]),
            frozenset(fields["opaque"]),
            fields["accounts"],
        )


class Notebook:
    """Takes the notes of a tree while it is written as a layer."""

    def __init__(self) -> None:
        self._folders: set[str] = set()
        self._files: set[str] = set()
        self._links: dict[str, str] = {}
        self._hidden: set[str] = set()
        self._opaque: set[str] = set()
        self._accounts: dict[str, bytearray] = {}

    def noting(self, tree: Tree) -> Iterator[Entry]:
        """Yield `tree` unchanged."""
        for entry in tree:
            path = entry.path
            if is_whiteout(entry):
                self._hidden.add(path)
            elif entry.kind is Kind.DIRECTORY:
                self._folders.add(path)
                if OPAQUE_XATTR in entry.xattrs:
                    self._opaque.add(path)
            elif entry.kind is Kind.SYMLINK:
                self._links[path] = entry.link
            else:
                self._files.add(path)
            yield self._copied(entry) if path in _ACCOUNTS else entry

    def notes(self) -> LayerNotes:
        """Return the notes, once all of the tree was consumed."""
        accounts = {path: text.decode(errors="replace") for path, text in self._accounts.items()}
        return LayerNotes(
            frozenset(self._folders),
            frozenset(self._files),
            self._links,
            frozenset(self._hidden),
            frozenset(self._opaque),
            accounts,
        )

    def _copied(self, entry: Entry) -> Entry:
        def content() -> Iterator[bytes]:
            copy = self._accounts[entry.path] = bytearray()
            for chunk in entry.content():
                copy.extend(chunk[: _MAX_ACCOUNTS - len(copy)])
                yield chunk

        return replace(entry, content=content)


def notes_of(tree: Tree) -> LayerNotes:
    """Return the notes of a tree that is not written as a layer."""
    notebook = Notebook()
    for entry in notebook.noting(tree):
        for _ in entry.content():
            pass
    return notebook.notes()


@dataclass(frozen=True)
class ProcessUser:
    """The user and groups that a container's process has, by number."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()


class Root:
    """The root file system that layers, lowest first, show together."""

    def __init__(self, layers: Iterable[LayerNotes] = ()) -> None:
        self._kinds: dict[str, Kind] = {}
        self._accounts: dict[str, str] = {}
        links: dict[str, str] = {}
        for layer in layers:
            removed = layer.hidden | layer.files | layer.links.keys()
            for path in [p for p in self._kinds if is_hidden(p, removed, layer.opaque)]:
                del self._kinds[path]
                links.pop(path, None)
                self._accounts.pop(path, None)
            for path in layer.folders:
                links.pop(path, None)
            links |= layer.links
            self._kinds |= dict.fromkeys(layer.folders, Kind.DIRECTORY)
            self._kinds |= dict.fromkeys(layer.files, Kind.FILE)
            self._kinds |= dict.fromkeys(layer.links, Kind.SYMLINK)
            self._accounts |= layer.accounts
        self._placement = Placement()
        self._placement.assume(links)

    def find(self, path: str) -> tuple[str, Kind | None]:
        """Return the path to which `path` leads inside the root, and the kind of entry there."""
        real = self._placement.real(f"{path.strip('/')}/x").rpartition("/")[0]
        return real, Kind.DIRECTORY if not real else self._kinds.get(real)

    def user(self, text: str, place: str) -> ProcessUser:
        """Return the user for ``USER[:GROUP]``, each a name or a number.

        As with other engines, the groups that list the user are its additional groups. Raises
        InputError ``oci.user`` if the root has no such name.
        """
        name, _, group = text.partition(":")
        account = self._account(name, place)
        gid = self._group(group, place) if group else account.gid
        return ProcessUser(account.uid, gid, tuple(g for g in account.groups if g != gid))

    def _account(self, name: str, place: str) -> ProcessUser:
        for fields in self._lines("etc/passwd", 4):
            if name == fields[0] or (name.isdecimal() and fields[2] == name):
                return ProcessUser(int(fields[2]), int(fields[3]), self._groups_of(fields[0]))
        if name.isdecimal():
            return ProcessUser(int(name))
        raise _no_account("user", name, "/etc/passwd", place)

    def _group(self, name: str, place: str) -> int:
        for fields in self._lines("etc/group", 3):
            if name == fields[0]:
                return int(fields[2])
        if name.isdecimal():
            return int(name)
        raise _no_account("group", name, "/etc/group", place)

    def _groups_of(self, user: str) -> tuple[int, ...]:
        groups = {
            int(fields[2]) for fields in self._lines("etc/group", 4) if user in fields[3].split(",")
        }
        return tuple(sorted(groups))

    def _lines(self, path: str, least: int) -> Iterator[list[str]]:
        for line in self._accounts.get(path, "").splitlines():
            fields = line.split(":")
            numbers = fields[2:4] if path == "etc/passwd" else fields[2:3]
            if len(fields) >= least and all(_is_id(number) for number in numbers):
                yield fields


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) < 2**32 - 1


def _no_account(kind: str, name: str, file: str, place: str) -> InputError:
    return InputError(
        "oci.user",
        f"the image has no {kind} {name!r}",
        place=place,
        hint=f"write a number, or a name from the image's {file}",
    )
