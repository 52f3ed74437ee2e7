from __future__ import annotations

import pytest

from piimage import events
from piimage.cli.provision import _require_distinct, settings, warn_unheard
from piimage.errors import ErrorGroup, InputError
from piimage.flash.able import Able
from piimage.flash.provision import Settings
from piimage.flash.stored import Change

TOLD = Settings(hostname="shed", values={"COLOUR": "green", "PLACE": "shed"})


def said(found: Able | None) -> list[str]:
    heard: list[events.Event] = []
    warn_unheard(TOLD, found, heard.append)
    return [str(event) for event in heard]


def test_a_setting_that_nobody_asks_for_is_said() -> None:
    (line,) = said(Able(wifi=False, settings=frozenset({"PLACE"})))
    assert "COLOUR" in line


def test_what_an_image_does_not_say_is_not_complained_of() -> None:
    assert said(None) == []


@pytest.mark.provokes("flash.bad-setting")
def test_a_setting_without_a_value_is_refused_by_name() -> None:
    with pytest.raises(ErrorGroup) as caught:
        settings(None, (), None, None, None, ["A=1", "E", "F=", ""])
    said = [str(error) for error in caught.value.errors]
    assert said[0].startswith("--set: 'E' is not KEY=VALUE; give the value: --set E=VALUE")
    assert len(said) == 2


def test_an_empty_value_is_one() -> None:
    assert settings(None, (), None, None, None, ["A=", "B=x=y"]).values == {"A": "", "B": "x=y"}


@pytest.mark.provokes("flash.bad-setting")
def test_a_setting_is_not_both_set_and_removed() -> None:
    with pytest.raises(InputError, match="PLACE is both set and removed"):
        _require_distinct(Change({"PLACE": "shed"}, ("TOKEN", "PLACE")))
