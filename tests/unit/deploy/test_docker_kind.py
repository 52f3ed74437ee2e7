from __future__ import annotations

from typing import Any, cast

import docker
import pytest

from piimage.deploy.docker_kind import EngineKind, ask_kind

ROOTLESS = ["name=seccomp,profile=default", "name=rootless"]
DOCKER = [{"Name": "Engine"}, {"Name": "containerd"}, {"Name": "rootlesskit"}]
PODMAN = [{"Name": "Podman Engine"}, {"Name": "Conmon"}]


class Answering:
    """An engine, as far as it describes itself."""

    def __init__(self, options: object, components: object) -> None:
        self.options, self.components = options, components

    def info(self) -> dict[str, Any]:
        return {"Architecture": "aarch64", "SecurityOptions": self.options}

    def version(self) -> dict[str, Any]:
        return {"Components": self.components}


@pytest.mark.parametrize(
    ("options", "components", "kind"),
    [
        (["name=seccomp"], DOCKER, EngineKind("aarch64")),
        (None, None, EngineKind("aarch64")),
        (ROOTLESS, DOCKER, EngineKind("aarch64", is_rootless=True)),
        (ROOTLESS, PODMAN, EngineKind("aarch64", is_podman=True, is_rootless=True)),
        ([], PODMAN, EngineKind("aarch64", is_podman=True)),
    ],
)
def test_an_engine_describes_itself(options: object, components: object, kind: EngineKind) -> None:
    assert ask_kind(cast("docker.DockerClient", Answering(options, components))) == kind


def test_only_podman_reads_profiles_and_only_rootless_docker_has_a_network_of_its_own() -> None:
    kinds = [
        EngineKind("x", podman, rootless) for podman in (False, True) for rootless in (False, True)
    ]
    assert [kind.reads_profiles for kind in kinds] == [False, False, True, True]
    assert [kind.has_own_network for kind in kinds] == [False, True, False, False]
