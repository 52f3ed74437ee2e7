from __future__ import annotations

from piimage import events
from piimage.cli.provision import warn_unheard
from piimage.flash.able import Able
from piimage.flash.provision import Settings

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
