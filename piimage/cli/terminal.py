"""The common part of `piimage exec` and `shell`: ssh on the user's terminal."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import typer

from piimage.cli.hosts import hosts
from piimage.cli.output import listening
from piimage.deploy.hosts import Host
from piimage.deploy.known_hosts import KnownHosts, default_path
from piimage.deploy.mdns import find_address
from piimage.deploy.ssh import Ssh
from piimage.errors import InputError
from piimage.run import Runner


def terminal(
    name: str,
    inventory: str | None,
    config: Path | None,
    command: Callable[[Host], Sequence[str]],
    *,
    tty: bool,
    verbose: bool,
) -> None:
    """Run `command` on the host with this process's input and output; exit with its exit code."""
    named = hosts([name], inventory)
    if len(named) != 1:
        raise InputError(
            "deploy.one-host", f"{name!r} names {len(named)} hosts", hint="name a single host"
        )
    (host,) = named
    with listening(verbose=verbose, as_json=False) as emit:
        runner = Runner(emit).with_environment(TERM=os.environ.get("TERM", "dumb"))
        ssh = Ssh(runner, config, known_hosts=KnownHosts(default_path()), find_address=find_address)
        with ssh.terminal(host, command(host), tty=tty) as argv:
            exit_code = runner.interactive(argv)
    raise typer.Exit(exit_code)
