from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piimage.container.offsets import span
from piimage.oci.models import canonical_json
from tests.examples import examples

DOCUMENT = {"b": ["é", {"x": 1}], "a": {'"b":["': "}"}}
# As canonical_json has it: {"a":{"\"b\":[\"":"}"},"b":["é",{"x":1}]}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), '{"a":{"\\"b\\":[\\"":"}"},"b":["é",{"x":1}]}'),
        (("a",), '{"\\"b\\":[\\"":"}"}'),
        (("b", 0), '"é"'),
        (("b", 1, "x"), "1"),
    ],
)
def test_the_bytes_of_a_value(path: tuple[str | int, ...], text: str) -> None:
    offset, length = span(DOCUMENT, path)
    assert canonical_json(DOCUMENT)[offset : offset + length].decode() == text


@pytest.mark.parametrize("array", [[], [1], ["é", [2]]])
def test_the_end_of_an_array_is_before_its_bracket(array: list[Any]) -> None:
    offset, length = span({"a": array}, ("a", len(array)))
    assert (offset, length) == (len(canonical_json({"a": array})) - 2, 0)


@pytest.mark.parametrize("path", [("c",), ("b", 3)])
def test_a_value_that_is_not_there_is_an_error(path: tuple[str | int, ...]) -> None:
    with pytest.raises(LookupError):
        span(DOCUMENT, path)


TEXTS = st.text(st.sampled_from('ab"\\[]{}:,é\t'), max_size=6)
VALUES = st.recursive(
    TEXTS | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=examples(50), deadline=None)
@given(st.dictionaries(TEXTS, VALUES, min_size=1, max_size=4), st.data())
def test_the_bytes_of_any_value_are_its_own_text(document: Any, data: st.DataObject) -> None:
    path: list[str | int] = []
    value = document
    while isinstance(value, dict | list) and value and data.draw(st.booleans()):
        keys = sorted(value) if isinstance(value, dict) else range(len(value))
        path.append(data.draw(st.sampled_from(keys)))
        value = value[path[-1]]
    offset, length = span(document, path)
    assert canonical_json(document)[offset : offset + length] == canonical_json(value)
