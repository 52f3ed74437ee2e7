"""The layers of the system's programs in Python: the agent, and what holds GPIO lines.

The agent is the far side of `piimage deploy`, in systems with SSH.

With it travels what reads the card's settings in cloud-init's files. That applies piimage's own
rules for names, keys and addresses, so the modules that hold these rules are in the layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from piimage import resources
from piimage.compose.described import folder_files, packages_layer
from piimage.compose.layers import FilesLayer, Layer
from piimage.compose.rules import File, Rules
from piimage.config.models import Appliance
from piimage.lock import Lock
from piimage.locking.folders import base_tree
from piimage.locking.requests import (
    AGENT_BASE,
    AGENT_OWN_ROOT,
    AGENT_ROOT,
    GPIO_ROOT,
    SIGNING_ROOT,
    agent_tree,
    gpio_tree,
    signing_tree,
    wants_agent,
)

_NAME: Final = "the agent"
_LIBRARY: Final = "usr/lib/piimage/agent"
_GPIO_LIBRARY: Final = "usr/lib/piimage/gpio"
_RULES: Final = (
    "__init__", "addresses", "countries", "errors", "hostname", "resources", "sshkeys", "swu",
    "wifi", "zones",
)  # fmt: skip
"""The modules of piimage that the Pi uses too; they need the standard library alone."""
_LISTS: Final = ("countries.txt", "zone-aliases.txt", "zones.txt")


def python_layers(appliance: Appliance, lock: Lock) -> Iterator[Layer]:
    """Yield the layers of programs in Python; they belong below the system's, whose files take
    precedence.

    The first layer is the one that services with ``base: python`` share.
    """
    if not wants_agent(appliance) and not appliance.gpio:
        return
    shared = lock.of_root(AGENT_ROOT)
    yield packages_layer(f"base {AGENT_BASE}", base_tree(AGENT_BASE), shared, lowest=True)
    in_base = {package.key for package in shared}
    if appliance.gpio:
        yield from _gpio_layers(lock, in_base)
    if wants_agent(appliance):
        yield from _agent_layers(appliance, lock, in_base)


def _gpio_layers(lock: Lock, in_base: set[str]) -> Iterator[Layer]:
    own = [package for package in lock.of_root(GPIO_ROOT) if package.key not in in_base]
    yield packages_layer("libgpiod", gpio_tree(), own, lowest=False)
    programs = folder_files(resources.path("appliance") / "gpio" / "lib", _GPIO_LIBRARY)
    yield FilesLayer("what holds GPIO lines", Rules(files=tuple(programs)))


def _agent_layers(appliance: Appliance, lock: Lock, in_base: set[str]) -> Iterator[Layer]:
    own = [package for package in lock.of_root(AGENT_OWN_ROOT) if package.key not in in_base]
    yield packages_layer("the agent's libraries", agent_tree(), own, lowest=False)
    if appliance.signing is not None:
        used = {*in_base, *(package.key for package in own)}
        checks = [pkg for pkg in lock.of_root(SIGNING_ROOT) if pkg.key not in used]
        yield packages_layer("openssl", signing_tree(), checks, lowest=False)
    yield FilesLayer(_NAME, Rules(files=(*_programs(), *_rules())))


def _programs() -> Iterator[File]:
    source = resources.path("appliance") / "agent"
    yield from folder_files(source / "lib", _LIBRARY)
    yield from folder_files(source / "bin", "usr/bin")


def _rules() -> Iterator[File]:
    package, lists = Path(__file__).parents[1], resources.path("appliance") / "system"
    for name in _RULES:
        path = package / f"{name}.py"
        yield File(f"{_LIBRARY}/piimage/{path.name}", path.read_bytes(), 0o644)
    for name in _LISTS:
        target = f"{_LIBRARY}/piimage/data/appliance/system/{name}"
        yield File(target, (lists / name).read_bytes(), 0o644)


def is_agent(layer: Layer) -> bool:
    """Tell whether `layer` is the agent's, which may differ: tools of other versions talk to it."""
    return isinstance(layer, FilesLayer) and layer.name == _NAME
