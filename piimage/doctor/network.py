"""Network ports and radios."""

from __future__ import annotations

from collections.abc import Iterator

from piimage.doctor.facts import Facts
from piimage.doctor.findings import Finding, absent, good, look
from piimage.doctor.storage import hanging


def network(facts: Facts) -> Iterator[Finding]:
    """Give each port and radio; of MAC addresses only the vendor's part is shown."""
    links = facts.parts("links")
    for link in links:
        yield _link(link)
    if not any(link.flag("wireless") for link in links):
        yield _no_radio(facts)
    for line in facts.part("log").texts("named"):
        if "Firmware: BCM" in line:
            yield Finding("WiFi firmware", line)
    for radio in facts.parts("radios"):
        yield _radio(radio)


def _link(link: Facts) -> Finding:
    speed = link.number("speed") or 0
    kind = "WiFi" if link.flag("wireless") else "wired"
    parts = [kind, link.text("state"), f"{speed} Mbit/s" * (speed > 0), link.text("mac")]
    shown = ", ".join(part for part in (*parts, hanging(link)) if part)
    if link.text("state") == "up" or link.flag("carrier"):
        return good(link.text("name"), shown)
    wired = "check the cable and the other end"
    advice = "check the WiFi settings in the file" if link.flag("wireless") else wired
    return look(link.text("name"), shown, f"{advice}, unless the port is not used")


def _no_radio(facts: Facts) -> Finding:
    trouble = [
        line.text("text") for line in facts.part("log").parts("lines")
        if "brcmfmac" in line.text("text")
    ]  # fmt: skip
    if trouble:
        return look("WiFi", trouble[0], "rebuild the card with the firmware for this radio")
    return absent("WiFi", "no radio, or the file enables none")


def _radio(radio: Facts) -> Finding:
    name = f"radio ({radio.text('kind')})"
    if radio.flag("hard"):
        return look(name, "off by a switch or a pin", "turn the switch on")
    if radio.flag("soft"):
        return look(name, "off by software", "set the WiFi country in the file")
    return good(name, "on")
