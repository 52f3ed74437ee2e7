"""Reads a foreign image layer as the entries of an overlayfs layer.

Sources: OCI image-spec 1.1, layer.md (whiteouts, opaque whiteouts); the kernel's
Documentation/filesystems/overlayfs.rst (a whiteout is a character device 0:0, an opaque folder has
the xattr ``trusted.overlay.opaque`` = ``y``). mksquashfs takes both from a PAX tar, without root.
Measured on Linux 6.18: an overlay mounted inside a user namespace honours the whiteouts, but not
this xattr (there it would have to be ``user.overlay.opaque``); the Pi mounts as root.

Device nodes of an image are left out: a container has only the devices that its entry names. The
path that a node replaced stays hidden.

A layer is read twice: `scan` checks all of it before `layer_tree` gives the first entry, because a
stream cannot take back what a later member of the tar replaces or hides.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from piimage.errors import PiimageError
from piimage.oci.stream import MAX_UNPACKED, layer_bomb, layer_damaged, layer_stream
from piimage.run import Runner
from piimage.trees import Entry, Kind, Placement, read_tar, too_many

WHITEOUT_PREFIX: Final = ".wh."
OPAQUE_MARK: Final = ".wh..wh..opq"
OPAQUE_XATTR: Final = "trusted.overlay.opaque"
_NODES: Final = (Kind.CHARACTER, Kind.BLOCK)
_AUFS_PREFIX: Final = ".wh..wh."
_OVERLAY_XATTRS: Final = ("trusted.overlay.", "user.overlay.")
_MAX_NAMES: Final = 16 << 20
"""Bytes of the names, links and folders' attributes of a layer: real ones have a few million."""
_KEPT_XATTRS: Final = ("user.", "trusted.", "security.capability")


@dataclass(frozen=True, slots=True)
class Owner:
    """A folder's mode, owner and extended attributes."""

    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    xattrs: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Scan:
    """The content and removals of a layer, with the paths of the tar.

    `files` are entries that are neither folders nor links, `implied` the parent folders without an
    entry of their own, and `superseded` the numbers of tar members that a later member with the
    same path replaces.
    """

    folders: Mapping[str, Owner]
    links: Mapping[str, str]
    files: frozenset[str]
    implied: frozenset[str]
    removed: frozenset[str]
    opaque: frozenset[str]
    superseded: frozenset[int]

    def encode(self) -> bytes:
        """Return the scan as JSON for the store."""
        # Most folders share a few combinations of owner and mode; each is written once.
        numbers = {id(owner): number for number, owner in enumerate(self._owners())}
        fields = {
            "owners": [_encode_owner(owner) for owner in self._owners()],
            "folders": {path: numbers[id(owner)] for path, owner in self.folders.items()},
            "links": dict(self.links),
            "files": sorted(self.files),
            "implied": sorted(self.implied),
            "removed": sorted(self.removed),
            "opaque": sorted(self.opaque),
            "superseded": sorted(self.superseded),
        }
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()

    def _owners(self) -> list[Owner]:
        return list({id(owner): owner for owner in self.folders.values()}.values())

    @staticmethod
    def decode(data: bytes) -> Scan:
        """Read the result of `encode`."""
        fields: Mapping[str, Any] = json.loads(data)
        owners = [_decode_owner(owner) for owner in fields["owners"]]
        return Scan(
            {path: owners[number] for path, number in fields["folders"].items()},
            fields["links"],
            frozenset(fields["files"]),
            frozenset(fields["implied"]),
            frozenset(fields["removed"]),
            frozenset(fields["opaque"]),
            frozenset(fields["superseded"]),
        )


def _encode_owner(owner: Owner) -> list[object]:
    xattrs = {name: base64.b64encode(data).decode() for name, data in owner.xattrs.items()}
    return [owner.mode, owner.uid, owner.gid, xattrs]


def _decode_owner(fields: Sequence[Any]) -> Owner:
    mode, uid, gid, xattrs = fields
    return Owner(mode, uid, gid, {name: base64.b64decode(text) for name, text in xattrs.items()})


