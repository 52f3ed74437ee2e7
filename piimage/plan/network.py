"""How the appliance reaches the network: what of it is settled when the image is built."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from piimage.boards import Board
from piimage.compose.described import package
from piimage.compose.layers import Layer, PackagesLayer
from piimage.compose.rules import File, Rules
from piimage.compose.secret import SecretLayer
from piimage.config.models import Appliance
from piimage.config.network import Ethernet, Network, Wifi
from piimage.container.bundle import quote
from piimage.errors import InputError
from piimage.firmware.radios import radio_globs, radio_needs
from piimage.lock import Lock
from piimage.locking.requests import wants_wifi
from piimage.wifi import WANTED, network, secret_in

# Debian's kernel loads the radio rules that Debian or the kernel's own people signed; an
# alternative chooses. These are Debian's.
_RULES_KEEP = ("usr/lib/firmware/regulatory.db-debian", "usr/lib/firmware/regulatory.db.p7s-debian")
_RULES_LINKS = {
    "usr/lib/firmware/regulatory.db": "regulatory.db-debian",
    "usr/lib/firmware/regulatory.db.p7s": "regulatory.db.p7s-debian",
}


def wifi_layers(appliance: Appliance, board: Board, lock: Lock) -> Iterator[Layer]:
    """Give the layer of the radio's firmware, and the one that holds the network's key."""
    if board.wifi is None or not wants_wifi(appliance):
        return
    packages = tuple(package(one) for one in lock.of_root("wifi"))
    keep = (*radio_globs(board), *_RULES_KEEP, *_COPYRIGHTS)
    rules = Rules(drop=("**",), keep=keep, links=_RULES_LINKS)
    yield PackagesLayer("WiFi", packages, rules, radio_needs(board))
    assert appliance.network is not None  # noqa: S101  # it asks for WiFi
    text = wifi_configuration(appliance.network).encode()
    yield SecretLayer(
        "the WiFi network", Rules(files=(File("etc/piimage/wifi.conf", text, 0o600),))
    )


_COPYRIGHTS = ("usr/share/doc/*/copyright",)


def wifi_configuration(said: Network) -> str:
    """Return etc/piimage/wifi.conf: the country, and the network if the file names one.

    Raises InputError ``plan.bad-passphrase`` when the passphrase's file holds none.
    """
    country = f"country={said.country}\n" if said.country else ""
    if said.wifi is None or said.wifi.ssid is None:
        return country
    return country + network(said.wifi.ssid, _secret(said.wifi), hidden=said.wifi.hidden)


def _secret(wifi: Wifi) -> str | None:
    if wifi.psk_file is None:
        return wifi.psk
    secret = secret_in(Path(wifi.psk_file))
    if secret is None:
        raise InputError(
            "plan.bad-passphrase",
            "the first line of the file is no passphrase",
            place=wifi.psk_file,
            hint=f"write {WANTED}; for an open network leave psk_file out",
        )
    return secret


def network_files(appliance: Appliance) -> Iterator[File]:
    """Give etc/piimage/network where the file says which wired interface, or its address."""
    ethernet = _ethernet(appliance)
    if ethernet is not None and ethernet.model_fields_set:
        yield File("etc/piimage/network", _wired(ethernet).encode())


def vlan_modules(appliance: Appliance) -> tuple[str, ...]:
    """Return the kernel modules that the file's wired network needs besides the board's."""
    ethernet = _ethernet(appliance)
    return ("8021q",) if ethernet is not None and ethernet.vlan is not None else ()


def _ethernet(appliance: Appliance) -> Ethernet | None:
    return appliance.network.ethernet if appliance.network else None


def _wired(ethernet: Ethernet) -> str:
    parent, number = ethernet.vlan or ("", "")
    values = {
        "INTERFACE": ethernet.interface,
        "ADDRESS": ethernet.address or "",
        "GATEWAY": ethernet.gateway or "",
        "DNS": " ".join(ethernet.dns),
        "PARENT": parent,
        "VLAN": str(number),
    }
    return "".join(f"{key}={quote(value)}\n" for key, value in values.items())
