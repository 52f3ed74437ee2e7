"""Bundles for tests: small, signed, and with recipes that a Pi of `slots_stand` takes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from piimage.deploy.bundle import Bundle, Source, make_bundle
from piimage.run import Runner
from piimage.signing import Signer

LAYER = hashlib.sha256(b"layer").digest() * 3000
FIRMWARE = {"config.txt": "a" * 64}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def manifest(**changes: object) -> bytes:
    """An appliance.json with what bundles read of it."""
    found = {
        "name": "greenhouse", "board": "qemu-virt", "order": [1, 1764374400], "kernel": "6.12",
        "system": ["c" * 64], "containers": "d" * 64, "files": FIRMWARE, "services": {},
    }  # fmt: skip
    return json.dumps({**found, **changes}).encode()


def source(signer: Signer, **changes: object) -> Source:
    """A version with two recipes and one layer."""
    values: dict[str, object] = {
        "name": "greenhouse", "note": "greenhouse.yml", "manifest": manifest(),
        "layers": (digest(LAYER),),
        "recipes": {"2": b"recipe of A", "3": b"recipe of B"},
        "files": {digest(LAYER): LAYER}, "signer": signer,
    }  # fmt: skip
    return Source(**{**values, **changes})  # type: ignore[arg-type]  # the values of a test


def written(made: Bundle, target: Path) -> Path:
    """Write a bundle and return its path."""
    made.write(target, 0o644)
    return target


def bundle(signer: Signer, **changes: object) -> Bundle:
    """The bundle of `source`."""
    return make_bundle(source(signer, **changes), Runner())
