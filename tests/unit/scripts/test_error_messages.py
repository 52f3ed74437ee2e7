"""The page of errors by what they say."""

from __future__ import annotations

import ast

from scripts.error_messages import ERRORS, documented, messages, page


def test_the_page_is_what_the_source_says_and_has_every_code() -> None:
    text = page()
    assert (ERRORS / "messages.md").read_text() == text, "make it anew: make references"
    assert [code for code in documented() if f"[{code}](" not in text] == []


def test_a_text_is_found_with_gaps_for_what_is_put_in() -> None:
    source = """
raise InputError("config.no-disk", f"there is no disk {quoted(name)}", place="x")
raise problem(f"'{value}' is " "no label", "another")
raise InputError("config.misplaced", message)
print("config.no-disk", "this is none")
"""
    assert [(m.text, m.code) for m in messages(ast.parse(source))] == [
        ("there is no disk …", "config.no-disk"),
        ("… is no label", "config.value"),
    ]


def test_texts_are_sorted_by_their_words() -> None:
    (message,) = messages(ast.parse('InputError("a.b", f"{x} and {y:d} files")'))
    assert (message.key, message.text) == ("and files", "… and … files")
