"""Which capabilities a container has, and whether they let it administer the system."""

from __future__ import annotations

from collections.abc import Sequence

from piimage.config.container import ContainerConfig
from piimage.config.fields import CAPABILITIES


def capabilities_of(names: Sequence[str] | None) -> list[str]:
    """Return the capabilities that a list means: ``all``, ``none``, or names."""
    if names and names[0] == "all":
        return list(CAPABILITIES)
    return sorted(set(names or ()) - {"none"})


def administers(config: ContainerConfig) -> bool:
    """Say whether the container has CAP_SYS_ADMIN.

    With it a container could undo what hides and protects the kernel's state (it may mount), so
    that is not done for it.
    """
    return "CAP_SYS_ADMIN" in capabilities_of(config.capabilities)
