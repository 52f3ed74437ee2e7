"""The common part of `piimage restart`, `start` and `stop`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from piimage.cli.hosts import finish, fleet, print_json, table
from piimage.cli.output import listening, say
from piimage.cli.ps import HEADINGS, row
from piimage.deploy.answers import Service
from piimage.deploy.remote import Remote
from piimage.run import Runner

Selection = tuple[str, Path | None, Path | None]
"""Hosts, inventory file, ssh configuration file."""


def control(
    operation: str, service: str, selection: Selection, *, verbose: bool, as_json: bool
) -> None:
    """Apply `operation` to a service on the selected hosts, and show the service's new state."""

    def work(remote: Remote) -> Service:
        return remote.control(operation, service)

    names, inventory, config = selection
    with listening(verbose=verbose, as_json=False) as emit:
        results = fleet([names], inventory, config, Runner(emit)).ask(work)
    if as_json:
        print_json(results, dataclasses.asdict)
    elif rows := [[result.name, *row(result.outcome)] for result in results if result.outcome]:
        say(table([["HOST", *HEADINGS], *rows]))
    finish(results, as_json=as_json)
