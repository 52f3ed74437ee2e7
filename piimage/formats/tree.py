"""Writes the whole root as one tar: the system as one tree, each container in /containers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from piimage.compose.layers import Layer, LayerTar
from piimage.container.rootfs import LayerNotes
from piimage.durable import write_chunks
from piimage.oci.layers import OPAQUE_XATTR, is_hidden, is_whiteout
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
    for plan in version.containers.containers:
        root = f"{CONTAINERS}/{plan.kind}/{plan.folder}/rootfs"
        yield folder(root)
        yield from _moved_to(root, merged(plan.layers, job))


def merged(layers: Sequence[Layer], job: Job) -> Iterator[Entry]:
    """Give the merged entries of `layers`, lowest first, without those that an upper one hides.

    A folder of several layers occurs once for each; the mode of the last one counts.
    """
    notes = [layer.notes(job) for layer in layers]
    for number, layer in enumerate(layers):
        hidden = Cover(notes[number + 1 :])
        with job.file(LayerTar(layer), "tar").open("rb") as stream:
            for entry in read_tar(stream, layer.title):
                if not is_whiteout(entry) and not hidden.covers(entry):
                    yield _plain(entry)


class Cover:
    """The paths of a layer that the layers `above` it hide."""

    def __init__(self, above: Sequence[LayerNotes]) -> None:
        removed = (notes.hidden | notes.files | notes.links.keys() for notes in above)
        self._removed = frozenset[str]().union(*removed)
        self._opaque = frozenset[str]().union(*(notes.opaque for notes in above))
        self._folders = frozenset[str]().union(*(notes.folders for notes in above))

    def covers(self, entry: Entry) -> bool:
        """Tell whether `entry` is hidden."""
        if entry.kind is not Kind.DIRECTORY and entry.path in self._folders:
            return True
        return is_hidden(entry.path, self._removed, self._opaque)


def _plain(entry: Entry) -> Entry:
    if OPAQUE_XATTR not in entry.xattrs:
        return entry
    kept = {name: data for name, data in entry.xattrs.items() if name != OPAQUE_XATTR}
    return replace(entry, xattrs=kept)


def _moved_to(target: str, entries: Tree) -> Iterator[Entry]:
    for entry in entries:
        link = f"{target}/{entry.link}" if entry.kind is Kind.HARD_LINK else entry.link
        yield replace(entry, path=f"{target}/{entry.path}", link=link)
