from __future__ import annotations

import json
from pathlib import Path

import pytest

from piimage.errors import InputError
from piimage.flash.able import (
    Capabilities,
    capabilities_of,
    require_wifi,
    unset_secrets,
    unused_secrets,
    unused_settings,
)
from piimage.flash.provision import Settings, Wifi
from piimage.run import Runner
from tests.unit.firmware.cards import card

GARDEN = Settings(wifi=Wifi("garden", "correct horse"))


def read_back(runner: Runner, folder: Path, provision: object) -> Capabilities | None:
    """Return the capabilities of a card whose appliance.json has `provision`."""
    content = json.dumps({"board": "pi4", "provision": provision}).encode()
    return capabilities_of(card(runner, folder / "card.img", {}, {"appliance.json": content}))


def test_an_image_lists_the_settings_that_it_can_use(runner: Runner, tmp_path: Path) -> None:
    capabilities = read_back(runner, tmp_path, {"wifi": True, "settings": ["A", "B"]})
    assert capabilities == Capabilities(wifi=True, settings=frozenset({"A", "B"}))
    require_wifi(GARDEN, capabilities, "x")
    assert list(unused_settings(Settings(values={"A": "", "C": ""}), capabilities)) == ["C"]


@pytest.mark.provokes("flash.no-wifi")
def test_a_network_for_an_image_without_wifi_is_refused(runner: Runner, tmp_path: Path) -> None:
    capabilities = read_back(runner, tmp_path, {"wifi": False, "settings": []})
    with pytest.raises(InputError, match="has no WiFi") as caught:
        require_wifi(GARDEN, capabilities, "x")
    assert caught.value.code == "flash.no-wifi"


@pytest.mark.parametrize("provision", [None, [], {}, {"wifi": True}, {"wifi": True, "settings": 4}])
def test_an_image_without_the_list_is_accepted(
    runner: Runner, tmp_path: Path, provision: object
) -> None:
    capabilities = read_back(runner, tmp_path, provision)
    assert capabilities is None
    require_wifi(GARDEN, capabilities, "x")
    assert list(unused_settings(GARDEN, capabilities)) == []


def test_a_file_that_is_not_a_card_has_no_list(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"no card")
    assert capabilities_of(tmp_path / "x") is None


def test_an_image_lists_the_secrets_that_it_uses(runner: Runner, tmp_path: Path) -> None:
    provision = {"wifi": False, "settings": [], "secrets": ["a", "b"]}
    capabilities = read_back(runner, tmp_path, provision)
    given = Settings(secrets={"a": b"1", "c": b"3"})
    assert list(unused_secrets(given, capabilities)) == ["c"]
    assert list(unset_secrets(given, capabilities)) == ["b"]
    assert list(unused_secrets(given, None)) == list(unset_secrets(given, None)) == []
