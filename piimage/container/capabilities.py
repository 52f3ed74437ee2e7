"""The capabilities of a container."""

from __future__ import annotations

from collections.abc import Sequence

from piimage.config.container import ContainerConfig
from piimage.config.fields import CAPABILITIES


def capabilities_of(names: Sequence[str] | None) -> list[str]:
    """Return the capabilities for a list of names, or for ``all`` or ``none``."""
    if names and names[0] == "all":
        return list(CAPABILITIES)
    return sorted(set(names or ()) - {"none"})


def administers(config: ContainerConfig) -> bool:
    """Tell whether the container has CAP_SYS_ADMIN.

    Such a container may mount, and so could undo the masked and read-only paths that protect the
    kernel's state: it does not get them.
    """
    return "CAP_SYS_ADMIN" in capabilities_of(config.capabilities)
