"""What kind of engine answers at a socket: Docker or Podman, of root or of a user.

Both speak the Engine API of Docker, version 1.41; where they differ, a deploy asks here. Sources:
Docker, docs.docker.com/engine/security/rootless; Podman, pkg/api/handlers/compat/info.go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import docker


@dataclass(frozen=True)
class EngineKind:
    """An engine, as it describes itself."""

    machine: str
    """Its architecture, in uname's words or Docker's."""
    is_podman: bool = False
    is_rootless: bool = False

    @property
    def reads_profiles(self) -> bool:
        """Whether a seccomp profile is the path of a file on the engine's machine (Podman).

        Docker takes the profile itself.
        """
        return self.is_podman

    @property
    def has_own_network(self) -> bool:
        """Whether what the engine calls the host's network is a namespace of the engine alone.

        Rootless Docker runs in the namespace that RootlessKit made; rootless Podman has no daemon.
        """
        return self.is_rootless and not self.is_podman


def ask_kind(client: docker.DockerClient) -> EngineKind:
    """Return the kind of the engine that `client` is connected to; raises the SDK's errors."""
    info = client.info()
    options = info.get("SecurityOptions") or ()
    return EngineKind(
        str(info["Architecture"]),
        is_podman="Podman Engine" in _components(client),
        is_rootless="name=rootless" in options,
    )


def _components(client: docker.DockerClient) -> list[str]:
    listed = client.version().get("Components") or ()
    return [str(component.get("Name")) for component in listed]
