"""The parts of a card, whatever format lists them later."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from urllib.parse import quote

from piimage.card.ids import unique_id


class Kind(Enum):
    """What a part is; the value is the type of its package URL."""

    DEBIAN = "deb"
    IMAGE = "oci"
    WHEEL = "pypi"
    FILE = "generic"


@dataclass(frozen=True)
class Component:
    """One part: a Debian package, an image, a wheel, or files of the user's own.

    `sha256` is that of the .deb, the wheel or the file, for an image that of its manifest; `path`
    is where it came from, relative to its archive or to the YAML file; `licence` is an SPDX
    expression, None when it is not known; `used_by` names the layers or containers that hold it.
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
        """A name for it that is unique within a bill."""
        return f"{self.kind.value}-{unique_id(self.purl, self.sha256)}"


@dataclass(frozen=True)
class Bill:
    """All parts of the card (or image) `name`, whose content has the digest `identity`."""

    name: str
    identity: str
    components: tuple[Component, ...]
    purpose: str = "OPERATING-SYSTEM"
    """What it is, in SPDX's words (primaryPackagePurpose)."""

    @property
    def id(self) -> uuid.UUID:
        """The bill's own id: another content, another id."""
        return unique_id(self.identity, f"sbom of {self.name}")


def bill(name: str, identity: str, components: Iterable[Component]) -> Bill:
    """Return the bill of `components` in a fixed order; one used in several places comes once."""
    merged: dict[str, Component] = {}
    for part in components:
        known = merged.get(part.reference)
        places = {*part.used_by, *(known.used_by if known else ())}
        merged[part.reference] = replace(part, used_by=tuple(sorted(places)))
    order = sorted(merged.values(), key=lambda c: (c.kind.value, c.name, c.version, c.sha256))
    return Bill(name, identity, tuple(order))
