from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from piimage.errors import PiimageError
from piimage.oci.pack import pack_tar
from piimage.oci.steps import ScanLayer, image_layer_tree
from piimage.run import Runner
from piimage.steps import Builder, Job, Step
from piimage.store import Blob, Store
from piimage.trees import file, folder, symlink, tar_chunks


@dataclass(frozen=True)
class Listing(Step):
    """A step of a build that wants an image's layer."""

    layer: ScanLayer
    lower: tuple[ScanLayer, ...]

    @property
    def title(self) -> str:
        return "list"

    def make(self, job: Job) -> Mapping[str, Blob]:
        paths = [entry.path for entry in image_layer_tree(job, self.layer, self.lower)]
        return {"list": job.store.add_bytes("\n".join(paths).encode())}


def test_a_build_reads_a_layer_over_those_below_it(store: Store) -> None:
    lower = pack_tar(
        store, tar_chunks([folder("usr"), folder("usr/lib"), symlink("lib", "usr/lib")])
    )
    upper = pack_tar(store, tar_chunks([file("lib/x", b"")]))
    steps = [ScanLayer(layer.descriptor.blob, layer.diff_id) for layer in (lower, upper)]
    listing = Listing(steps[1], (steps[0],))
    job = Builder(store, Runner()).build(listing)
    assert job.file(listing).read_text().split() == ["usr", "usr/lib", "usr/lib/x"]
    assert store.recall(steps[0].key) is not None


def test_a_layer_that_is_not_its_diff_id_stops_the_build(store: Store) -> None:
    layer = pack_tar(store, tar_chunks([folder("a")]))
    with pytest.raises(PiimageError) as caught:
        Builder(store, Runner()).build(ScanLayer(layer.descriptor.blob, "sha256:" + "0" * 64))
    assert caught.value.code == "oci.diff-id"
