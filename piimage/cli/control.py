"""The common part of `piimage restart`, `start` and `stop`."""

from __future__ import annotations

import dataclasses

from piimage.cli.hosts import Selection, ask, finish, print_json, table
from piimage.cli.output import say
from piimage.cli.ps import HEADINGS, row
from piimage.deploy.answers import Service
from piimage.deploy.remote import Remote


def control(
    operation: str, service: str, selection: Selection, *, verbose: bool, as_json: bool
) -> None:
    """Apply `operation` to a service on the selected hosts, and show the service's new state."""

    def work(remote: Remote) -> Service:
        return remote.control(operation, service)

    results = ask(selection, work, verbose=verbose)
    if as_json:
        print_json(results, dataclasses.asdict)
    elif rows := [[result.name, *row(result.outcome)] for result in results if result.outcome]:
        say(table([["HOST", *HEADINGS], *rows]))
    finish(results, as_json=as_json)
