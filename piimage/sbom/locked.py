"""What a lock pins, as components of a bill."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from piimage.debian.package import Package
from piimage.lock import Lock
from piimage.lock.roots import is_for_building
from piimage.sbom.ledger import Page
from piimage.sbom.model import Component, Kind

DISTRIBUTION: Final = "piimage-builder"
# What the kernel's COPYING says of the whole. No file of its package that says so is on the card.
_KERNEL: Final = "GPL-2.0-only WITH Linux-syscall-note"


def tool_version() -> str:
    """Return piimage's own version; "0" when it runs without being installed."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "0"


def components(lock: Lock, pages: Iterable[Page]) -> Iterator[Component]:
    """Give what `lock` pins and an image or a card holds, with the licences that `pages` state."""
    licences: dict[str, str] = {}
    for page in pages:
        licences |= page.licences
    for root in lock.roots:
        for one in lock.of_root(root.name) if not is_for_building(root.name) else ():
            kernel = _KERNEL if one.name.startswith("linux-image-") else None
            part = debian_component(one, licences.get(one.name, kernel))
            yield replace(part, used_by=(root.name,))
    for image in lock.images:
        name, _, tag = image.reference.partition("@")[0].rpartition(":")
        known = bool(name) and "/" not in tag
        yield Component(
            Kind.IMAGE,
            name if known else image.reference.partition("@")[0],
            tag if known else image.digest,
            image.manifest.removeprefix("sha256:"),
            "arm64",
            path=image.reference,
        )
    for wheel in lock.wheels:
        yield Component(Kind.WHEEL, wheel.name, wheel.version, wheel.sha256, path=wheel.filename)


def debian_component(one: Package, licence: str | None = None) -> Component:
    """Return the component of a Debian package."""
    return Component(
        Kind.DEBIAN,
        one.name,
        one.version,
        one.sha256,
        one.architecture,
        one.source,
        one.source_version,
        one.path,
        licence,
    )
