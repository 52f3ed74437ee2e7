"""`piimage exec`."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import typer

from piimage.cli.hosts import InventoryFile, ServiceName, SshConfig
from piimage.cli.options import Verbose
from piimage.cli.terminal import terminal
from piimage.deploy.hosts import Host

EXAMPLE = "Example: piimage exec greenhouse.local hello_world sh"


def exec(
    host: Annotated[str, typer.Argument(metavar="HOST", help="[USER@]HOST[:PORT].")],
    service: ServiceName,
    program: Annotated[list[str], typer.Argument(metavar="PROGRAM...")],
    inventory: InventoryFile = None,
    ssh_config: SshConfig = None,
    verbose: Verbose = False,
) -> None:
    """Run a program in a service's container; its exit status is the command's."""
    tty = sys.stdin.isatty() and sys.stdout.isatty()

    def command(where: Host) -> list[str]:
        if where.engine is None:
            return ["piimage-agent exec", shlex.join([service, *program])]
        client = ["docker", "-H", f"unix://{where.engine}", "exec", "-it" if tty else "-i"]
        return [shlex.join([*client, service, *program])]

    terminal(host, inventory, ssh_config, command, tty=tty, verbose=verbose)
