"""Writes each container as an OCI image, all in one archive, for any registry or engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from piimage.clock import EPOCH
from piimage.compose.containers import ContainerPlan
from piimage.formats.layers import ImageLayer, packed
from piimage.oci.archive import export_archive
from piimage.oci.layout import Image, Layout
from piimage.oci.models import (
    ARM64,
    CONFIG,
    DOCKER_CONFIG,
    DOCKER_LAYER,
    LAYER_GZIP,
    Descriptor,
    Execution,
    ImageConfig,
    Manifest,
    Platform,
    RootFileSystem,
)
from piimage.oci.pack import PackedLayer
from piimage.plan.slot import Version
from piimage.steps import Job, Step

_CREATED: Final = datetime.fromtimestamp(EPOCH, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Images:
    """``NAME.oci.tar``: an OCI archive with one image per container, under the container's name."""

    def steps(self, version: Version) -> tuple[Step, ...]:
        """Return each layer of the composed containers as images have it."""
        plans = [plan for plan in version.containers.containers if plan.original is None]
        layers = {layer.key: layer for plan in plans for layer in plan.layers}
        return tuple(ImageLayer(layer) for layer in layers.values())

    def write(self, version: Version, job: Job, name: str, out: Path) -> tuple[Path, ...]:
        """Write the archive."""
        layout = Layout(job.store)
        images = {
            plan.name: _in_oci_terms(image(plan, layout, job), layout)
            for plan in version.containers.containers
        }
        target = out / f"{name}.oci.tar"
        export_archive(layout, images, target, version.file_mode)
        return (target,)


def _in_oci_terms(made: Image, layout: Layout) -> Descriptor:
    """Return the manifest of `made` for an OCI archive.

    By a name in such an archive, skopeo finds no manifest with Docker's media types.
    """
    if made.manifest.config.media_type != DOCKER_CONFIG:
        return made.descriptor
    types = {DOCKER_LAYER: LAYER_GZIP, DOCKER_CONFIG: CONFIG}
    config, *layers = (
        part.model_copy(update={"media_type": types.get(part.media_type, part.media_type)})
        for part in (made.manifest.config, *made.manifest.layers)
    )
    return layout.write_manifest(Manifest(config=config, layers=tuple(layers)))


def image(plan: ContainerPlan, layout: Layout, job: Job) -> Image:
    """Put the image of a container into the store, as `piimage pkg` makes it.

    It depends on the container's folder or packages, and not on where it is to run (decision 137).
    """
    if plan.original is None:
        layers = [packed(ImageLayer(layer), job) for layer in plan.layers]
        return finished(layout, ARM64, layers, plan.execution, plan.labels)
    original = layout.image(plan.original)
    if not plan.labels:
        return original
    layers = [PackedLayer(layer, diff_id) for layer, diff_id in original.layers]
    return finished(layout, original.config.platform, layers, plan.execution, plan.labels)


def finished(
    layout: Layout,
    platform: Platform,
    layers: Sequence[PackedLayer],
    execution: Execution,
    labels: Mapping[str, str],
) -> Image:
    """Put an image of `layers`, with these `labels` and no others, into the store."""
    config = ImageConfig(
        os=platform.os,
        architecture=platform.architecture,
        variant=platform.variant,
        created=_CREATED,
        config=execution.model_copy(update={"labels": dict(labels)}),
        rootfs=RootFileSystem(diff_ids=tuple(layer.diff_id for layer in layers)),
    )
    return layout.write_image(config, [layer.descriptor for layer in layers])
