"""The layers of an image as one tree, as the kernel's overlayfs would show them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from piimage.oci.layers import OPAQUE_XATTR, is_hidden, is_whiteout
from piimage.oci.layout import Image
from piimage.oci.steps import ScanLayer, image_layer_tree
from piimage.steps import Job
from piimage.trees import Entry, Kind, Tree

Reader = Callable[[], Tree]
"""Reads the entries of a layer in overlayfs's form; each call reads anew."""


def scans(image: Image) -> tuple[ScanLayer, ...]:
    """Return the steps that `flat_image` needs."""
    return tuple(ScanLayer(layer.blob, diff_id) for layer, diff_id in image.layers)


def flat_image(image: Image, job: Job) -> Iterator[Entry]:
    """Give the merged tree of `image`; the steps of `scans` are made in `job`."""
    steps = scans(image)

    def reader(number: int) -> Reader:
        return lambda: image_layer_tree(job, steps[number], steps[:number])

    return flat([reader(number) for number in range(len(steps))])


def flat(layers: Sequence[Reader]) -> Iterator[Entry]:
    """Give the merged tree of `layers`, lowest first: all folders, then everything else.

    Each layer is read twice, because a stream cannot take back what a later layer hides.
    """
    shown = _Shown()
    for number, read in enumerate(layers):
        shown.lay(number, read())
    for path in sorted(shown.folders):
        yield shown.folders[path]
    for number, read in enumerate(layers):
        yield from shown.rest(number, read())


class _Shown:
    """What is visible: the folders, and the number of the layer of everything else, by path."""

    def __init__(self) -> None:
        self.folders: dict[str, Entry] = {}
        self._owner: dict[str, int] = {}
        self._links: dict[tuple[int, str], list[str]] = {}  # to a path, within a layer

    def lay(self, number: int, tree: Tree) -> None:
        """Put the layer `number` over what is visible."""
        folders, others = dict[str, Entry](), set[str]()
        removed, opaque = set[str](), set[str]()
        for entry in tree:
            if is_whiteout(entry):
                removed.add(entry.path)
            elif entry.kind is Kind.DIRECTORY:
                if OPAQUE_XATTR in entry.xattrs:
                    opaque.add(entry.path)
                folders[entry.path] = _plain(entry)
            else:
                others.add(entry.path)
                if entry.kind is Kind.HARD_LINK:
                    self._links.setdefault((number, entry.link), []).append(entry.path)
        removed |= others
        self.folders = {
            path: entry
            for path, entry in self.folders.items()
            if not is_hidden(path, removed, opaque)
        } | folders
        self._owner = {
            path: owner
            for path, owner in self._owner.items()
            if path not in folders and not is_hidden(path, removed, opaque)
        } | dict.fromkeys(others, number)

    def rest(self, number: int, tree: Tree) -> Iterator[Entry]:
        """Give the visible entries of the layer `number` that are no folders.

        A file that is hidden while a hard link to it is visible takes the place of the link.
        """
        places: dict[str, str] = {}
        for entry in tree:
            if entry.kind is Kind.DIRECTORY or is_whiteout(entry):
                continue
            visible = self._owner.get(entry.path) == number
            if entry.kind is Kind.HARD_LINK:
                target = places.get(entry.link, entry.link)
                if visible and entry.path != target:
                    yield replace(entry, link=target)
                continue
            links = self._links.get((number, entry.path), [])
            heirs = [path for path in links if self._owner.get(path) == number]
            if visible:
                yield entry
            elif heirs:
                places[entry.path] = heirs[0]
                yield replace(entry, path=heirs[0])


def _plain(entry: Entry) -> Entry:
    kept = {name: data for name, data in entry.xattrs.items() if name != OPAQUE_XATTR}
    return replace(entry, xattrs=kept)
