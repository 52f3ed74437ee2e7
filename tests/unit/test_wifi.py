from __future__ import annotations

import pytest

from piimage.wifi import is_passphrase, network


def test_the_key_is_the_standards_own_example() -> None:
    # IEEE 802.11-2020, J.4.2, test case 1.
    text = network("IEEE", "password")
    assert "psk=f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e" in text
    assert "ssid=49454545" in text
    assert "password" not in text


def test_a_key_in_hexadecimal_is_taken_as_it_is() -> None:
    assert f"psk={'ab' * 32}\n" in network("x", "AB" * 32)


def test_an_open_network_has_no_key() -> None:
    assert network("cafe", None) == "network={\n\tssid=63616665\n\tkey_mgmt=NONE\n}\n"


def test_a_hidden_network_is_asked_for_by_name() -> None:
    assert "\tscan_ssid=1\n" in network("cafe", None, hidden=True)


@pytest.mark.parametrize(
    ("secret", "good"),
    [("1234567", False), ("12345678", True), ("x" * 63, True), ("x" * 64, False), ("a" * 64, True),
     ("gr\u00fcn und gelb", False), ("two\nlines here", False)],
)  # fmt: skip
def test_what_counts_as_a_passphrase(secret: str, good: bool) -> None:
    assert is_passphrase(secret) is good
