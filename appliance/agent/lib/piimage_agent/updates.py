"""Which update server a Pi calls: etc/piimage/updates of its system, and the card's own tokens."""

from __future__ import annotations

import os

from piimage_agent.root import Root, assignments, is_file, read_text
from piimage_agent.sysfs import tree_text

_DEFAULT_TENANT = "DEFAULT"  # hawkBit's


class Settings:
    """The server's address, who this Pi is there, and how it proves that.

    `authorization` is the value of the header; empty if the card has no token. `ca` is the file of
    the certificate that the server's has to come from; empty for plain HTTP. `rate` is the limit
    for bundles in bytes a second; 0 is none. `confirm`: see `piimage_agent.consent`.
    """

    def __init__(
        self, server: str, tenant: str, controller: str, authorization: str, ca: str,
        rate: int = 0, confirm: str = "check",
    ) -> None:  # fmt: skip
        self.server = server
        self.tenant = tenant
        self.controller = controller
        self.authorization = authorization
        self.ca = ca
        self.rate = rate
        self.confirm = confirm


def load(root: Root) -> Settings | None:
    """Return the settings; None if the system names no server."""
    found = assignments(read_text(root.at("etc/piimage/updates")))
    server = found.get("SERVER", "").rstrip("/")
    if not server:
        return None
    ca = root.at("etc/piimage/updates.pem")
    return Settings(
        server, found.get("TENANT") or _DEFAULT_TENANT, found.get("CONTROLLER") or own_id(root),
        _authorization(root), ca if is_file(ca) else "", _number(found.get("RATE", "")),
        found.get("CONFIRM") or "check",
    )  # fmt: skip


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


def own_id(root: Root) -> str:
    """Return the serial number of the Pi; its host name if it has none (emulators)."""
    return serial(root) or os.uname().nodename


def serial(root: Root) -> str:
    """Return the serial number; empty if there is none."""
    text = tree_text(root.at("proc/device-tree/serial-number"))
    return text if text.isalnum() else ""


def _authorization(root: Root) -> str:
    """Return the header for the card's token: a Pi's own one, or that of all Pis of a tenant."""
    settings = assignments(read_text(f"{root.store}/provision/settings"))
    for key, scheme in (
        ("UPDATES_TARGET_TOKEN", "TargetToken"), ("UPDATES_GATEWAY_TOKEN", "GatewayToken"),
    ):  # fmt: skip
        token = settings.get(key, "")
        if token and token.isascii() and token.isprintable():
            return f"{scheme} {token}"
    return ""
