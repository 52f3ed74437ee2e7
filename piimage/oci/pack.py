"""Writes trees as OCI layers; the opposite of `layers`.

The gzip stream contains no name and no time, so equal trees give equal layers.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from piimage.oci.layers import OPAQUE_MARK, OPAQUE_XATTR, WHITEOUT_PREFIX, is_whiteout
from piimage.oci.models import LAYER_GZIP, Descriptor
from piimage.store import Store
from piimage.trees import Entry, Kind, Tree, file, tar_chunks

_LEVEL: Final = 6
_GZIP_WINDOW: Final = 31  # zlib writes a gzip header, without a time


@dataclass(frozen=True)
class PackedLayer:
    """A layer in the store: its descriptor for a manifest, its diff ID for a configuration."""

    descriptor: Descriptor
    diff_id: str


def pack_layer(store: Store, tree: Tree) -> PackedLayer:
    """Store `tree` as a gzip layer; overlayfs's whiteouts become those of an image."""
    return pack_tar(store, tar_chunks(image_entries(tree)))


def pack_tar(store: Store, chunks: Iterable[bytes]) -> PackedLayer:
    """Store an uncompressed tar without overlayfs's whiteouts as a gzip layer."""
    unpacked = hashlib.sha256()
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    with store.writing() as (writer, keep):
        for chunk in chunks:
            unpacked.update(chunk)
            writer.write(packer.compress(chunk))
        writer.write(packer.flush())
        blob = keep(None)
    return PackedLayer(Descriptor.of(LAYER_GZIP, blob), f"sha256:{unpacked.hexdigest()}")


def image_entries(tree: Tree) -> Iterator[Entry]:
    """Give the entries of `tree` in the form of an image layer (OCI image-spec, layer.md)."""
    for entry in tree:
        parent, slash, name = entry.path.rpartition("/")
        if is_whiteout(entry):
            yield file(f"{parent}{slash}{WHITEOUT_PREFIX}{name}", b"", 0o600)
        elif entry.kind is Kind.DIRECTORY and OPAQUE_XATTR in entry.xattrs:
            yield _without_mark(entry)
            yield file(f"{entry.path}/{OPAQUE_MARK}", b"", 0o600)
        else:
            yield entry


def _without_mark(entry: Entry) -> Entry:
    xattrs = {name: data for name, data in entry.xattrs.items() if name != OPAQUE_XATTR}
    return Entry(entry.path, Kind.DIRECTORY, entry.mode, entry.uid, entry.gid, xattrs=xattrs)
