"""The settings that an image can use, as `provision` of its appliance.json lists them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from piimage.errors import InputError, PiimageError
from piimage.firmware.card import find_manifest
from piimage.flash.provision import Settings


@dataclass(frozen=True)
class Capabilities:
    """Whether an image has WiFi, and the settings and secrets that its containers request."""

    wifi: bool
    settings: frozenset[str]
    secrets: frozenset[str] = frozenset()


def capabilities_of(image: Path) -> Capabilities | None:
    """Return the capabilities of an image or card; None if it is unreadable or names none."""
    try:
        provision = {"secrets": [], **json.loads(find_manifest(image) or b"")["provision"]}
        names = (frozenset(map(str, provision[key])) for key in ("settings", "secrets"))
        return Capabilities(bool(provision["wifi"]), *names)
    except (PiimageError, ValueError, KeyError, TypeError, RecursionError):
        return None


def require_wifi(settings: Settings, capabilities: Capabilities | None, place: str) -> None:
    """Raise InputError ``flash.no-wifi`` if `settings` are for WiFi, which the image lacks."""
    wanted = settings.wifi is not None or settings.country is not None
    if capabilities is not None and wanted and not capabilities.wifi:
        raise InputError(
            "flash.no-wifi",
            "the image has no WiFi and cannot join a network",
            place=place,
            hint="add `network: { wifi: {}, country: XX }` to its file, and build it again",
        )


def unused_settings(settings: Settings, capabilities: Capabilities | None) -> Iterator[str]:
    """Give the names of settings that no container of the image requests, sorted."""
    if capabilities is not None:
        yield from sorted(settings.values.keys() - capabilities.settings)


def unused_secrets(settings: Settings, capabilities: Capabilities | None) -> Iterator[str]:
    """Give the names of secrets that no container of the image uses, sorted."""
    if capabilities is not None:
        yield from sorted(settings.secrets.keys() - capabilities.secrets)


def unset_secrets(settings: Settings, capabilities: Capabilities | None) -> Iterator[str]:
    """Give the names of secrets that a container of the image uses and that get no value here."""
    if capabilities is not None:
        yield from sorted(capabilities.secrets - settings.secrets.keys())
