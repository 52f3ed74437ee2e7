"""The wired network of one card, in the form of etc/piimage/network (appliance/README.md)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from piimage import addresses

DHCP: Final = "dhcp"
INTERFACE: Final = "eth0"
# A VLAN needs a kernel module that the image may not have. lo is no wired network, and the others
# are not interfaces in /proc/sys/net.
_INTERFACE: Final = re.compile(r"(?!(?:lo|all|default)$)[a-zA-Z0-9][a-zA-Z0-9_-]{0,14}", re.ASCII)


@dataclass(frozen=True)
class Wired:
    """A fixed address (``ADDRESS/PREFIX``) of an interface, or ``dhcp`` in place of one."""

    address: str
    gateway: str | None = None
    dns: tuple[str, ...] = ()
    interface: str = INTERFACE

    @property
    def text(self) -> str:
        """The file."""
        address = "" if self.address == DHCP else self.address
        return addresses.network_file(self.interface, address, self.gateway or "", self.dns)

    def faults(self) -> Iterator[tuple[str, str, str]]:
        """Give option, error and what to give instead, for each invalid value."""
        if not _INTERFACE.fullmatch(self.interface):
            yield "--interface", f"{self.interface!r} is not valid", f"a name such as {INTERFACE}"
        wrong = list(self._malformed())
        yield from wrong
        if wrong:
            return
        if self.address != DHCP:
            if fault := addresses.fault(self.address, self.gateway, self.dns):
                yield ("--address", *fault)
        elif self.gateway is not None or self.dns:
            yield "--address", f"{DHCP} gives gateway and name servers itself", "--address alone"

    def _malformed(self) -> Iterator[tuple[str, str, str]]:
        if self.address != DHCP and not _matches(addresses.WITH_PREFIX, self.address):
            form = f"ADDRESS/PREFIX, such as 192.168.1.10/24, or {DHCP}"
            yield "--address", f"{self.address!r} is not valid", form
        others = [("--gateway", self.gateway), *(("--dns", server) for server in self.dns)]
        for option, text in others:
            if text is not None and not _matches(addresses.PLAIN, text):
                yield option, f"{text!r} is not valid", "an address such as 192.168.1.1"


def _matches(pattern: str, text: str) -> bool:
    return re.fullmatch(pattern, text, re.ASCII) is not None and addresses.is_address(text)
