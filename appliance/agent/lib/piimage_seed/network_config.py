"""Reads network-config: netplan's YAML, version 2, for one wired interface and the radio."""

from __future__ import annotations

import re
from typing import Final

from piimage import addresses, wifi
from piimage.countries import country_codes
from piimage_seed.document import Document, Taker, named, shown
from piimage_seed.settings import Settings, Wired
from piimage_seed.tree import Node, Table, Text, decoded, parse

NAME: Final = "network-config"

IGNORED: Final = frozenset({"dhcp6", "optional", "renderer"})
"""Keys that say how netplan goes about it, or what happens here anyway."""
MOST_NETWORKS: Final = 32
"""The WiFi networks of a card: a small Pi derives the key of one in 50 ms."""
_MOST_SSID: Final = 32  # bytes: IEEE 802.11-2020, 9.4.2.2
_INTERFACE: Final = re.compile(r"(?!(?:lo|all|default)$)[a-zA-Z0-9][a-zA-Z0-9_-]{0,14}", re.ASCII)
_DEFAULT: Final = {"default": (4, 6), "0.0.0.0/0": (4,), "::/0": (6,)}  # a route's `to`: versions


def read_network_config(data: bytes, settings: Settings, *, radio: bool) -> list[str]:
    """Add what network-config says to `settings`; return the messages. Raises Unreadable.

    `radio` tells whether this image has WiFi.
    """
    document = Document(NAME)
    tree = parse(decoded(data))
    if tree is not None:
        _NetworkConfig(document, settings, radio=radio).read(tree)
    return document.messages


class _NetworkConfig:
    def __init__(self, document: Document, settings: Settings, *, radio: bool) -> None:
        self._document = document
        self._settings = settings
        self._radio = radio

    def read(self, tree: Node) -> None:
        inner = [value for key, value in _entries(tree) if key.value == "network"]
        if inner:
            self._document.table(tree, "", {"network": lambda node, _: self._read(node)})
        else:
            self._read(tree)

    def _read(self, tree: Node) -> None:
        versions = [value for key, value in _entries(tree) if key.value == "version"]
        for version in versions:
            if not isinstance(version, Text) or version.value != "2":
                self._document.note(version, "version: only 2 is supported; the file is not used")
                return
        takers: dict[str, Taker] = {
            "version": lambda *_: None,
            "ethernets": self._take_ethernets,
            "wifis": self._take_radios,
        }
        self._document.table(tree, "", takers, IGNORED)

    # Wired ----------------------------------------------------------------------------------

    def _take_ethernets(self, node: Node, path: str) -> None:
        interfaces = [x for x in self._document.entries(node, path) if x[0].value not in IGNORED]
        fixed = [entry for entry in interfaces if _has_address(entry[1])]
        for name, value in interfaces:
            at = f"{path}: {named(name.value)}"
            if not _INTERFACE.fullmatch(name.value):
                self._document.note(name, f"{at}: this is not the name of an interface")
            elif fixed and name is not fixed[0][0]:
                self._document.note(name, f"{at}: only one wired interface is supported")
            else:
                _Ethernet(self._document, self._settings, name).read(value, at)

    # WiFi -----------------------------------------------------------------------------------

    def _take_radios(self, node: Node, path: str) -> None:
        radios = [x for x in self._document.entries(node, path) if x[0].value not in IGNORED]
        if radios and not self._radio:
            hint = "the file of the image needs network: wifi: {}"
            self._document.note(radios[0][0], f"{path}: this image has no WiFi; {hint}")
            return
        for name, value in radios:
            at = f"{path}: {named(name.value)}"
            if name is not radios[0][0]:
                self._document.note(name, f"{at}: only one radio is supported")
                continue
            takers: dict[str, Taker] = {
                "access-points": self._take_points,
                "regulatory-domain": self._take_country,
                "dhcp4": self._take_dhcp,
            }
            self._document.table(value, f"{at}: ", takers, IGNORED)

    def _take_dhcp(self, node: Node, path: str) -> None:
        if not self._document.flag(node, path):
            self._document.note(node, f"{path}: WiFi always uses DHCP")

    def _take_country(self, node: Node, path: str) -> None:
        text = self._document.text(node, path)
        if text is None:
            return
        if text.value.upper() not in country_codes():
            self._document.note(node, f"{path}: {shown(text.value)} is not a country code")
            return
        self._settings.country = text.value.upper()

    def _take_points(self, node: Node, path: str) -> None:
        for number, (name, value) in enumerate(self._document.entries(node, path), 1):
            # The name may be a secret in the wrong place, so that messages have its number alone.
            at = f"{path}: network {number}"
            if number > MOST_NETWORKS:
                self._document.note(name, f"{at}: at most {MOST_NETWORKS} are supported")
                return
            if not 1 <= len(name.octets) <= _MOST_SSID:
                self._document.note(name, f"{at}: a name has 1 to {_MOST_SSID} bytes")
                continue
            point = _AccessPoint(self._document)
            point.read(value, at)
            if point.valid:
                ssid = name.octets.decode("utf-8", "surrogateescape")
                block = wifi.network(ssid, point.secret, hidden=point.hidden)
                self._settings.networks.append(block)


