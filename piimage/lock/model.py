"""What a lock holds."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from piimage.debian.package import Package
from piimage.store import Blob

VERSION: Final = 1
"""The version of the file format."""


@dataclass(frozen=True)
class LockedSuite:
    """A suite whose index was used: its date, and the SHA-256 of its signed text."""

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
    """A container image: the digest that its reference had, and that of its arm64 manifest.

    `granted` is what its label asks for beyond the defaults, as the file agreed to it.
    """

    reference: str
    digest: str
    manifest: str
    granted: tuple[str, ...] = ()


@dataclass(frozen=True)
class LockedWheel:
    """A Python wheel, or the source archive of a package that has none.

    Any index that has a file of this name and digest will do.
    """

    name: str
    version: str
    filename: str
    size: int
    sha256: str

    @property
    def blob(self) -> Blob:
        """The file's content, for the store."""
        return Blob(self.sha256, self.size)

    @property
    def is_source(self) -> bool:
        """Whether it has to be built."""
        return not self.filename.endswith(".whl")


@dataclass(frozen=True)
class LockedEnvironment:
    """What one container asked of the Python index, and the wheels (file names) that this gave.

    `python` and `glibc` are the versions (``3.13``, ``2.41``) that the wheels were chosen for.
    `sources` are the packages (``NAME==VERSION``) whose source archives are to be built.
    """

    name: str
    asks: tuple[str, ...]
    architecture: str
    python: str
    glibc: str
    wheels: tuple[str, ...]
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lock:
    """All pins of one appliance, each part sorted by name."""

    suites: tuple[LockedSuite, ...] = ()
    roots: tuple[LockedRoot, ...] = ()
    packages: tuple[Package, ...] = ()
    images: tuple[LockedImage, ...] = ()
    environments: tuple[LockedEnvironment, ...] = ()
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

    def environment(self, name: str) -> LockedEnvironment:
        """Return the environment `name`; KeyError if there is none."""
        return {environment.name: environment for environment in self.environments}[name]

    def wheels_of(self, name: str) -> tuple[LockedWheel, ...]:
        """Return the wheels of the environment `name`, in its order; KeyError if there is none."""
        known = {wheel.filename: wheel for wheel in self.wheels}
        return tuple(known[filename] for filename in self.environment(name).wheels)
