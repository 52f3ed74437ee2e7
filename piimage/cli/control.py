"""The verbs `piimage restart`, `start` and `stop`: each does one thing to a service."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from piimage.cli.hosts import (
    HostNames,
    InventoryFile,
    JsonOut,
    ServiceName,
    SshConfig,
    ask,
    finish,
    print_json,
    table,
)
from piimage.cli.options import Verbose
from piimage.cli.output import say
from piimage.cli.ps import HEADINGS, row


def controlling(operation: str, summary: str) -> Callable[..., None]:
    """Return the verb that applies `operation` to a service; `summary` is its help."""

    def verb(
        host: HostNames,
        service: ServiceName,
        inventory: InventoryFile = None,
        ssh_config: SshConfig = None,
        verbose: Verbose = False,
        json: JsonOut = False,
    ) -> None:
        selection = (host, inventory, ssh_config)
        results = ask(selection, lambda pi: pi.control(operation, service), verbose=verbose)
        if json:
            print_json(results, dataclasses.asdict)
        elif rows := [[result.name, *row(result.outcome)] for result in results if result.outcome]:
            say(table([["HOST", *HEADINGS], *rows]))
        finish(results, as_json=json)

    verb.__doc__ = summary
    return verb
