"""Where a value lies in the text of a JSON document, for programs that cannot read JSON.

The Pi inserts its devices and the card's settings at these offsets: what a text of the document
says cannot lead it astray.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from piimage.oci.models import canonical_json


def span(document: object, path: Sequence[str | int]) -> tuple[int, int]:
    """Return offset and length, in bytes, of the value at `path` in ``canonical_json(document)``.

    `path` holds keys of objects and indexes of arrays; the number of an array's values, as its
    index, means the end of the array. Raises LookupError if the document has no such value.
    """
    if not path:
        return 0, len(canonical_json(document))
    key, *rest = path
    before, value = _step(document, key)
    offset, length = span(value, rest) if value is not _END else (0, 0)
    return before + offset, length


_END = object()


def _step(document: Any, key: str | int) -> tuple[int, Any]:  # noqa: ANN401  # any JSON value
    """Return the offset of the value under `key` in its object or array, and the value."""
    if isinstance(document, Mapping):
        value = document[key]
        earlier = {name: document[name] for name in document if name < key}
        return _text_before(earlier) + len(canonical_json(key)) + 1, value
    index = int(key)
    if index == len(document):
        return len(canonical_json(document)) - 1, _END
    return _text_before(document[:index]), document[index]


def _text_before(earlier: Sequence[Any] | Mapping[str, Any]) -> int:
    """Return the length of an object or array up to the value behind `earlier`."""
    return len(canonical_json(earlier)) - 1 + bool(earlier)
