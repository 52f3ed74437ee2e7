"""`piimage start`."""

from __future__ import annotations

from piimage.cli.control import control
from piimage.cli.hosts import HostNames, InventoryFile, JsonOut, ServiceName, SshConfig
from piimage.cli.options import Verbose

EXAMPLE = "Example: piimage start greenhouse.local hello_world"


def start(
    host: HostNames,
    service: ServiceName,
    inventory: InventoryFile = None,
    ssh_config: SshConfig = None,
    verbose: Verbose = False,
    json: JsonOut = False,
) -> None:
    """Start a stopped service on Pis; wait until it runs."""
    control("start", service, (host, inventory, ssh_config), verbose=verbose, as_json=json)
