"""What a lock holds."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from piimage.debian.package import Package

VERSION: Final = 1
"""The version of the file format."""


@dataclass(frozen=True)
class LockedSuite:
    """A suite whose index was used: its date, and the SHA-256 of its InRelease file."""

    name: str
    components: tuple[str, ...]
    date: datetime
    sha256: str


@dataclass(frozen=True)
class LockedRoot:
    """What one root asked for, and the packages (``name:architecture``) that this gave."""

    name: str
    asks: tuple[str, ...]
    without: tuple[str, ...]
    architecture: str
    packages: tuple[str, ...]


@dataclass(frozen=True)
class LockedImage:
    """A container image: the digest that its reference had, and that of its arm64 manifest."""

    reference: str
    digest: str
    manifest: str


@dataclass(frozen=True)
class LockedWheel:
    """A Python wheel; `path` is relative to the index's file host."""

    name: str
    version: str
    filename: str
    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Lock:
    """All pins of one appliance, each part sorted by name."""

    suites: tuple[LockedSuite, ...] = ()
    roots: tuple[LockedRoot, ...] = ()
    packages: tuple[Package, ...] = ()
    images: tuple[LockedImage, ...] = ()
    wheels: tuple[LockedWheel, ...] = ()

    @functools.cached_property
    def by_key(self) -> Mapping[str, Package]:
        """The packages by ``name:architecture``."""
        return {package.key: package for package in self.packages}

    def of_root(self, name: str) -> tuple[Package, ...]:
        """Return the packages of the root `name`, sorted; KeyError if there is no such root."""
        for root in self.roots:
            if root.name == name:
                return tuple(self.by_key[key] for key in root.packages)
        raise KeyError(name)

    def image(self, reference: str) -> LockedImage:
        """Return the pin of the image `reference`; KeyError if there is none."""
        return {image.reference: image for image in self.images}[reference]
