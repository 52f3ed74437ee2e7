"""A Compose service while it is converted to an entry of piimage's YAML."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Service:
    """The result so far: an entry, files of the system, and notes on what differs."""

    name: str
    folder: Path | None
    """The Compose file's folder; None if a single key is converted for a message."""
    beside: Path | None = None
    """The folder of the new file; its paths are relative to it."""
    entry: dict[str, Any] = field(default_factory=dict)
    files: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    hosts: dict[str, str] = field(default_factory=dict)
    """Additional host names and their addresses."""
    sysctl: dict[str, str] = field(default_factory=dict)
    """Kernel settings that belong to the whole system."""
    secrets: dict[str, str] = field(default_factory=dict)
    """Names of secrets, and the names that Compose's top level has for them."""

    def add(self, key: str, *values: Any) -> None:  # noqa: ANN401  # whatever the key holds
        """Add `values` to the list under `key`, each once."""
        listed = self.entry.setdefault(key, [])
        listed.extend(value for value in values if value not in listed)

    def limit(self, kind: str, **values: object) -> None:
        """Set limits under `resources`."""
        self.entry.setdefault("resources", {}).setdefault(kind, {}).update(values)

    def note(self, text: str) -> None:
        """Note a difference, once."""
        if text not in self.notes:
            self.notes.append(text)


Converter = Callable[[Any, Service], None]
"""Converts the value of a key."""


def simple(key: str, convert: Callable[[Any], object] = lambda value: value) -> Converter:
    """Return a converter that writes the value to `key`."""

    def converted(value: Any, service: Service) -> None:  # noqa: ANN401
        service.entry[key] = convert(value)

    return converted


def ignored(value: Any, service: Service) -> None:  # noqa: ANN401
    """Convert nothing: the key is piimage's default, or has no meaning on a Pi."""
    del value
    if service.folder is None:
        service.note("remove it; it has no meaning here")


def beside(source: Path, service: Service) -> str:
    """Return `source` relative to the folder of the new file."""
    return os.path.relpath(source, service.beside or service.folder or Path())
