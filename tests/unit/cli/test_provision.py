from __future__ import annotations

import pytest

from piimage import events
from piimage.cli.provision import _require_distinct, read_settings, warn_unused
from piimage.errors import ErrorGroup, InputError
from piimage.flash.able import Capabilities
from piimage.flash.provision import Settings
from piimage.flash.stored import Change

SETTINGS = Settings(hostname="shed", values={"COLOUR": "green", "PLACE": "shed"})


def warnings(capabilities: Capabilities | None) -> list[str]:
    emitted: list[events.Event] = []
    warn_unused(SETTINGS, capabilities, emitted.append)
    return [str(event) for event in emitted]


def test_a_setting_that_no_container_requests_gets_a_warning() -> None:
    (line,) = warnings(Capabilities(wifi=False, settings=frozenset({"PLACE"})))
    assert "COLOUR" in line


def test_an_image_without_a_list_of_settings_gets_no_warning() -> None:
    assert warnings(None) == []


@pytest.mark.provokes("flash.bad-setting")
def test_a_setting_without_a_value_is_refused_by_name() -> None:
    with pytest.raises(ErrorGroup) as caught:
        read_settings(None, (), None, None, None, ["A=1", "E", "F=", ""])
    messages = [str(error) for error in caught.value.errors]
    assert messages[0].startswith("--set: 'E' is not KEY=VALUE; give a value with --set E=VALUE")
    assert len(messages) == 2


def test_an_empty_value_is_a_value() -> None:
    settings = read_settings(None, (), None, None, None, ["A=", "B=x=y"])
    assert settings.values == {"A": "", "B": "x=y"}


@pytest.mark.provokes("flash.bad-setting")
def test_a_setting_is_not_both_set_and_removed() -> None:
    with pytest.raises(InputError, match="PLACE is both set and removed"):
        _require_distinct(Change({"PLACE": "shed"}, ("TOKEN", "PLACE")))
