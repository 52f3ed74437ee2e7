"""Workloads without a build."""

from __future__ import annotations

from typing import Any

from piimage.config.container import ContainerConfig, merge, secure_defaults
from piimage.container.rootfs import ProcessUser, Root
from piimage.container.spec import Container
from piimage.deploy.workloads import Workload
from piimage.oci.layout import Image
from piimage.oci.models import (
    CONFIG,
    LAYER_GZIP,
    MANIFEST,
    Descriptor,
    Execution,
    ImageConfig,
    Manifest,
    RootFileSystem,
)


def digest(letter: str) -> str:
    return f"sha256:{letter * 64}"


def image(layers: str = "ab") -> Image:
    """An image whose layers have the digests that the letters stand for."""
    parts = tuple(
        Descriptor(media_type=LAYER_GZIP, digest=digest(letter), size=100) for letter in layers
    )
    config = Descriptor(media_type=CONFIG, digest=digest("c"), size=10)
    rootfs = RootFileSystem(diff_ids=tuple(digest(letter) for letter in layers))
    return Image(
        Descriptor(media_type=MANIFEST, digest=digest("d"), size=10),
        Manifest(config=config, layers=parts),
        ImageConfig(os="linux", architecture="arm64", rootfs=rootfs),
    )


def workload(name: str = "bmp280", user: ProcessUser | None = None, **fields: Any) -> Workload:
    """A service for which the file says `fields`."""
    config = merge(secure_defaults(), ContainerConfig.model_validate(fields))
    container = Container(
        name, "services", name, config, Execution(entrypoint=("/bin/x",)), Root([]), ("aa",),
        f"services.{name}",
    )  # fmt: skip
    return Workload(container, user or ProcessUser(), image())
