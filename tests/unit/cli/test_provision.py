from __future__ import annotations

import pytest
from piimage_seed import settings as seed

from piimage import events
from piimage.cli.provision import CardOptions, _require_distinct, read_settings, warn_unused
from piimage.errors import ErrorGroup, InputError
from piimage.flash.able import Capabilities, require_wifi
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
        read_settings(CardOptions(values=["A=1", "E", "F=", ""]))
    messages = [str(error) for error in caught.value.errors]
    assert messages[0].startswith("--set: 'E' is not KEY=VALUE; give a value with --set E=VALUE")
    assert len(messages) == 2


def test_an_empty_value_is_a_value() -> None:
    settings = read_settings(CardOptions(values=["A=", "B=x=y"]))
    assert settings.values == {"A": "", "B": "x=y"}


@pytest.mark.provokes("flash.bad-setting")
def test_a_setting_is_not_both_set_and_removed() -> None:
    with pytest.raises(InputError, match="PLACE is both set and removed"):
        _require_distinct(Change({"PLACE": "shed"}, ("TOKEN", "PLACE")))


def test_the_wired_network_of_a_card() -> None:
    options = CardOptions(address="10.0.0.7/24", gateway="10.0.0.1", dns=["10.0.0.1", "9.9.9.9"])
    text = read_settings(options).files()["piimage/provision/network"].content
    assert text == (
        b"INTERFACE='eth0'\nADDRESS='10.0.0.7/24'\nGATEWAY='10.0.0.1'\nDNS='10.0.0.1 9.9.9.9'\n"
        b"PARENT=''\nVLAN=''\n"
    )


def test_it_is_the_file_that_the_pi_makes_of_a_network_config() -> None:
    options = CardOptions(address="10.0.0.7/24", dns=["10.0.0.1"])
    text = read_settings(options).files()["piimage/provision/network"].content
    assert text == seed.Wired("eth0", "10.0.0.7/24", None, ("10.0.0.1",)).text.encode()


def test_dhcp_replaces_the_fixed_address_of_an_image() -> None:
    options = CardOptions(address="dhcp", interface="eth1")
    text = read_settings(options).files()["piimage/provision/network"].content
    assert text == b"INTERFACE='eth1'\nADDRESS=''\nGATEWAY=''\nDNS=''\nPARENT=''\nVLAN=''\n"


@pytest.mark.parametrize(
    ("options", "option"),
    [
        (CardOptions(gateway="10.0.0.1"), "--gateway"),
        (CardOptions(dns=["10.0.0.1"]), "--dns"),
        (CardOptions(interface="eth1"), "--interface"),
    ],
)
def test_a_part_of_an_address_is_refused_alone(options: CardOptions, option: str) -> None:
    with pytest.raises(InputError, match="no address") as caught:
        read_settings(options)
    assert caught.value.place == option


def test_a_card_of_an_image_without_wifi_gets_no_country() -> None:
    capabilities = Capabilities(wifi=False, settings=frozenset())
    with pytest.raises(InputError, match="the image has no WiFi"):
        require_wifi(Settings(country="JP"), capabilities, "/dev/sdb")
    require_wifi(Settings(country="JP"), Capabilities(wifi=True, settings=frozenset()), "/dev/sdb")
