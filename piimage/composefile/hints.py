"""The line of piimage's YAML that does what one word of Compose does, for a message."""

from __future__ import annotations

from typing import Final

import yaml

from piimage.composefile.service import Service
from piimage.composefile.words import carry, known

_MOST: Final = 400


def instead(word: str, value: object) -> str | None:
    """Return the line for `word` of a service with `value`; None if it is no word of Compose's."""
    if not known(word):
        return None
    service = Service("NAME", None)
    carry(word, value, service)
    lines = [_line(key, said) for key, said in service.entry.items()]
    lines += [note.removeprefix(f"{word}: ") for note in service.notes]
    return ", ".join(lines)[:_MOST] or "leave it out: it is so by itself"


def _line(key: str, value: object) -> str:
    text = yaml.safe_dump({key: value}, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.strip().removeprefix("{").removesuffix("}")
