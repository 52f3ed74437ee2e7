"""What an image can be told, by its own word: `provision` of its appliance.json."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from piimage.errors import InputError, PiimageError
from piimage.firmware.card import find_manifest
from piimage.flash.provision import Settings


@dataclass(frozen=True)
class Able:
    """Whether it has WiFi, and which settings some container asks for."""

    wifi: bool
    settings: frozenset[str]


def able(image: Path) -> Able | None:
    """Return what the image or card `image` says; None if it cannot be read, or says nothing."""
    try:
        said = json.loads(find_manifest(image) or b"")["provision"]
        return Able(bool(said["wifi"]), frozenset(map(str, said["settings"])))
    except (PiimageError, ValueError, KeyError, TypeError, RecursionError):
        return None


def check(told: Settings, found: Able | None, place: str) -> None:
    """Raise InputError ``flash.no-wifi`` if the image could not join the network it is told."""
    if found is not None and told.wifi is not None and not found.wifi:
        raise InputError(
            "flash.no-wifi",
            "this image has no WiFi, so a network cannot be named to it",
            place=place,
            hint="add `network: { wifi: {}, country: XX }` to its file, and build it again",
        )


def unheard(told: Settings, found: Able | None) -> Iterator[str]:
    """Give the settings that no container of the image asks for."""
    if found is not None:
        yield from sorted(told.values.keys() - found.settings)
