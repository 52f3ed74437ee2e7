from __future__ import annotations

from pathlib import Path

import pytest
from piimage_seed import settings as seed

from piimage import events
from piimage.card.ext4 import DataFile
from piimage.cli.provision import CardOptions, _require_distinct, read_settings, warn_unused
from piimage.cli.secret_values import require_secrets
from piimage.config.secret import value_of
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


def test_secrets_are_files_of_root_in_a_folder_of_root(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("precious\n")
    (tmp_path / "key").write_text("-----BEGIN\nx\n-----END\n")
    options = CardOptions(secrets=[f"token={tmp_path}/token", f"key={tmp_path}/key"])
    settings = read_settings(options)
    assert "precious" not in repr(settings)
    files = settings.files()
    folder = "piimage/provision/secrets"
    assert files[folder] == DataFile(None, 0o700)
    assert files[f"{folder}/token"] == DataFile(b"precious", 0o600)
    assert files[f"{folder}/key"] == DataFile(b"-----BEGIN\nx\n-----END\n", 0o600)


def test_a_secret_that_no_container_uses_gets_a_warning(tmp_path: Path) -> None:
    emitted: list[events.Event] = []
    capabilities = Capabilities(wifi=False, settings=frozenset(), secrets=frozenset({"used"}))
    given = Settings(secrets={"used": b"1", "spare": b"precious"})
    warn_unused(given, capabilities, emitted.append)
    (line,) = map(str, emitted)
    assert "spare (`secrets: [spare]`)" in line
    assert "precious" not in line


@pytest.mark.provokes("secrets.bad-value")
def test_all_bad_secrets_are_named_at_once_without_their_text() -> None:
    with pytest.raises(ErrorGroup) as caught:
        read_settings(CardOptions(secrets=["precious", "a=/nowhere", "b="]))
    messages = [str(error) for error in caught.value.errors]
    assert [message.partition(":")[0] for message in messages] == [
        "--secret", "/nowhere", "--secret",
    ]  # fmt: skip
    assert not any("precious" in message for message in messages)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"a", b"a"), (b"a\n", b"a"), (b"a\r\n", b"a"), (b"a\r", b"a\r"), (b"\n", b""),
        (b"a\n\n", b"a\n\n"), (b"a\nb\n", b"a\nb\n"), (b"\x00\xff\n", b"\x00\xff"),
    ],
)  # fmt: skip
def test_only_a_value_of_one_line_loses_the_end_of_the_line(data: bytes, value: bytes) -> None:
    assert value_of(data) == value


@pytest.mark.provokes("secrets.no-value")
def test_a_test_without_the_secrets_of_its_services_is_refused() -> None:
    require_secrets(frozenset({"a"}), {"a": b"1"})
    with pytest.raises(InputError, match="uses the secret b") as caught:
        require_secrets(frozenset({"a", "b"}), {"a": b"1"})
    assert caught.value.hint is not None
    assert "--secret b=FILE" in caught.value.hint
