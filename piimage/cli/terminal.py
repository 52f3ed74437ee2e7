"""What `piimage exec` and `shell` share: ssh with the user's own terminal."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import typer

from piimage.cli.hosts import hosts
from piimage.cli.output import listening
from piimage.deploy.hosts import Host
from piimage.deploy.known_hosts import KnownHosts, default_path
from piimage.deploy.ssh import Ssh
from piimage.errors import InputError
from piimage.run import Runner


def terminal(
    name: str,
    inventory: Path | None,
    config: Path | None,
    command: Callable[[Host], Sequence[str]],
    *,
    tty: bool,
    verbose: bool,
) -> None:
    """Run a host's `command` there with our own input and output, and exit as it does."""
    found = hosts([name], inventory)
    if len(found) != 1:
        raise InputError("deploy.one-host", f"{name!r} is {len(found)} hosts", hint="name one")
    with listening(verbose=verbose, as_json=False) as emit:
        runner = Runner(emit).with_environment(TERM=os.environ.get("TERM", "dumb"))
        ssh = Ssh(runner, config, known_hosts=KnownHosts(default_path()))
        with ssh.terminal(found[0], command(found[0]), tty=tty) as argv:
            status = runner.interactive(argv)
    raise typer.Exit(status)
