"""Small images for the tests of this folder."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence

from piimage.oci.layout import Image, Layout
from piimage.oci.models import (
    ARM64,
    LAYER_GZIP,
    Descriptor,
    Execution,
    ImageConfig,
    Platform,
    RootFileSystem,
)
from piimage.trees import Entry, file, tar_chunks

AMD64 = Platform(os="linux", architecture="amd64")


def layer(layout: Layout, entries: Sequence[Entry]) -> tuple[Descriptor, str]:
    """A gzip layer, made without the code under test, and its diff id."""
    tar = b"".join(tar_chunks(entries))
    blob = layout.store.add_bytes(gzip.compress(tar, mtime=0))
    return Descriptor.of(LAYER_GZIP, blob), f"sha256:{hashlib.sha256(tar).hexdigest()}"


def image(
    layout: Layout,
    *layers: Sequence[Entry],
    platform: Platform = ARM64,
    execution: Execution | None = None,
) -> Image:
    made = [layer(layout, entries) for entries in layers or [[file("etc/motd", b"hello")]]]
    config = ImageConfig(
        os=platform.os,
        architecture=platform.architecture,
        variant=platform.variant,
        config=execution,
        rootfs=RootFileSystem(diff_ids=tuple(diff_id for _, diff_id in made)),
    )
    return layout.write_image(config, [descriptor for descriptor, _ in made])
