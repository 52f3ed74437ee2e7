"""The layers of the agent, the far side of `piimage deploy`, in systems with SSH."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from piimage import resources
from piimage.compose.described import folder_files, packages_layer
from piimage.compose.layers import FilesLayer, Layer
from piimage.compose.rules import Rules
from piimage.config.models import Appliance
from piimage.lock import Lock
from piimage.locking.folders import base_tree
from piimage.locking.requests import AGENT_BASE, AGENT_ROOT, wants_agent

_NAME: Final = "the agent"
_LIBRARY: Final = "usr/lib/piimage/agent"


def agent_layers(appliance: Appliance, lock: Lock) -> Iterator[Layer]:
    """Yield the agent's layers; they belong below the system's, whose files take precedence.

    The first layer is the one that services with ``base: python`` share.
    """
    if not wants_agent(appliance):
        return
    yield packages_layer(
        f"base {AGENT_BASE}", base_tree(AGENT_BASE), lock.of_root(AGENT_ROOT), lowest=True
    )
    source = resources.path("appliance") / "agent"
    files = (*folder_files(source / "lib", _LIBRARY), *folder_files(source / "bin", "usr/bin"))
    yield FilesLayer(_NAME, Rules(files=files))


def is_agent(layer: Layer) -> bool:
    """Tell whether `layer` is the agent's, which may differ: tools of other versions talk to it."""
    return isinstance(layer, FilesLayer) and layer.name == _NAME
