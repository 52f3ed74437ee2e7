"""Facts from an untrusted machine: a missing value is empty, a value of a wrong type is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_TEXT_LIMIT: Final = 1 << 12
_LIST_LIMIT: Final = 1 << 10
_NUMBER_LIMIT: Final = 1 << 62


class BadFacts(Exception):  # becomes deploy.bad-answer where the host is known
    """A fact has the wrong type."""


@dataclass(frozen=True)
class Facts:
    """A JSON object with typed access. All methods raise BadFacts for a value of a wrong type."""

    values: Mapping[str, object]
    place: str = "facts"

    def text(self, key: str) -> str:
        """Return a text, or "" if the key is missing."""
        value = self.values.get(key)
        if value is None:
            return ""
        if not isinstance(value, str) or len(value) > _TEXT_LIMIT:
            raise self._bad(key, "no text")
        return value

    def number(self, key: str) -> int | None:
        """Return an integer, or None if the key is missing."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _NUMBER_LIMIT:
            raise self._bad(key, "no number")
        return value

    def flag(self, key: str) -> bool:
        """Return a boolean, or False if the key is missing."""
        value = self.values.get(key)
        if not isinstance(value, bool | None):
            raise self._bad(key, "neither true nor false")
        return value is True

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts."""
        return tuple(Facts({key: text}, self.place).text(key) for text in self._list(key))

    def part(self, key: str) -> Facts:
        """Return an object, or an empty one if the key is missing."""
        return self._object(key, self.values.get(key) or {})

    def parts(self, key: str) -> tuple[Facts, ...]:
        """Return a list of objects."""
        return tuple(self._object(key, value) for value in self._list(key))

    def known(self) -> tuple[str, ...]:
        """Return the keys that have a value, sorted."""
        return tuple(sorted(key for key, value in self.values.items() if value is not None))

    def _list(self, key: str) -> list[object]:
        value = self.values.get(key) or []
        if not isinstance(value, list) or len(value) > _LIST_LIMIT:
            raise self._bad(key, "no list")
        return value

    def _object(self, key: str, value: object) -> Facts:
        if not isinstance(value, dict) or len(value) > _LIST_LIMIT:
            raise self._bad(key, "no mapping")
        return Facts(value, f"{self.place}.{key}")

    def _bad(self, key: str, kind: str) -> BadFacts:
        return BadFacts(f"{self.place}.{key} is {kind}")


def hexadecimal(text: str) -> int | None:
    """Return the number of a hexadecimal text, or None if the text is not hexadecimal."""
    try:
        return int(text, 16)
    except ValueError:
        return None


def facts_of(document: object) -> Facts:
    """Return the facts in an agent's response. Raises BadFacts."""
    return Facts({"facts": document}, "the report").part("facts")
