"""Facts from a machine that is not trusted: what is missing is empty, a wrong type is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_TEXT_LIMIT: Final = 1 << 12
_LIST_LIMIT: Final = 1 << 10
_NUMBER_LIMIT: Final = 1 << 62


class BadFacts(Exception):  # becomes deploy.bad-answer where the host is known
    """A fact has not the type that it must have."""


@dataclass(frozen=True)
class Facts:
    """A JSON object whose values are taken out by type. Raises BadFacts for a value of another."""

    values: Mapping[str, object]
    place: str = "facts"

    def text(self, key: str) -> str:
        """Return a text; empty if there is none."""
        value = self.values.get(key)
        if value is None:
            return ""
        if not isinstance(value, str) or len(value) > _TEXT_LIMIT:
            raise self._bad(key, "no text")
        return value

    def number(self, key: str) -> int | None:
        """Return a whole number."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _NUMBER_LIMIT:
            raise self._bad(key, "no number")
        return value

    def flag(self, key: str) -> bool:
        """Return yes or no; no if nothing is said."""
        value = self.values.get(key)
        if not isinstance(value, bool | None):
            raise self._bad(key, "neither true nor false")
        return value is True

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts."""
        return tuple(Facts({key: one}, self.place).text(key) for one in self._list(key))

    def part(self, key: str) -> Facts:
        """Return an object within; an empty one if there is none."""
        return self._object(key, self.values.get(key) or {})

    def parts(self, key: str) -> tuple[Facts, ...]:
        """Return a list of objects."""
        return tuple(self._object(key, one) for one in self._list(key))

    def known(self) -> tuple[str, ...]:
        """Return the keys of what is there, in order of the alphabet."""
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

    def _bad(self, key: str, what: str) -> BadFacts:
        return BadFacts(f"{self.place}.{key} is {what}")


def hexadecimal(text: str) -> int | None:
    """Return a hexadecimal number that a text of the kernel's holds; None if it is none."""
    try:
        return int(text, 16)
    except ValueError:
        return None


def facts_of(document: object) -> Facts:
    """Return the facts that an agent's answer holds; raises BadFacts."""
    return Facts({"facts": document}, "the report").part("facts")
