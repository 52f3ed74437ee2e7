from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import docker
import pytest

from piimage.deploy.docker_images import Engine
from piimage.deploy.docker_services import DockerServices, FarSide
from piimage.errors import PiimageError
from piimage.store import Store
from tests.unit.deploy.services import digest, image, workload


class OldPi:
    """An engine of a 32-bit system, as far as it is asked; no such engine runs here."""

    @property
    def containers(self) -> Any:
        return self

    def get(self, name: str) -> None:
        raise docker.errors.NotFound(name)

    def list(self, **options: object) -> list[Any]:
        return []

    def info(self) -> dict[str, str]:
        return {"Architecture": "armv7l"}

    def version(self) -> dict[str, str]:
        return {"Version": "20.10"}


@pytest.mark.provokes("deploy.engine-architecture")
def test_a_32_bit_system_is_refused(tmp_path: Path) -> None:
    client = cast("docker.DockerClient", OldPi())
    target = DockerServices("pi@shed", client, cast("FarSide", None), Store(tmp_path))
    with pytest.raises(PiimageError, match="armv7l, but the containers are for arm64"):
        list(target.deploy((workload(),)))


def test_only_layers_that_lie_on_other_layers_are_missing(tmp_path: Path) -> None:
    engine = Engine(cast("docker.DockerClient", None), Store(tmp_path))
    found = engine.missing(image("abc"), {(digest("a"),), (digest("b"), digest("c"))})
    assert [blob.sha256[0] for blob in found] == ["b", "c"]