def scan(runner: Runner, path: Path, diff_id: str, origin: str) -> Scan:
    """Read the layer at `path` to its end and check all of it.

    Raises PiimageError ``oci.diff-id`` if it does not unpack to `diff_id`,
    ``oci.layer-damaged``, ``oci.layer-bomb``, ``oci.whiteout`` for a whiteout without a
    name, and the errors of `piimage.trees.read_tar`.
    """
    reader = _Scanner(origin)
    with layer_stream(runner, path, origin) as stream:
        for number, entry in enumerate(read_tar(stream, origin)):
            reader.take(number, entry)
        found = stream.diff_id()
    if found != diff_id:
        raise PiimageError(
            "oci.diff-id",
            f"the layer unpacks to {found}, but the image states {diff_id}",
            place=origin,
            hint="build and push the image again: it is damaged or was altered",
        )
    return reader.result()


class _Scanner:
    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._size = 0
        self._names = 0
        self._owners: dict[tuple[int, int, int], Owner] = {}
        self._folders: dict[str, Owner] = {}
        self._links: dict[str, str] = {}
        self._removed: set[str] = set()
        self._opaque: set[str] = set()
        self._used: set[str] = set()
        self._last: dict[str, int] = {}
        self._nodes: set[str] = set()
        self._superseded: set[int] = set()

    def take(self, number: int, entry: Entry) -> None:
        self._size += entry.size
        if self._size > MAX_UNPACKED:
            raise layer_bomb(self._origin)
        parent, _, name = entry.path.rpartition("/")
        self._use(parent)
        self._count(len(entry.path) + len(entry.link))
        if name == OPAQUE_MARK:
            self._opaque.add(parent)
        elif name.startswith(_AUFS_PREFIX):
            return  # metadata of aufs, without meaning in an image
        elif name.startswith(WHITEOUT_PREFIX):
            self._removed.add(_hidden(parent, name, self._origin))
        elif is_whiteout(entry):
            self._removed.add(entry.path)
        elif is_node(entry, self._nodes):
            self._drop(entry.path)
        else:
            self._keep(number, entry)

    def _drop(self, path: str) -> None:
        self._forget(path)
        self._nodes.add(path)
        self._removed.add(path)

    def _owner(self, entry: Entry) -> Owner:
        xattrs = kept_xattrs(entry)
        owner = Owner(entry.mode, entry.uid, entry.gid, xattrs)
        if xattrs:
            self._count(sum(map(len, xattrs.values())))
            return owner
        return self._owners.setdefault((owner.mode, owner.uid, owner.gid), owner)

    def _use(self, folder: str) -> None:
        """Note that `folder` and each folder above it exist."""
        while folder and folder not in self._used:
            self._used.add(folder)
            self._count(len(folder))
            folder = folder.rpartition("/")[0]

    def _count(self, size: int) -> None:
        self._names += size
        if self._names > _MAX_NAMES:
            raise too_many(f"its names have more than {_MAX_NAMES} bytes in total")

    def _keep(self, number: int, entry: Entry) -> None:
        path = entry.path
        self._forget(path)
        self._last[path] = number
        if entry.kind is Kind.DIRECTORY:
            self._folders[path] = self._owner(entry)
        elif entry.kind is Kind.SYMLINK:
            self._links[path] = entry.link

    def _forget(self, path: str) -> None:
        """Forget an earlier member of the tar that had this path."""
        if path in self._last:
            self._superseded.add(self._last.pop(path))
        self._folders.pop(path, None)
        self._links.pop(path, None)
        self._nodes.discard(path)

    def result(self) -> Scan:
        implied = self._used - self._folders.keys() - self._links.keys()
        return Scan(
            self._folders,
            self._links,
            frozenset(self._last.keys() - self._folders.keys() - self._links.keys()),
            frozenset(implied),
            frozenset(self._removed),
            frozenset(self._opaque),
            frozenset(self._superseded),
        )


