from __future__ import annotations

from piimage import events
from piimage.cli.provision import warn_unapplied
from piimage.flash.provision import Settings


def test_what_the_system_does_not_use_yet_is_said() -> None:
    heard: list[events.Event] = []
    told = Settings(hostname="shed", timezone="Europe/Vienna").files()
    warn_unapplied(told, heard.append)
    assert [str(event) for event in heard if "timezone" in str(event)]
    assert len(heard) == 1


def test_hostname_and_keys_need_no_warning() -> None:
    heard: list[events.Event] = []
    warn_unapplied(Settings(hostname="shed").files(), heard.append)
    assert heard == []
