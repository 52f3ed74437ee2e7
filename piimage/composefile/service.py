"""One Compose service on its way to an entry of piimage's YAML."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Service:
    """One service as it is carried over: an entry, files of the system, and what is lost."""

    name: str
    folder: Path | None
    """The Compose file's folder; None where one word is asked for alone."""
    beside: Path | None = None
    """The folder of the file that is made: paths in it start there."""
    entry: dict[str, Any] = field(default_factory=dict)
    files: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    hosts: dict[str, str] = field(default_factory=dict)
    """Further names, and their addresses."""
    sysctl: dict[str, str] = field(default_factory=dict)
    """Settings of the kernel that a container has not for itself."""

    def more(self, key: str, *values: Any) -> None:  # noqa: ANN401  # whatever the key holds
        """Add `values` to the list of `key`."""
        said = self.entry.setdefault(key, [])
        said.extend(value for value in values if value not in said)

    def limit(self, kind: str, **values: object) -> None:
        """Set limits of `resources`."""
        self.entry.setdefault("resources", {}).setdefault(kind, {}).update(values)

    def note(self, text: str) -> None:
        """Say what is not as it was."""
        if text not in self.notes:
            self.notes.append(text)


Word = Callable[[Any, Service], None]
"""What carries the value of one word over."""


def simple(key: str, convert: Callable[[Any], object] = lambda value: value) -> Word:
    """Return what carries a value to `key`."""

    def carried(value: Any, service: Service) -> None:  # noqa: ANN401
        service.entry[key] = convert(value)

    return carried


def nothing(value: Any, service: Service) -> None:  # noqa: ANN401
    """Carry nothing over: it is so here by itself, or has no meaning on a Pi."""
    del value
    if service.folder is None:
        service.note("leave it out: it has no meaning here")


def beside(source: Path, service: Service) -> str:
    """Return `source` as a path that starts at the file that is made."""
    return os.path.relpath(source, service.beside or service.folder or Path())