def is_whiteout(entry: Entry) -> bool:
    """Return whether `entry` is a whiteout in overlayfs's form."""
    return entry.kind is Kind.CHARACTER and entry.device == (0, 0)


def is_node(entry: Entry, nodes: Container[str]) -> bool:
    """Return whether `entry` is a device node, or a hard link to one of `nodes`."""
    return entry.kind in _NODES or (entry.kind is Kind.HARD_LINK and entry.link in nodes)


def kept_xattrs(entry: Entry) -> dict[str, bytes]:
    """Return the attributes that an image may set: none of overlayfs or of the build host."""
    return {
        name: data
        for name, data in entry.xattrs.items()
        if name.startswith(_KEPT_XATTRS) and not name.startswith(_OVERLAY_XATTRS)
    }


def _hidden(parent: str, name: str, origin: str) -> str:
    hidden = name.removeprefix(WHITEOUT_PREFIX)
    if hidden in ("", ".", ".."):
        raise PiimageError(
            "oci.whiteout",
            f"the whiteout {name!r} has no file name",
            place=origin,
            hint="do not use this image: no honest tool writes such a name",
        )
    return f"{parent}/{hidden}" if parent else hidden


def _ancestors(path: str) -> Iterator[str]:
    """Give the folders above `path`, outermost first, the root ("") included."""
    yield ""
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)


@dataclass(frozen=True)
class LowerTree:
    """The visible tree of the lower layers: folders, links, and the names in the root."""

    folders: Mapping[str, Owner] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    tops: frozenset[str] = frozenset()


class _Lens:
    """The paths of a layer, with the links of the lower layers followed."""

    def __init__(self, lower: LowerTree, layer: Scan) -> None:
        seen = {
            path: target
            for path, target in lower.links.items()
            if path not in layer.folders and not is_hidden(path, layer.removed, layer.opaque)
        }
        self._placement = Placement()
        self._placement.assume(seen | dict(layer.links))
        self.folders = {self.real(path): owner for path, owner in layer.folders.items()}
        self.links = {self.real(path): target for path, target in layer.links.items()}
        self.files = {self.real(path) for path in layer.files}
        self.implied = {self.inside(path) for path in layer.implied} - self.folders.keys()
        self.removed = {self.real(path) for path in layer.removed}
        self.opaque = {self.inside(path) for path in layer.opaque}

    def real(self, path: str) -> str:
        """Return `path` with the links among its parents followed."""
        return self._placement.real(path)

    def inside(self, path: str) -> str:
        """Return the folder that `path` leads to."""
        return self.real(f"{path}/x").rpartition("/")[0] if path else ""


def is_hidden(path: str, removed: Container[str], opaque: Container[str]) -> bool:
    """Return whether an overlayfs layer hides `path` of the lower layers.

    `removed` are the layer's whiteouts and its entries that replace files and folders, `opaque` its
    opaque folders.
    """
    return path in removed or any(a in removed or a in opaque for a in _ancestors(path))


def lower_tree(layers: Iterable[Scan]) -> LowerTree:
    """Return the visible tree of `layers`, lowest first."""
    shown = LowerTree()
    for layer in layers:
        lens = _Lens(shown, layer)
        hidden = lens.removed | lens.links.keys() | lens.files
        folders = {
            path: owner
            for path, owner in shown.folders.items()
            if not is_hidden(path, hidden, lens.opaque)
        }
        links = {
            path: target
            for path, target in shown.links.items()
            if path not in lens.folders and not is_hidden(path, hidden, lens.opaque)
        }
        implied = {path: folders.get(path, Owner()) for path in lens.implied}
        tops = frozenset() if "" in lens.opaque else shown.tops - lens.removed
        here = (*lens.folders, *lens.links, *lens.files, *lens.implied)
        tops |= {path.partition("/")[0] for path in here}
        shown = LowerTree(folders | implied | lens.folders, links | lens.links, tops)
    return shown


