from __future__ import annotations

import json
from pathlib import Path

import pytest

from piimage.errors import InputError
from piimage.flash.able import Able, able, check, unheard
from piimage.flash.provision import Settings, Wifi
from piimage.run import Runner
from tests.unit.firmware.cards import card

GARDEN = Settings(wifi=Wifi("garden", "correct horse"))


def told(runner: Runner, folder: Path, said: object) -> Able | None:
    content = json.dumps({"board": "pi4", "provision": said}).encode()
    return able(card(runner, folder / "card.img", {}, {"appliance.json": content}))


def test_an_image_says_what_it_can_be_told(runner: Runner, tmp_path: Path) -> None:
    found = told(runner, tmp_path, {"wifi": True, "settings": ["A", "B"]})
    assert found == Able(wifi=True, settings=frozenset({"A", "B"}))
    check(GARDEN, found, "x")
    assert list(unheard(Settings(values={"A": "", "C": ""}), found)) == ["C"]


@pytest.mark.provokes("flash.no-wifi")
def test_no_network_is_named_to_an_image_without_wifi(runner: Runner, tmp_path: Path) -> None:
    found = told(runner, tmp_path, {"wifi": False, "settings": []})
    with pytest.raises(InputError, match="has no WiFi") as caught:
        check(GARDEN, found, "x")
    assert caught.value.code == "flash.no-wifi"


@pytest.mark.parametrize("said", [None, [], {}, {"wifi": True}, {"wifi": True, "settings": 4}])
def test_an_image_that_says_nothing_is_taken_as_it_is(
    runner: Runner, tmp_path: Path, said: object
) -> None:
    found = told(runner, tmp_path, said)
    assert found is None
    check(GARDEN, found, "x")
    assert list(unheard(GARDEN, found)) == []


def test_what_is_no_card_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"no card")
    assert able(tmp_path / "x") is None
