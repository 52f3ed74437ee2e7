"""`piimage restart`."""

from __future__ import annotations

from piimage.cli.control import control
from piimage.cli.hosts import HostNames, InventoryFile, JsonOut, ServiceName, SshConfig
from piimage.cli.options import Verbose

EXAMPLE = "Example: piimage restart greenhouse.local hello_world"


def restart(
    host: HostNames,
    service: ServiceName,
    inventory: InventoryFile = None,
    ssh_config: SshConfig = None,
    verbose: Verbose = False,
    json: JsonOut = False,
) -> None:
    """Stop a service on Pis and start it again; wait until it runs."""
    control("restart", service, (host, inventory, ssh_config), verbose=verbose, as_json=json)