def layer_tree(
    runner: Runner, path: Path, layer: Scan, shown: LowerTree, origin: str
) -> Iterator[Entry]:
    """Give the entries of an overlayfs layer for the scanned image layer at `path`.

    `shown` is the tree of the lower layers: a path through one of its links leads to the link's
    target, and a folder without an entry in this layer keeps its owner and mode from there. Raises
    PiimageError ``oci.layer-damaged`` for a file below a file, or a hard link without a target.
    """
    with layer_stream(runner, path, origin) as stream:
        entries = read_tar(stream, origin)
        kept = (e for number, e in enumerate(entries) if number not in layer.superseded)
        yield from _Writer(layer, shown, origin).entries(kept)


class _Writer:
    def __init__(self, layer: Scan, shown: LowerTree, origin: str) -> None:
        self._lens = _Lens(shown, layer)
        self._shown = shown
        self._origin = origin
        self._given: dict[str, Kind] = {}
        self._nodes: set[str] = set()
        stated = self._lens.folders.keys() | self._lens.implied
        self._removed = set(self._lens.removed)
        if "" in self._lens.opaque:
            # The layer cannot set attributes of the root: hide each name in the root instead.
            self._removed |= shown.tops
        self._opaque = self._lens.opaque | (self._removed & stated)

    def entries(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        for entry in entries:
            name = entry.path.rpartition("/")[2]
            if name.startswith(WHITEOUT_PREFIX) or is_whiteout(entry):
                continue
            if is_node(entry, self._nodes):
                self._nodes.add(entry.path)
                continue
            self._nodes.discard(entry.path)
            yield from self._with_folders(entry)
        used = self._opaque | self._lens.implied
        for path in sorted(used - self._given.keys() - {""}):
            yield from self._folders(f"{path}/x")
        for path in sorted(self._removed - self._given.keys()):
            yield from self._whiteout(path)

    def _with_folders(self, entry: Entry) -> Iterator[Entry]:
        path = self._lens.real(entry.path)
        yield from self._folders(path)
        if entry.kind is Kind.DIRECTORY:
            yield from self._folders(f"{path}/x")
            return
        if path in self._given:
            raise layer_damaged(f"/{path} comes twice", self._origin)
        link = entry.link
        if entry.kind is Kind.HARD_LINK:
            link = self._lens.real(entry.link)
            if self._given.get(link, Kind.DIRECTORY) is Kind.DIRECTORY:
                raise layer_damaged(
                    f"/{path} is a hard link to /{link}, which is not a file", self._origin
                )
        self._given[path] = entry.kind
        yield replace(entry, path=path, link=link, xattrs=kept_xattrs(entry))

    def _folders(self, path: str) -> Iterator[Entry]:
        """Give the folders above `path` that were not yet given."""
        for folder in _ancestors(path):
            kind = self._given.get(folder)
            if kind not in (None, Kind.DIRECTORY):
                raise layer_damaged(f"/{folder} is both a file and a folder", self._origin)
            if folder and kind is None:
                self._given[folder] = Kind.DIRECTORY
                yield self._folder(folder)

    def _folder(self, path: str) -> Entry:
        known = {} if is_hidden(path, self._removed, self._lens.opaque) else self._shown.folders
        owner = self._lens.folders.get(path) or known.get(path) or Owner()
        xattrs = dict(owner.xattrs)
        if path in self._opaque:
            xattrs[OPAQUE_XATTR] = b"y"
        return Entry(path, Kind.DIRECTORY, owner.mode, owner.uid, owner.gid, xattrs=xattrs)

    def _whiteout(self, path: str) -> Iterator[Entry]:
        parent = path.rpartition("/")[0]
        # In a folder that no lower layer has, overlayfs would show the device node itself.
        shared = parent in self._shown.folders if parent else path in self._shown.tops
        if shared and not is_hidden(path, self._removed - {path}, self._opaque - {""}):
            yield from self._folders(path)
            yield Entry(path, Kind.CHARACTER, 0)
