"""The network configuration that is fixed when the image is built."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from piimage import addresses
from piimage.board import Board
from piimage.compose.described import deb_file
from piimage.compose.layers import Layer, PackagesLayer
from piimage.compose.rules import File, Rules
from piimage.compose.secret import SecretLayer
from piimage.config.models import Appliance
from piimage.config.network import Ethernet, Network, Wifi
from piimage.errors import InputError
from piimage.firmware.radios import radio_globs, radio_needs
from piimage.lock import Lock
from piimage.locking.requests import wants_wifi
from piimage.wifi import WANTED, network, secret_in

# The kernel loads the regulatory database that Debian signed, or the one that its own developers
# signed; an alternative of Debian's chooses. This is the one that Debian signed.
_RULES_KEEP = ("usr/lib/firmware/regulatory.db-debian", "usr/lib/firmware/regulatory.db.p7s-debian")
_RULES_LINKS = {
    "usr/lib/firmware/regulatory.db": "regulatory.db-debian",
    "usr/lib/firmware/regulatory.db.p7s": "regulatory.db.p7s-debian",
}


def wifi_layers(appliance: Appliance, board: Board, lock: Lock) -> Iterator[Layer]:
    """Yield the layer of the radio's firmware, and the layer with the network's passphrase."""
    if board.wifi is None or not wants_wifi(appliance):
        return
    packages = tuple(map(deb_file, lock.of_root("wifi")))
    keep = (*radio_globs(board), *_RULES_KEEP, *_COPYRIGHTS)
    rules = Rules(drop=("**",), keep=keep, links=_RULES_LINKS)
    yield PackagesLayer("WiFi", packages, rules, radio_needs(board))
    assert appliance.network is not None  # noqa: S101  # it requests WiFi
    text = wifi_configuration(appliance.network).encode()
    yield SecretLayer(
        "the WiFi network", Rules(files=(File("etc/piimage/wifi.conf", text, 0o600),))
    )


_COPYRIGHTS = ("usr/share/doc/*/copyright",)


def wifi_configuration(settings: Network) -> str:
    """Return etc/piimage/wifi.conf: the country, and the networks that the file names.

    Raises InputError ``plan.bad-passphrase`` if the passphrase's file has no valid passphrase.
    """
    country = f"country={settings.country}\n" if settings.country else ""
    # Of the networks in reach, wpa_supplicant joins one with the highest priority.
    named = [wifi for wifi in settings.networks if wifi.ssid is not None]
    priorities = range(len(named) - 1, -1, -1)
    blocks = [
        network(wifi.ssid or "", _secret(wifi), hidden=wifi.hidden, priority=priority)
        for wifi, priority in zip(named, priorities, strict=True)
    ]
    return country + "".join(blocks)


def _secret(wifi: Wifi) -> str | None:
    if wifi.psk_file is None:
        return wifi.psk
    secret = secret_in(Path(wifi.psk_file))
    if secret is None:
        raise InputError(
            "plan.bad-passphrase",
            "the first line of the file is not a WiFi passphrase",
            place=wifi.psk_file,
            hint=f"write {WANTED}; for an open network, leave psk_file out",
        )
    return secret


def network_files(appliance: Appliance) -> Iterator[File]:
    """Yield etc/piimage/network if the file has settings of the wired network."""
    ethernet = _ethernet(appliance)
    if ethernet is not None and ethernet.model_fields_set:
        yield File("etc/piimage/network", _wired(ethernet).encode())


def vlan_modules(appliance: Appliance) -> tuple[str, ...]:
    """Return the kernel modules that the wired network needs in addition to the board's."""
    ethernet = _ethernet(appliance)
    return ("8021q",) if ethernet is not None and ethernet.vlan is not None else ()


def _ethernet(appliance: Appliance) -> Ethernet | None:
    return appliance.network.ethernet if appliance.network else None


def _wired(ethernet: Ethernet) -> str:
    return addresses.network_file(
        ethernet.interface, ethernet.address or "", ethernet.gateway or "", ethernet.dns,
        ethernet.vlan,
    )  # fmt: skip
