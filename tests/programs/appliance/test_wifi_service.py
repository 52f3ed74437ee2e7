"""The configuration that the ready-made WiFi service gives to wpa_supplicant."""

from __future__ import annotations

from pathlib import Path

import pytest

from piimage import resources
from tests.programs.appliance.scripts import Pi

FILE = "network={\n\tssid=66\n}\n"
CARD = "network={\n\tssid=63\n}\n"


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ({}, f"country=JP\n{FILE}"),
        ({"wifi.conf": CARD}, f"country=JP\n{CARD}"),
        ({"country": "AT\n"}, f"country=AT\n{FILE}"),
        ({"country": "AT\n", "wifi.conf": CARD * 2}, f"country=AT\n{CARD * 2}"),
    ],
)
def test_the_cards_country_and_networks_replace_those_of_the_file(
    tmp_path: Path, card: dict[str, str], expected: str
) -> None:
    pi = Pi(tmp_path)
    pi.write("etc/piimage/wifi.conf", f"country=JP\n{FILE}")
    for name, text in card.items():
        pi.write(f"provision/{name}", text)
    text = (resources.path("services") / "wifi/wifi.sh").read_text()
    functions, call, _ = text.partition("\nwrite_configuration\n")
    assert call
    for place in ("/etc/piimage", "/provision", "/tmp/wifi.conf"):
        functions = functions.replace(f"={place}", f"={tmp_path}{place}")
    pi.path("tmp/wifi.conf")
    pi.sh(f"{functions}\nwrite_configuration")
    written = tmp_path / "tmp/wifi.conf"
    assert written.read_text() == expected
    assert written.stat().st_mode & 0o777 == 0o600
