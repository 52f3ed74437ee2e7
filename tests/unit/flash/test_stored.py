"""What a change makes of the settings that a card has."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piimage.errors import ErrorGroup, InputError
from piimage.flash.stored import Change

TEXT = st.characters(min_codepoint=32, exclude_categories=["Cs"])
KEPT = b"PLACE=shed\nTOKEN='71 c9'\n"


def test_a_new_setting_leaves_the_others() -> None:
    assert Change({"COLOUR": "green"}).applied(KEPT) == KEPT + b"COLOUR=green\n"
    assert Change({"COLOUR": "green"}).applied(b"") == b"COLOUR=green\n"


def test_a_setting_that_is_there_is_replaced() -> None:
    assert Change({"PLACE": "the roof"}).applied(KEPT) == b"TOKEN='71 c9'\nPLACE='the roof'\n"


def test_a_setting_is_removed() -> None:
    assert Change(unset=("PLACE",)).applied(KEPT) == b"TOKEN='71 c9'\n"
    assert Change(unset=("PLACE", "TOKEN")).applied(KEPT) == b""
    assert Change({"NEW": ""}, ("TOKEN",)).applied(KEPT) == b"PLACE=shed\nNEW=''\n"


def test_a_key_that_begins_like_another_is_another() -> None:
    content = b"PLACE_2=roof\nPLACE=shed\n"
    assert Change(unset=("PLACE",)).applied(content) == b"PLACE_2=roof\n"


@pytest.mark.provokes("flash.bad-setting")
def test_what_the_card_does_not_have_cannot_be_removed_from_it() -> None:
    with pytest.raises(InputError, match="no setting 'PLACF'; it has: PLACE, TOKEN") as caught:
        Change(unset=("PLACF",)).applied(KEPT)
    assert "71" not in str(caught.value)
    with pytest.raises(ErrorGroup, match="it has no settings"):
        Change(unset=("A", "B")).applied(b"")


def test_lines_that_somebody_wrote_by_hand_are_kept() -> None:
    content = b"# of the shed\nPLACE=shed\n\nnonsense\n\xff\xfe\nTOKEN=x"
    assert Change({"PLACE": "roof"}).applied(content) == (
        b"# of the shed\nnonsense\n\xff\xfe\nTOKEN=x\nPLACE=roof\n"
    )


@given(st.binary(max_size=200), st.text(TEXT, max_size=20))
def test_whatever_the_card_has_a_shell_reads_the_new_value(content: bytes, value: str) -> None:
    changed = Change({"KEY": value}).applied(content)
    last = changed[:-1].rpartition(b"\n")[2]
    assert shlex.split(last.decode("utf-8", "surrogateescape")) == [f"KEY={value}"]
    assert Change({"KEY": value}).applied(changed) == changed
