from __future__ import annotations

import hashlib

import pytest
from piimage_seed.network_config import read_network_config
from piimage_seed.settings import Settings, Wired

from tests.unit.seed.files import NETWORK_CONFIG, NETWORK_CONFIG_OPEN, PSK


def read(text: str, *, radio: bool = True) -> tuple[Settings, list[str]]:
    settings = Settings()
    return settings, read_network_config(text.encode(), settings, radio=radio)


def ethernet(lines: str) -> tuple[Settings, list[str]]:
    """Read a file with the inline mapping `lines` for eth0, in line 3."""
    return read(f"version: 2\nethernets:\n  eth0: {{{lines}}}\n")


def points(text: str) -> tuple[Settings, list[str]]:
    """Read a file with the inline mapping `text` of WiFi networks, in line 2."""
    return read(f"version: 2\nwifis: {{wlan0: {{dhcp4: true, access-points: {{{text}}}}}}}\n")


def test_imagers_network_is_joined_and_the_wired_network_keeps_dhcp() -> None:
    settings, messages = read(NETWORK_CONFIG)
    assert messages == []
    assert settings.networks == [
        # the bytes of 'café "x"' in UTF-8
        f"network={{\n\tssid=636166c3a920227822\n\tscan_ssid=1\n\tpsk={PSK}\n}}\n"
    ]
    assert settings.country == "NO"
    assert (settings.wired, settings.dhcp) == (None, True)


def test_imagers_open_network_has_no_key() -> None:
    settings, messages = read(NETWORK_CONFIG_OPEN)
    assert messages == []
    assert settings.networks == ["network={\n\tssid=677565737473\n\tkey_mgmt=NONE\n}\n"]
    assert settings.country is None


def test_a_passphrase_becomes_the_key() -> None:
    settings, messages = points("shed: {password: 'correct horse'}")
    # IEEE 802.11-2020, J.4.1
    key = hashlib.pbkdf2_hmac("sha1", b"correct horse", b"shed", 4096, 32).hex()
    assert settings.networks == [f"network={{\n\tssid=73686564\n\tpsk={key}\n}}\n"]
    assert messages == []
    assert "correct horse" not in repr(settings)
    assert key not in repr(settings)


@pytest.mark.parametrize(
    ("written", "octets"),
    [
        ("café", "636166c3a9"),
        ('"caf\\u00e9"', "636166c3a9"),
        ('"caf\\xc3\\xa9"', "636166c3a9"),
        ('"\\xff\\xfe"', "fffe"),
        ('"a\\nb\\0"', "610a6200"),
        ('"a\\\\xe9"', "615c786539"),
        ("'a\\xe9'", "615c786539"),
        ("12345678", "3132333435363738"),
        ("NO", "4e4f"),
        ('"\\x7e\\x7F"', "7e7f"),
    ],
)
def test_the_bytes_of_a_name_are_those_that_were_meant(written: str, octets: str) -> None:
    settings, messages = points(f"{written}: {{}}")
    assert messages == []
    assert settings.networks == [f"network={{\n\tssid={octets}\n\tkey_mgmt=NONE\n}}\n"]


def test_several_networks_keep_their_order() -> None:
    settings, messages = points("b: {password: 12345678}, a: , c: {auth: {password: abcdefgh}}")
    assert messages == []
    names = [block.split("\n")[1] for block in settings.networks]
    assert names == ["\tssid=62", "\tssid=61", "\tssid=63"]


@pytest.mark.parametrize(
    ("lines", "wired"),
    [
        ("addresses: [192.168.1.10/24]", Wired("eth0", "192.168.1.10/24")),
        (
            "dhcp4: false, addresses: [192.168.1.10/24], gateway4: 192.168.1.1, "
            "nameservers: {addresses: [192.168.1.1, 9.9.9.9]}",
            Wired("eth0", "192.168.1.10/24", "192.168.1.1", ("192.168.1.1", "9.9.9.9")),
        ),
        (
            "addresses: [192.168.1.10/24], routes: [{to: default, via: 192.168.1.1}]",
            Wired("eth0", "192.168.1.10/24", "192.168.1.1"),
        ),
        (
            "addresses: ['fd00::10/64'], routes: [{to: '::/0', via: 'fe80::1'}], optional: true",
            Wired("eth0", "fd00::10/64", "fe80::1"),
        ),
    ],
)
def test_a_fixed_address_is_taken_with_router_and_name_servers(lines: str, wired: Wired) -> None:
    settings, messages = ethernet(lines)
    assert (settings.wired, messages) == (wired, [])


