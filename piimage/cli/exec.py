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

EXAMPLE = "Example: piimage exec greenhouse.local hello_world sh -c 'ls /data'"
SETTINGS = {"allow_interspersed_args": False}
"""Options end at HOST: `-c` of `sh -c` belongs to the program."""


def exec(
    host: Annotated[str, typer.Argument(metavar="HOST", help="[USER@]HOST[:PORT].")],
    service: ServiceName,
    program: Annotated[list[str], typer.Argument(metavar="PROGRAM [ARGUMENT...]")],
    inventory: InventoryFile = None,
    ssh_config: SshConfig = None,
    verbose: Verbose = False,
) -> None:
    """Run a program in a service's container and exit with its exit code.

    Options go before HOST. Everything after SERVICE belongs to the program.
    """
    if service.startswith("-"):
        raise typer.BadParameter(f"{service}: options go before HOST", param_hint="SERVICE")
    tty = sys.stdin.isatty() and sys.stdout.isatty()
    words = program[1:] if program[0] == "--" else program

    def command(host: Host) -> list[str]:
        if host.engine is None:
            return ["piimage-agent exec", shlex.join([service, *words])]
        client = ["docker", "-H", f"unix://{host.engine}", "exec", "-it" if tty else "-i"]
        return [shlex.join([*client, service, *words])]

    terminal(host, inventory, ssh_config, command, tty=tty, verbose=verbose)
