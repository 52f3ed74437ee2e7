"""Addresses, networks and time zones that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from piimage.config.load import load
from piimage.errors import PiimageError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("network: {ethernet: {address: 300.1.1.1/24}}", "is no address"),
        ("network: {ethernet: {address: 10.1.1.1/33}}", "is no address"),
        ("network: {ethernet: {address: 10.1.1.1}}", "is no address"),
        ("network: {ethernet: {dns: [10.0.0.1]}}", "dns without an address"),
        ("network: {ethernet: {gateway: 10.0.0.1}}", "a gateway without an address"),
        ("network: {ethernet: {address: 10.0.0.2/24, gateway: 10.0.1.1}}", "is not in 10.0.0.0/24"),
        ("network: {ethernet: {address: 10.0.0.2/24, gateway: 'fd00::1'}}", "of two kinds"),
        ("network: {country: JP, wifi: {ssid: x, psk: geheim}}", "this is no passphrase"),
        ("network: {country: JP, wifi: {psk: correct horse}}", "without a network"),
        ("network: {country: JP, wifi: {hidden: true}}", "without a network"),
        ("network: {country: JP, wifi: {ssid: éééééééééééééééééé}}", "more than 32 bytes"),
        ("timezone: Europe/Wien", "there is no time zone 'Europe/Wien'; instead: Europe/Vienna"),
    ],
)
def test_it_is_refused_and_said_why(tmp_path: Path, text: str, message: str) -> None:
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
        "timezone: Asia/Tokyo",
        "timezone: UTC",
    ],
)
def test_it_is_taken(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yml").write_text(text)
    load([tmp_path / "a.yml"])
