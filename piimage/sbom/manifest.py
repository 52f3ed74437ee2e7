"""The manifest of a card: each of its files, and its origin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from piimage.jsons import json_bytes
from piimage.sbom.model import Bill


@dataclass(frozen=True)
class Origin:
    """The file `path` on the card (``slot A/kernel.img``, ``layers/base: /usr/bin/runc``).

    `source` is the package URL of a component, or ``file:PATH`` for a file of the user, or
    ``piimage:PART`` for a generated file.
    """

    path: str
    size: int
    sha256: str
    source: str


def encode(
    bill: Bill, origins: Iterable[Origin], packers: Mapping[str, str], *, complete: bool = True
) -> bytes:
    """Return the manifest as JSON, in the order of paths.

    `packers` are the host programs that affect the bytes of layers, with their identities.
    `complete` tells whether `origins` has all files, or files that reveal a secret are left out.
    """
    files = {
        origin.path: {"size": origin.size, "sha256": origin.sha256, "from": origin.source}
        for origin in sorted(origins, key=lambda origin: origin.path)
    }
    document = {
        "card": bill.name,
        "identity": bill.identity,
        "packers": dict(packers),
        "complete": complete,
        "files": files,
    }
    return json_bytes(document)