class _Ethernet:
    """The settings of one wired interface."""

    def __init__(self, document: Document, settings: Settings, name: Text) -> None:
        self._document = document
        self._settings = settings
        self._name = name
        self._addresses: list[Text] = []
        self._gateways: list[Text] = []
        self._dns: list[Text] = []
        self._without_dhcp: Node | None = None

    def read(self, node: Node, path: str) -> None:
        takers: dict[str, Taker] = {
            "dhcp4": self._take_dhcp,
            "addresses": lambda value, at: self._add(self._addresses, value, at, prefix=True),
            "gateway4": lambda value, at: self._add(self._gateways, value, at, prefix=False),
            "gateway6": lambda value, at: self._add(self._gateways, value, at, prefix=False),
            "routes": self._take_routes,
            "nameservers": self._take_name_servers,
        }
        self._document.table(node, f"{path}: ", takers, IGNORED)
        if self._addresses:
            self._set(path)
            return
        self._settings.dhcp = True
        if self._without_dhcp is not None:
            self._document.note(self._without_dhcp, f"{path}: without addresses it uses DHCP")
        for texts, subject in ((self._gateways, "a gateway"), (self._dns, "name servers")):
            if texts:
                self._document.note(texts[0], f"{path}: {subject} without addresses: not used")

    def _set(self, path: str) -> None:
        address = self._addresses[0]
        for other in self._addresses[1:]:
            self._document.note(other, f"{path}: only one address is supported")
        version = _version(address)
        gateway: str | None = None
        for router in self._gateways:
            if gateway is None and _version(router) == version:
                gateway = router.value
            else:
                self._document.note(router, f"{path}: only one gateway is supported")
        dns = tuple(text.value for text in self._dns)
        if fault := addresses.fault(address.value, gateway, dns):
            error, instead = fault
            self._document.note(address, f"{path}: {error}; give {instead}")
            return
        self._settings.wired = Wired(self._name.value, address.value, gateway, dns)

    def _take_dhcp(self, node: Node, path: str) -> None:
        if not self._document.flag(node, path):
            self._without_dhcp = node

    def _add(self, target: list[Text], node: Node, path: str, *, prefix: bool) -> None:
        for text in self._document.texts(node, path):
            pattern = addresses.WITH_PREFIX if prefix else addresses.PLAIN
            if re.fullmatch(pattern, text.value, re.ASCII) and addresses.is_address(text.value):
                target.append(text)
            else:
                form = "an address such as 192.168.1.10" + ("/24" if prefix else "")
                self._document.note(text, f"{path}: {shown(text.value)} is not {form}")

    def _take_routes(self, node: Node, path: str) -> None:
        for item in self._document.items(node, path):
            values = {key.value: value for key, value in self._document.entries(item, path)}
            to, via = values.get("to"), values.get("via")
            if isinstance(to, Text) and to.value in _DEFAULT and via and len(values) == 2:
                self._add(self._gateways, via, f"{path}: via", prefix=False)
            else:
                self._document.note(item, f"{path}: only a default route with `via` is supported")

    def _take_name_servers(self, node: Node, path: str) -> None:
        takers: dict[str, Taker] = {
            "addresses": lambda value, at: self._add(self._dns, value, at, prefix=False),
        }
        self._document.table(node, f"{path}: ", takers)


class _AccessPoint:
    """The settings of one WiFi network."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self.secret: str | None = None
        self.hidden = False
        self.valid = True
        self._is_open: bool | None = None
        """What the key management says; None if it is not given."""

    def read(self, node: Node, path: str) -> None:
        takers: dict[str, Taker] = {
            "password": self._take_password,
            "hidden": self._take_hidden,
            "auth": self._take_auth,
        }
        before = self._document.count
        self._document.table(node, f"{path}: ", takers)
        if self._is_open and self.secret is not None:
            self._refuse(node, f"{path}: a password, and the key management none")
        elif self._is_open is False and self.secret is None and self.valid:
            self._refuse(node, f"{path}: the password is missing")
        elif self.secret is None and self._document.count > before:
            self.valid = False  # what was not understood may have been meant as the password

    def _refuse(self, node: Node, message: str) -> None:
        self._document.note(node, message)
        self.valid = False

    def _take_password(self, node: Node, path: str) -> None:
        if not isinstance(node, Text) or not wifi.is_passphrase(node.value):
            self._refuse(node, f"{path}: this is not a WiFi passphrase: {wifi.WANTED}")
            return
        self.secret = node.value

    def _take_hidden(self, node: Node, path: str) -> None:
        self.hidden = self._document.flag(node, path)

    def _take_auth(self, node: Node, path: str) -> None:
        takers: dict[str, Taker] = {
            "key-management": self._take_management,
            "password": self._take_password,
        }
        self._document.table(node, f"{path}: ", takers)

    def _take_management(self, node: Node, path: str) -> None:
        if not isinstance(node, Text) or node.value not in ("none", "psk"):
            self._refuse(node, f"{path}: only none and psk are supported")
            return
        self._is_open = node.value == "none"


def _entries(node: Node) -> list[tuple[Text, Node]]:
    return node.entries if isinstance(node, Table) else []


def _has_address(node: Node) -> bool:
    return any(key.value == "addresses" for key, _ in _entries(node))


def _version(text: Text) -> int:
    return 6 if ":" in text.value else 4
