"""Loads images into a Docker engine, without the layers that the engine has.

``docker load`` does not open the file of a layer that the engine already has on top of the same
layers, so the archive omits those files. Source: Moby, image/tarexport/load.go. An engine with
its images in containerd refuses such an archive, and then gets all layers.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

import docker
from docker.errors import APIError, ImageLoadError

from piimage.oci.layout import Image
from piimage.store import CHUNK, Blob, Store
from piimage.trees import Entry, Kind, Tree, file, tar_chunks

Chain = tuple[str, ...]
"""The digests of unpacked layers, from the lowest to the last."""

_FOLDER: Final = "piimage"


@dataclass(frozen=True)
class Engine:
    """The images of an engine; `store` has the blobs to load."""

    client: docker.DockerClient
    store: Store

    def chains(self) -> frozenset[Chain]:
        """Return every chain of layers that the engine has."""
        chains: set[Chain] = set()
        for image in self.client.images.list():
            layers = tuple((image.attrs.get("RootFS") or {}).get("Layers") or ())
            chains.update(layers[:count] for count in range(1, len(layers) + 1))
        return frozenset(chains)

    def missing(self, image: Image, chains: Collection[Chain]) -> tuple[Blob, ...]:
        """Return the layers of `image` that an engine with `chains` does not have."""
        diff_ids = tuple(diff_id for _, diff_id in image.layers)
        return tuple(
            layer.blob
            for number, (layer, _) in enumerate(image.layers, start=1)
            if diff_ids[:number] not in chains
        )

    def load(self, image: Image, name: str) -> int:
        """Load `image` under the name `name`; return how many bytes were sent."""
        absent = self.missing(image, self.chains())
        try:
            return self._send(image, name, absent)
        except (APIError, ImageLoadError):
            all_layers = tuple(layer.blob for layer, _ in image.layers)
            if absent == all_layers:
                raise
            return self._send(image, name, all_layers)

    def _send(self, image: Image, name: str, layers: Collection[Blob]) -> int:
        counter = _Counter()
        archive = counter.over(tar_chunks(self._archive(image, name, layers)))
        self.client.images.load(archive)  # type: ignore[arg-type]  # requests streams an iterator
        return counter.count

    def _archive(self, image: Image, name: str, layers: Collection[Blob]) -> Tree:
        config = image.manifest.config.blob
        listed = {
            "Config": f"{config.sha256}.json",
            "RepoTags": [name],
            "Layers": [f"{layer.blob.sha256}.tar" for layer, _ in image.layers],
        }
        yield file("manifest.json", json.dumps([listed]).encode())
        yield self._stored(f"{config.sha256}.json", config)
        for blob in dict.fromkeys(layers):
            yield self._stored(f"{blob.sha256}.tar", blob)

    def _stored(self, path: str, blob: Blob) -> Entry:
        return Entry(path, Kind.FILE, size=blob.size, content=lambda: self._content(blob))

    def _content(self, blob: Blob) -> Iterator[bytes]:
        with self.store.verified(blob).open("rb") as stream:
            while chunk := stream.read(CHUNK):
                yield chunk


class _Counter:
    """Counts bytes."""

    def __init__(self) -> None:
        self.count = 0

    def over(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self.count += len(chunk)
            yield chunk


def image_name(service: str, image: Image) -> str:
    """Return the name for the image of a service in an engine."""
    return f"{_FOLDER}/{service.lower()}:{image.manifest.config.blob.sha256[:16]}"
