"""Statements about an image, as in-toto attestations: its bill, and how it was built (SLSA).

Sources: in-toto attestation framework, "Statement v1", "SPDX predicate"; SLSA v1.0, "Provenance".
The statements are not signed and have no time: the same folder and pins give the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from piimage.jsons import json_bytes
from piimage.lock import Lock
from piimage.sbom.locked import debian_component
from piimage.sbom.model import Component, Kind

SPDX_PREDICATE: Final = "https://spdx.dev/Document"
SLSA_PREDICATE: Final = "https://slsa.dev/provenance/v1"

_STATEMENT: Final = "https://in-toto.io/Statement/v1"
_BUILD_TYPE: Final = "urn:x-piimage:container-folder:1"
_BUILDER: Final = "urn:x-piimage:builder"


@dataclass(frozen=True)
class Build:
    """What decided on an image: the folder `name` with the hash `content`, its recipe, its pins.

    `recipe` is the name of the file that describes the image. `arguments` are a Dockerfile's.
    """

    name: str
    content: str
    recipe: str
    platform: str
    lock: Lock
    arguments: Mapping[str, str] = field(default_factory=dict)


def statement(name: str, digest: str, predicate_type: str, predicate: Any) -> bytes:  # noqa: ANN401  # any JSON
    """Return the in-toto statement that `predicate` holds for the image `digest` (``sha256:…``)."""
    algorithm, _, value = digest.partition(":")
    return json_bytes(
        {
            "_type": _STATEMENT,
            "subject": [{"name": name, "digest": {algorithm: value}}],
            "predicateType": predicate_type,
            "predicate": predicate,
        }
    )


def provenance(build: Build, tool_version: str) -> Mapping[str, Any]:
    """Return SLSA's provenance of `build`, as a predicate.

    The values of a Dockerfile's arguments may be secret, so only their digests are in it.
    """
    parameters = {
        "folder": build.name,
        "content": build.content,
        "recipe": build.recipe,
        "platform": build.platform,
        "argumentDigests": {
            name: f"sha256:{hashlib.sha256(value.encode('utf-8', 'surrogateescape')).hexdigest()}"
            for name, value in sorted(build.arguments.items())
        },
    }
    return {
        "buildDefinition": {
            "buildType": _BUILD_TYPE,
            "externalParameters": parameters,
            "resolvedDependencies": [_descriptor(part) for part in _unique(_pins(build.lock))],
        },
        "runDetails": {"builder": {"id": _BUILDER, "version": {"piimage": tool_version}}},
    }


def _pins(lock: Lock) -> Iterator[Component]:
    """Give all pins of `lock`, also those of tools that run during the build only."""
    for package in lock.packages:
        yield debian_component(package)
    for image in lock.images:
        name = image.reference.partition("@")[0]
        yield Component(
            Kind.IMAGE, name.rpartition("/")[2].partition(":")[0], image.digest,
            image.digest.removeprefix("sha256:"), path=image.reference,
        )  # fmt: skip
    for wheel in lock.wheels:
        yield Component(Kind.WHEEL, wheel.name, wheel.version, wheel.sha256, path=wheel.filename)


def _unique(parts: Iterable[Component]) -> list[Component]:
    known = {(part.purl, part.sha256): part for part in parts}
    return [known[key] for key in sorted(known)]


def _descriptor(part: Component) -> Mapping[str, Any]:
    """Return a ResourceDescriptor (in-toto attestation framework)."""
    named = {"name": part.path} if part.path else {}
    return {**named, "uri": part.purl, "digest": {"sha256": part.sha256}}
