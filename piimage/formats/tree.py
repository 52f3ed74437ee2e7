"""Writes the whole root as one tar: the system as one tree, each container in /containers."""

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
    yield from _moved_to(CONTAINERS, merged([version.containers], job))
    for container in version.containers.containers:
        place = f"{CONTAINERS}/{container.kind}/{container.folder}/rootfs"
        yield folder(place)
        yield from _moved_to(place, merged(container.layers, job))


def merged(layers: Sequence[Layer], job: Job) -> Iterator[Entry]:
    """Give the merged entries of `layers`, lowest first, without those that an upper one hides.

    A folder of several layers occurs once for each; the mode of the last one counts.
    """
    notes = [LayerNotes.decode(job.file(layer, "notes").read_bytes()) for layer in layers]
    for number, layer in enumerate(layers):
        hidden = Cover(notes[number + 1 :])
        with job.file(LayerTar(layer), "tar").open("rb") as stream:
            for entry in read_tar(stream, layer.title):
                if not is_whiteout(entry) and not hidden.covers(entry):
                    yield _plain(entry)


class Cover:
    """The paths that upper layers hide in a lower one."""

    def __init__(self, upper: Sequence[LayerNotes]) -> None:
        self._gone = frozenset[str]().union(*(n.hidden | n.files | n.links.keys() for n in upper))
        self._emptied = frozenset[str]().union(*(notes.opaque for notes in upper))
        self._folders = frozenset[str]().union(*(notes.folders for notes in upper))

    def covers(self, entry: Entry) -> bool:
        """Return whether `entry` is hidden."""
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


def _moved_to(place: str, entries: Tree) -> Iterator[Entry]:
    for entry in entries:
        link = f"{place}/{entry.link}" if entry.kind is Kind.HARD_LINK else entry.link
        yield replace(entry, path=f"{place}/{entry.path}", link=link)
