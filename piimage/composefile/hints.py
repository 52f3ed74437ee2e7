"""The piimage equivalent of a Compose key, for a message."""

from __future__ import annotations

from typing import Final

import yaml

from piimage.composefile.keys import convert_key, known
from piimage.composefile.service import Service

_MAX_LENGTH: Final = 400


def instead(key: str, value: object) -> str | None:
    """Return the line for `key` of a service with `value`; None if Compose has no such key."""
    if not known(key):
        return None
    service = Service("NAME", None)
    convert_key(key, value, service)
    lines = [_line(name, converted) for name, converted in service.entry.items()]
    lines += [note.removeprefix(f"{key}: ") for note in service.notes]
    return ", ".join(lines)[:_MAX_LENGTH] or "remove it; it is the default"


def _line(key: str, value: object) -> str:
    text = yaml.safe_dump({key: value}, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.strip().removeprefix("{").removesuffix("}")
