"""The image of a container folder with a Dockerfile, built by buildx for one platform."""

from __future__ import annotations

import os

from piimage.lock import Lock
from piimage.locking.inputs import Inputs
from piimage.oci.engine import Build
from piimage.oci.models import Platform
from piimage.oci.pack import PackedLayer
from piimage.pkg.composing import Parts
from piimage.pkg.locking import base_images
from piimage.pkg.source import Dockerfile, Source
from piimage.plan.composed import dockerfile_labels


def build_dockerfile(source: Source, platform: Platform, lock: Lock, inputs: Inputs) -> Parts:
    """Build `source` on the base images of `lock`, which are pulled if need be.

    Raises what `Engine.build` and `Registry.pull` raise.
    """
    recipe = source.recipe
    assert isinstance(recipe, Dockerfile)  # noqa: S101  # folders with a service.yml are composed
    names = base_images(source)
    pins = [lock.image(name) for name in names]
    bases = inputs.images().have(pins, platform)
    relative = os.path.relpath(recipe.path, recipe.context)
    build = Build(recipe.context, bases, relative, recipe.arguments, platform)
    image = inputs.engine().build(build)
    layers = tuple(PackedLayer(part, diff_id) for part, diff_id in image.layers)
    execution = image.config.execution
    labels = dockerfile_labels(source.name, execution.labels, bases)
    return Parts(platform, layers, execution, labels, lock, ())
