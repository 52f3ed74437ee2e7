"""The whole root in one tar: the system's layers as one tree, each container below /containers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from piimage.compose.layers import Layer, LayerTar
from piimage.container.rootfs import LayerNotes
from piimage.durable import write_chunks
from piimage.oci.layers import OPAQUE_XATTR, is_whiteout
from piimage.plan.slot import Version
from piimage.steps import Job, Step
from piimage.trees import Entry, Kind, Tree, folder, read_tar, tar_chunks

CONTAINERS = "containers"


@dataclass(frozen=True)
class RootTar:
    """``NAME.tar``."""

    def steps(self, version: Version) -> tuple[Step, ...]:
        """Return each layer as a tar."""
        return tuple(LayerTar(layer) for layer in version.layers)

    def write(self, version: Version, job: Job, name: str, out: Path) -> tuple[Path, ...]:
        """Write the tar."""
        chunks = tar_chunks(_tree(version, job))
        return (write_chunks(out / f"{name}.tar", chunks, version.file_mode),)


def _tree(version: Version, job: Job) -> Iterator[Entry]:
    yield from merged(version.system.layers, job)
    yield folder(CONTAINERS)
    yield from _below(CONTAINERS, merged([version.containers], job))
    for one in version.containers.containers:
        place = f"{CONTAINERS}/{one.kind}/{one.folder}/rootfs"
        yield folder(place)
        yield from _below(place, merged(one.layers, job))


def merged(layers: Sequence[Layer], job: Job) -> Iterator[Entry]:
    """Give what `layers`, lowest first, show together: nothing that an upper one covers.

    A folder that several have comes once for each; the last has the mode that counts.
    """
    notes = [LayerNotes.decode(job.file(layer, "notes").read_bytes()) for layer in layers]
    for number, layer in enumerate(layers):
        hidden = Cover(notes[number + 1 :])
        with job.file(LayerTar(layer), "tar").open("rb") as stream:
            for entry in read_tar(stream, layer.title):
                if not is_whiteout(entry) and not hidden.covers(entry):
                    yield _plain(entry)


class Cover:
    """What the layers above one hide of it."""

    def __init__(self, above: Sequence[LayerNotes]) -> None:
        self._gone = frozenset[str]().union(*(n.hidden | n.files | n.links.keys() for n in above))
        self._emptied = frozenset[str]().union(*(one.opaque for one in above))
        self._folders = frozenset[str]().union(*(one.folders for one in above))

    def covers(self, entry: Entry) -> bool:
        """Say whether `entry` is hidden."""
        path = entry.path
        if path in self._gone or (entry.kind is not Kind.DIRECTORY and path in self._folders):
            return True
        return any(up in self._gone or up in self._emptied for up in _parents(path))


def _parents(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _plain(entry: Entry) -> Entry:
    if OPAQUE_XATTR not in entry.xattrs:
        return entry
    kept = {name: data for name, data in entry.xattrs.items() if name != OPAQUE_XATTR}
    return replace(entry, xattrs=kept)


def _below(place: str, entries: Tree) -> Iterator[Entry]:
    for entry in entries:
        link = f"{place}/{entry.link}" if entry.kind is Kind.HARD_LINK else entry.link
        yield replace(entry, path=f"{place}/{entry.path}", link=link)
