"""Addresses, networks and time zones that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from piimage.config.load import load
from piimage.config.network import Ethernet
from piimage.errors import PiimageError
from piimage.zones import old_names, zone_names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("network: {ethernet: {address: 300.1.1.1/24}}", "is not a valid IP address"),
        ("network: {ethernet: {address: 10.1.1.1/33}}", "is not a valid IP address"),
        ("network: {ethernet: {address: 10.1.1.1}}", "is not a valid IP address"),
        ("network: {ethernet: {dns: [10.0.0.1]}}", "dns without an address"),
        ("network: {ethernet: {gateway: 10.0.0.1}}", "a gateway without an address"),
        ("network: {ethernet: {address: 10.0.0.2/24, gateway: 10.0.1.1}}", "is not in 10.0.0.0/24"),
        (
            "network: {ethernet: {address: 10.0.0.2/24, gateway: 'fd00::1'}}",
            "of different IP versions",
        ),
        ("network: {country: JP, wifi: {ssid: x, psk: geheim}}", "the passphrase is not valid"),
        ("network: {country: JP, wifi: {psk: correct horse}}", "without an ssid"),
        ("network: {country: JP, wifi: {hidden: true}}", "without an ssid"),
        ("network: {country: JP, wifi: {ssid: éééééééééééééééééé}}", "more than 32 bytes"),
        (
            "network: {country: JP, wifi: [{ssid: x, psk: geheim}]}",
            "a.yml:1:46: the passphrase is not valid",
        ),
        ("network: {country: JP, wifi: [{ssid: x, psk_fil: y}]}", "unknown key 'psk_fil'"),
        ("network: {country: JP, wifi: [{ssid: x, psk_fil: y}]}", "instead: psk_file"),
        ("network: {country: JP, wifi: {ssid: x, psk_fil: y}}", "a.yml:1:40: unknown key"),
        ("network: {country: JP, wifi: {ssid: x, psk_fil: y}}", "instead: psk_file"),
        ("network: {country: JP, wifi: [{ssid: x}, {}]}", "one that has no ssid"),
        ("network: {country: JP, wifi: [{ssid: x}, {ssid: x}]}", "'x' is listed twice"),
        ("network: {country: JP, wifi: []}", "is too short"),
        ("network: {country: JP, wifi: shed}", "'shed' is not a mapping"),
        ("network: {wifi: [{ssid: x}]}", "a.yml:1:17: wifi without a country"),
        ("hostname: " + "a" * 60 + ".bcdef", "of 66 characters; instead: at most 64"),
        ("hostname: " + "a" * 64, "a part of 64 characters; instead: at most 63"),
        ("network: {country: UK}", "'UK' is not a country code; instead: GB"),
        ("network: {country: jp}", "'jp' is not a country code; instead: JP"),
        ("network: {country: XX}", "'XX' is not a country code; instead: two capitals"),
        (
            "network: {ethernet: {interface: eth0.0}}",
            "is not a valid VLAN interface; instead: eth0.NUMBER, 1 to 4094",
        ),
        ("network: {ethernet: {interface: eth0.4095}}", "is not a valid VLAN interface"),
        ("network: {ethernet: {interface: eth0.07}}", "is not a valid VLAN interface"),
        ("network: {ethernet: {interface: lo}}", "'lo' is not a wired network interface"),
        ("network: {bridge: 10.0.0.1/20}", "'10.0.0.1/20' is not a range of addresses"),
        ("network: {bridge: x}", "such as 172.28.0.0/20"),
        ("network: {bridge: 8.8.0.0/20}", "'8.8.0.0/20' is not a private range"),
        ("network: {bridge: 127.0.0.0/20}", "'127.0.0.0/20' is not a private range"),
        ("network: {bridge: 10.0.0.0/8}", "is too large or too small; instead: a prefix from 16"),
        ("network: {bridge: 10.0.0.0/25}", "is too large or too small"),
        ("timezone: Europe/Wien", "there is no time zone 'Europe/Wien'; instead: Europe/Vienna"),
    ],
)
def test_it_is_refused_with_the_reason(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.yml").write_text(text)
    with pytest.raises(PiimageError) as caught:
        load([tmp_path / "a.yml"])
    assert message in str(caught.value)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "network: {ethernet: {address: 10.0.0.2/24, gateway: 10.0.0.1, dns: [10.0.0.1]}}",
        "network: {ethernet: {address: 'fd00::2/64', gateway: 'fe80::1'}}",
        "network: {country: JP, wifi: {}}",
        "network: {country: JP, wifi: [{ssid: x}, {ssid: y, psk: correct horse}]}",
        "network: {ethernet: {address: 10.0.0.0/31, gateway: 10.0.0.1}}",
        "network: {ethernet: {address: 10.0.0.255/32}}",
        "network: {ethernet: {address: 10.0.0.255/16, gateway: 10.0.0.1}}",
        "network: {ethernet: {address: 'fd00::/127', gateway: 'fd00::1'}}",
        "network: {ethernet: {address: 10.0.0.2/24, dns: [127.0.0.1, '::1', 10.0.0.2]}}",
        "network: {ethernet: {interface: eth0.1}}",
        "network: {ethernet: {interface: end0.4094, address: 10.0.0.2/24}}",
        "network: {ethernet: {interface: br.lan}}",
        "network: {ethernet: {interface: br.lan.7}}",
        "network: {country: GG}",
        "hostname: " + "a" * 63,
        "hostname: " + "a" * 60 + ".bcd",
        "timezone: Asia/Tokyo",
        "timezone: UTC",
    ],
)
def test_it_is_taken(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yml").write_text(text)
    load([tmp_path / "a.yml"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("network: {ethernet: {interface: eth0.100.200}}", "a VLAN within a VLAN; instead: eth0.1"),
        (
            "network: {ethernet: {interface: eth0.}}",
            "'eth0.' is not a valid VLAN interface; instead: eth0.NUMBER",
        ),
        ("network: {ethernet: {interface: all}}", "'all' is not a wired network interface"),
        ("hostname: 192.168.1.5", "'192.168.1.5' looks like an IP address"),
        ("hostname: pi.7", "'pi.7' looks like an IP address"),
    ],
)
def test_what_cannot_be_made_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.yml").write_text(text)
    with pytest.raises(PiimageError) as caught:
        load([tmp_path / "a.yml"])
    assert message in str(caught.value)


# Each is the network's, everybody's, a group's, reserved, every machine's own, or no address.
NOBODYS = (
    (
        "address: 192.168.1.255/24",
        "192.168.1.255/24: it is the broadcast address of 192.168.1.0/24",
    ),
    ("address: 192.168.1.0/24", "the address of the network 192.168.1.0/24 itself"),
    ("address: 10.0.0.7/29", "broadcast"),
    ("address: 10.0.0.8/30", "of the network"),
    ("address: 127.0.0.1/8", "loopback"),
    ("address: 127.8.8.8/32", "loopback"),
    ("address: 0.0.0.0/24", "not the address of a host"),
    ("address: 0.1.2.3/24", "not the address of a host"),
    ("address: 224.0.0.1/24", "multicast"),
    ("address: 240.0.0.1/24", "reserved"),
    ("address: 255.255.255.255/32", "reserved"),
    ("address: '::1/128'", "loopback"),
    ("address: '::/64'", "not the address of a host"),
    ("address: 'ff02::1/64'", "multicast"),
    ("address: 'fd00::/64'", "of the network"),
    ("address: '::ffff:a00:1/120'", "an IPv4 address in IPv6 form"),
    ("address: 10.0.0.2/24, gateway: 10.0.0.0", "of the network"),
    ("address: 10.0.0.2/24, gateway: 10.0.0.255", "broadcast"),
    ("address: 10.0.0.2/24, gateway: 10.0.0.2", "is the Pi's own address"),
    ("address: 10.0.0.2/24, gateway: 127.0.0.1", "loopback"),
    ("address: 10.0.0.2/24, gateway: 0.0.0.0", "not the address of a host"),
    ("address: 'fd00::2/64', gateway: 'fd00::2'", "is the Pi's own address"),
    ("address: 10.0.0.2/24, dns: [10.0.0.255]", "broadcast"),
    ("address: 10.0.0.2/24, dns: [9.9.9.9, 0.0.0.0]", "not the address of a host"),
    ("address: 10.0.0.2/24, dns: ['ff02::1']", "multicast"),
)


@pytest.mark.parametrize(("fields", "message"), NOBODYS)
def test_an_address_that_nobody_can_have_is_refused(
    tmp_path: Path, fields: str, message: str
) -> None:
    (tmp_path / "a.yml").write_text(f"network: {{ ethernet: {{ {fields} }} }}\n")
    with pytest.raises(PiimageError) as caught:
        load([tmp_path / "a.yml"])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("old", "today"),
    [
        ("Asia/Calcutta", "Asia/Kolkata"),
        ("US/Pacific", "America/Los_Angeles"),
        ("Japan", "Asia/Tokyo"),
        ("America/Buenos_Aires", "America/Argentina/Buenos_Aires"),
        ("GB", "Europe/London"),
    ],
)
def test_an_old_name_of_a_time_zone_is_taken_for_that_of_today(
    tmp_path: Path, old: str, today: str
) -> None:
    (tmp_path / "a.yml").write_text(f"timezone: {old}\n")
    assert load([tmp_path / "a.yml"]).timezone == today


def test_no_old_name_hides_a_zone_and_each_leads_to_one() -> None:
    assert not set(old_names()) & zone_names()
    assert set(old_names().values()) <= zone_names()
    assert len(old_names()) > 100


@pytest.mark.parametrize(
    ("interface", "vlan"),
    [("eth0", None), ("eth0.100", ("eth0", 100)), ("a.b.7", ("a.b", 7)), ("br.lan", None)],
)
def test_a_vlan_is_told_by_its_name(interface: str, vlan: tuple[str, int] | None) -> None:
    assert Ethernet(interface=interface).vlan == vlan