def test_the_file_for_the_boot_script_has_one_word_for_each_key() -> None:
    wired = Wired("eth0", "10.0.0.2/24", "10.0.0.1", ("10.0.0.1", "9.9.9.9"))
    assert wired.text == (
        "INTERFACE='eth0'\nADDRESS='10.0.0.2/24'\nGATEWAY='10.0.0.1'\nDNS='10.0.0.1 9.9.9.9'\n"
        "PARENT=''\nVLAN=''\n"
    )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("addresses: [300.1.1.1/24]", "addresses: '300.1.1.1/24' is not an address such as"),
        ("addresses: [192.168.1.10]", "addresses: '192.168.1.10' is not an address such as"),
        ("addresses: [192.168.1.0/24]", "no host can have the address 192.168.1.0/24"),
        ("addresses: [{10.0.0.2/24: {lifetime: 0}}]", "addresses: one value is expected"),
        ("addresses: [10.0.0.2/24], gateway4: 10.0.0.2", "the gateway 10.0.0.2 is the Pi's own"),
        ("addresses: [10.0.0.2/24], gateway4: 10.1.0.1", "the gateway 10.1.0.1 is not in"),
        ("addresses: [10.0.0.2/24], gateway4: 'x; reboot'", "gateway4: 'x; reboot' is not an"),
        ("addresses: [10.0.0.2/24], gateway6: 'fe80::1'", "only one gateway is supported"),
        ("addresses: [10.0.0.2/24, 10.0.0.3/24]", "only one address is supported"),
        ("gateway4: 10.0.0.1", "a gateway without addresses: not used"),
        ("nameservers: {addresses: [9.9.9.9]}", "name servers without addresses: not used"),
        ("dhcp4: false", "without addresses it uses DHCP"),
        ("mtu: 9000", "mtu: not supported"),
        ("routes: [{to: 10.9.0.0/16, via: 10.0.0.1}]", "routes: only a default route"),
        ("routes: [{to: default, via: 10.0.0.1, metric: 5}]", "routes: only a default route"),
    ],
)
def test_what_cannot_be_set_on_the_wire_is_named(lines: str, message: str) -> None:
    _, (found,) = ethernet(lines)
    assert found.removeprefix("network-config line 3: ethernets: eth0: ").startswith(message), found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: {password: short}", "password: this is not a WiFi passphrase: 8 to 63 ASCII"),
        ("a: {password: 'x\ty456789'}", "password: this is not a WiFi passphrase"),
        ('a: {password: "é2345678"}', "password: this is not a WiFi passphrase"),
        ("a: {password: [x]}", "password: this is not a WiFi passphrase"),
        ("a: {auth: {key-management: eap}}", "auth: key-management: only none and psk"),
        ("a: {auth: {key-management: psk}}", "the password is missing"),
        (
            "a: {password: 12345678, auth: {key-management: none}}",
            "a password, and the key management none",
        ),
        ("a: {passwort: 12345678}", "passwort: not supported"),
        ("a: [12345678]", "lines KEY: VALUE are expected"),
        ("a: 12345678", "lines KEY: VALUE are expected"),
        ("a: {auth: 12345678}", "auth: lines KEY: VALUE are expected"),
        ("a: {password: }", "password: this is not a WiFi passphrase"),
        (f"{'a' * 33}: {{}}", "a name has 1 to 32 bytes"),
        ("'': {}", "a name has 1 to 32 bytes"),
    ],
)
def test_a_network_that_cannot_be_joined_is_named_and_left_out(text: str, message: str) -> None:
    settings, (found,) = points(text)
    start = "network-config line 2: wifis: wlan0: access-points: network 1: "
    assert found.startswith(start.rstrip() + " " + message), found
    assert settings.networks == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: 1\nconfig: []", "line 1: version: only 2 is supported; the file is not used"),
        ("network: {config: disabled}", "line 1: config: not supported"),
        ("bridges: {br0: {}}", "line 1: bridges: not supported"),
        ("ethernets: {../x: {}}", "line 1: ethernets: '../x': this is not the name of an"),
        ("ethernets: {lo: {addresses: [10.0.0.1/8]}}", "line 1: ethernets: lo: this is not"),
        ("ethernets: []", "line 1: ethernets: lines KEY: VALUE are expected"),
        ("wifis: {wlan0: {regulatory-domain: XQ}}", "line 1: wifis: wlan0: regulatory-domain: 'XQ"),
        ("wifis: {wlan0: {dhcp4: false}}", "line 1: wifis: wlan0: dhcp4: WiFi always uses DHCP"),
        ("wifis: {wlan0: {}, wlan1: {}}", "line 1: wifis: wlan1: only one radio is supported"),
        ("wifis: {wlan0: {addresses: [10.0.0.1/8]}}", "line 1: wifis: wlan0: addresses: not supp"),
    ],
)
def test_the_rest_of_netplan_is_named(text: str, message: str) -> None:
    _, (found,) = read(text)
    assert found.startswith(f"network-config {message}"), found


def test_of_two_wired_interfaces_the_one_with_an_address_is_set() -> None:
    settings, messages = read(
        "ethernets:\n  eth0: {dhcp4: true}\n  eth1: {addresses: [10.0.0.2/24]}\n"
    )
    assert settings.wired == Wired("eth1", "10.0.0.2/24")
    assert messages == [
        "network-config line 2: ethernets: eth0: only one wired interface is supported"
    ]


def test_an_image_without_wifi_says_what_its_file_lacks() -> None:
    settings, messages = read(NETWORK_CONFIG, radio=False)
    assert (settings.networks, settings.country) == ([], None)
    assert messages == [
        "network-config line 9: wifis: this image has no WiFi; the file of the image needs "
        "network: wifi: {}"
    ]


def test_more_networks_than_a_pi_derives_keys_for_are_named() -> None:
    settings, messages = points(", ".join(f"n{n}: " for n in range(40)))
    assert len(settings.networks) == 32
    assert messages == [
        "network-config line 2: wifis: wlan0: access-points: network 33: at most 32 are supported"
    ]


def test_the_renderer_and_the_older_form_without_a_top_are_taken() -> None:
    text = "version: 2\nwifis:\n  renderer: networkd\n  wlan0:\n    access-points:\n      a: {}\n"
    settings, messages = read(text)
    assert (len(settings.networks), messages) == (1, [])
