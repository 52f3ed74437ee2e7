"""The parts of a card, independent of the format of a bill."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from urllib.parse import quote

from piimage.card.ids import unique_id


class Kind(Enum):
    """The kind of a part; the value is the type of its package URL."""

    DEBIAN = "deb"
    IMAGE = "oci"
    WHEEL = "pypi"
    FILE = "generic"


@dataclass(frozen=True)
class Component:
    """One part: a Debian package, an image, a wheel, or a file of the user.

    `sha256` is the digest of the .deb, the wheel or the file, or of the manifest of an image;
    `path` is relative to the archive or to the YAML file; `licence` is an SPDX expression, None if
    it is unknown; `used_by` has the names of the layers or containers that contain the part.
    """

    kind: Kind
    name: str
    version: str
    sha256: str
    architecture: str | None = None
    source: str | None = None
    source_version: str | None = None
    path: str | None = None
    licence: str | None = None
    used_by: tuple[str, ...] = ()

    @property
    def purl(self) -> str:
        """The package URL (github.com/package-url/purl-spec)."""
        name, version = quote(self.name, safe=""), quote(self.version, safe=".+~-_")
        digest = f"sha256:{self.sha256}"
        match self.kind:
            case Kind.DEBIAN:
                arch = f"?arch={self.architecture}" if self.architecture else ""
                return f"pkg:deb/debian/{name.lower()}@{version}{arch}"
            case Kind.IMAGE:
                return f"pkg:oci/{quote(self.name.rpartition('/')[2].lower())}@{quote(digest)}"
            case Kind.WHEEL:
                return f"pkg:pypi/{name.lower().replace('_', '-')}@{version}"
            case Kind.FILE:
                return f"pkg:generic/{name}@{version}?checksum={digest}"

    @property
    def reference(self) -> str:
        """An ID that is unique within a bill."""
        return f"{self.kind.value}-{unique_id(self.purl, self.sha256)}"


@dataclass(frozen=True)
class Bill:
    """All parts of the card (or image) `name`, whose content has the digest `identity`."""

    name: str
    identity: str
    components: tuple[Component, ...]
    purpose: str = "OPERATING-SYSTEM"
    """The purpose, one of SPDX's values of primaryPackagePurpose."""

    @property
    def id(self) -> uuid.UUID:
        """The ID of the bill, which depends on the content."""
        return unique_id(self.identity, f"sbom of {self.name}")


def bill(name: str, identity: str, components: Iterable[Component]) -> Bill:
    """Return the bill of `components` in a fixed order, without duplicates."""
    merged: dict[str, Component] = {}
    for part in components:
        known = merged.get(part.reference)
        places = {*part.used_by, *(known.used_by if known else ())}
        merged[part.reference] = replace(part, used_by=tuple(sorted(places)))
    order = sorted(merged.values(), key=lambda c: (c.kind.value, c.name, c.version, c.sha256))
    return Bill(name, identity, tuple(order))
