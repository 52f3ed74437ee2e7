"""`piimage shell`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from piimage.cli.hosts import InventoryFile, SshConfig
from piimage.cli.options import Verbose
from piimage.cli.terminal import terminal

EXAMPLE = "Example: piimage shell greenhouse.local"


def shell(
    host: Annotated[str, typer.Argument(metavar="HOST", help="[USER@]HOST[:PORT].")],
    inventory: InventoryFile = None,
    ssh_config: SshConfig = None,
    verbose: Verbose = False,
) -> None:
    """Log in to a Pi as root, outside the containers."""
    tty = sys.stdin.isatty()
    terminal(host, inventory, ssh_config, lambda host: [], tty=tty, verbose=verbose)
