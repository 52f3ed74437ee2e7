from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from piimage_seed.tree import MOST_BYTES, Items, Node, Table, Text, Unreadable, decoded, parse

from tests.examples import examples


def plain(node: Node | None) -> object:
    """Return a tree as lists, pairs and texts."""
    if isinstance(node, Items):
        return [plain(item) for item in node.nodes]
    if isinstance(node, Table):
        return {key.value: plain(value) for key, value in node.entries}
    return node.value if isinstance(node, Text) else None


def test_every_scalar_stays_a_text() -> None:
    text = "a: [NO, 12345678, 1e3, 2024-01-01, 0o17, 0x1f, 1:30, .nan, ~, true]\n"
    values = ["NO", "12345678", "1e3", "2024-01-01", "0o17", "0x1f", "1:30", ".nan", "~", "true"]
    assert plain(parse(text)) == {"a": values}


def test_nodes_have_the_lines_of_the_file() -> None:
    tree = parse("# x\na:\n  - b\n  - c: d\n")
    assert isinstance(tree, Table)
    ((key, items),) = tree.entries
    assert isinstance(items, Items)
    assert (key.line, [node.line for node in items.nodes]) == (2, [3, 4])


def test_an_empty_document_has_no_tree() -> None:
    assert parse("# only a comment\n") is None
    assert parse("") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: &x 1\nb: *x\n", "line 1 has an anchor or an alias"),
        ("a: *x\n", "line 1 has an anchor or an alias"),
        ("a: !!python/object:os.system x\n", "line 1 has a tag"),
        ("a: !!binary aGk=\n", "line 1 has a tag"),
        ("a: 1\n---\nb: 2\n", "line 2 begins a second document"),
        ("a: 1\nb: 2\na: 3\n", "line 3 gives a key again"),
        ("? [a]\n: 1\n", "line 1 has a key that is not a text"),
        ("[" * 17 + "]" * 17, "line 1 is nested too deeply"),
        ("[" * 60000, "line 1 is nested too deeply"),
        ("a: 'b\n\n", "line 3 is not valid YAML"),
        ("a: b: c\n", "line 1 is not valid YAML"),
        ("\ta: b\n", "line 1 is not valid YAML"),
        ("a: 1\nb: \0\n", "line 2 has a character that YAML does not allow"),
        ("a: 1\n\x1b[2J\n", "line 2 has a character that YAML does not allow"),
        ('a: "\\U00110000"\n', "it is not valid YAML"),
        ('a: "\\UFFFFFFFF"\n', "it is not valid YAML"),
        ('a: "\\ud800"\n', "line 1 has half a character"),
        ("%YAML 9.9\n---\na: 1\n", "is not valid YAML"),
    ],
)
def test_what_no_settings_need_makes_a_file_unreadable(text: str, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        parse(text)


def test_a_billion_laughs_are_refused_at_the_first() -> None:
    lines = [
        f"{chr(97 + n)}: &{chr(97 + n)} [{', '.join([f'*{chr(96 + n)}'] * 9)}]" for n in range(9)
    ]
    with pytest.raises(Unreadable, match="line 1 has an anchor"):
        parse("\n".join(lines))


def test_a_file_that_is_too_large_is_refused() -> None:
    assert decoded(b" " * MOST_BYTES) == " " * MOST_BYTES
    with pytest.raises(Unreadable, match="more than 65536 bytes"):
        decoded(b" " * (MOST_BYTES + 1))


@pytest.mark.parametrize("data", [b"\xff", b"\xc3", b"\xff\xfea", b"\xed\xa0\x80"])
def test_what_is_no_text_is_refused(data: bytes) -> None:
    with pytest.raises(Unreadable, match="it is not text in UTF-8"):
        decoded(data)


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "a: [" + "b, " * 20000 + "]",
        "".join(f"k{n}: v\n" for n in range(6000)),
        "- " * 30000,
        "? " * 30000,
        '"' + "\\" * 60000,
        "a: |\n" + " x\n" * 20000,
        "a: '" + "\n" * 60000 + "'",
        "#" * 65000,
        "a: " + "x " * 30000,
    ],
    ids=range(9),
)
def test_a_file_of_the_largest_size_takes_no_time(text: str) -> None:
    began = time.process_time()
    with contextlib.suppress(Unreadable):
        parse(text)
    assert time.process_time() - began < 10


@settings(max_examples=examples(150), deadline=None)
@given(st.text(alphabet="ab:-[]{}#&*!|>'\"%@`\\,?\n \t\0xU\ud800é0"))
def test_any_text_gives_a_tree_or_is_unreadable(text: str) -> None:
    try:
        parse(text)
    except Unreadable as error:
        assert str(error)


@settings(max_examples=examples(50), deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_tree_or_are_unreadable(data: bytes) -> None:
    try:
        parse(decoded(data))
    except Unreadable as error:
        assert str(error)
