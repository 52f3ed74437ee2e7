"""Writes each container as an OCI image, all in one archive, for any registry or engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from piimage.compose.containers import ContainerPlan
from piimage.compose.layers import Layer, LayerTar
from piimage.config.container import LABEL, portable, to_label, with_user
from piimage.oci.archive import export_archive
from piimage.oci.layout import Image, Layout
from piimage.oci.models import ARM64, LAYER_GZIP, Descriptor, ImageConfig, RootFileSystem
from piimage.oci.pack import pack_layer
from piimage.plan.slot import Version
from piimage.steps import Job, Step
from piimage.store import Blob
from piimage.trees import read_tar


@dataclass(frozen=True)
class ImageLayerArchive(Step):
    """A layer as images have it: outputs ``gzip``, and ``diff-id``, the digest of its tar."""

    tar: LayerTar

    @property
    def title(self) -> str:
        """What is being made."""
        return f"{self.tar.layer.title} (OCI layer)"

    def make(self, job: Job) -> Mapping[str, Blob]:
        """Pack the tar."""
        with job.file(self.tar, "tar").open("rb") as stream:
            packed = pack_layer(job.store, read_tar(stream, self.tar.layer.title))
        note = job.store.add_bytes(packed.diff_id.encode())
        return {"gzip": packed.descriptor.blob, "diff-id": note}


@dataclass(frozen=True)
class Images:
    """``NAME.oci.tar``: an OCI archive with one image per container, under the container's name."""

    def steps(self, version: Version) -> tuple[Step, ...]:
        """Return each layer of the containers as an archive."""
        plans = version.containers.containers
        layers = {layer.key: layer for plan in plans for layer in plan.layers}
        return tuple(_archive(layer) for layer in layers.values())

    def write(self, version: Version, job: Job, name: str, out: Path) -> tuple[Path, ...]:
        """Write the archive."""
        layout = Layout(job.store)
        images = {
            plan.name: image(plan, layout, job).descriptor for plan in version.containers.containers
        }
        target = out / f"{name}.oci.tar"
        export_archive(layout, images, target, version.file_mode)
        return (target,)


def _archive(layer: Layer) -> ImageLayerArchive:
    return ImageLayerArchive(LayerTar(layer))


def image(plan: ContainerPlan, layout: Layout, job: Job) -> Image:
    """Put the image of a container into the store; its label carries the container's config."""
    steps = [_archive(layer) for layer in plan.layers]
    execution = plan.execution
    own = with_user(plan.config, execution.user)
    labels = {**(execution.labels or {}), LABEL: to_label(portable(own))}
    config = ImageConfig(
        os=ARM64.os,
        architecture=ARM64.architecture,
        variant=ARM64.variant,
        config=execution.model_copy(update={"labels": labels}),
        rootfs=RootFileSystem(
            diff_ids=tuple(job.file(step, "diff-id").read_text() for step in steps)
        ),
    )
    layers = [Descriptor.of(LAYER_GZIP, job.blob(step, "gzip")) for step in steps]
    return layout.write_image(config, layers)
