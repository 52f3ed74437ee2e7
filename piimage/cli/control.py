"""What `piimage restart`, `start` and `stop` share."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from piimage.cli.hosts import finish, fleet, print_json, table
from piimage.cli.output import listening, say
from piimage.cli.ps import HEADINGS, row
from piimage.deploy.answers import Service
from piimage.deploy.remote import Remote
from piimage.run import Runner

Where = tuple[str, Path | None, Path | None]
"""Hosts, inventory, ssh's configuration."""


def control(operation: str, service: str, where: Where, *, verbose: bool, as_json: bool) -> None:
    """Have the hosts do `operation` with a service, and show what it is like after it."""

    def work(remote: Remote) -> Service:
        return remote.control(operation, service)

    names, inventory, config = where
    with listening(verbose=verbose, as_json=False) as emit:
        results = fleet([names], inventory, config, Runner(emit)).ask(work)
    if as_json:
        print_json(results, dataclasses.asdict)
    elif rows := [[one.name, *row(one.outcome)] for one in results if one.outcome is not None]:
        say(table([["HOST", *HEADINGS], *rows]))
    finish(results, as_json=as_json)
