"""The verbs `piimage restart`, `start` and `stop`: each does one thing to a service."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from piimage.cli.hosts import Query, ServiceName, finish, print_json, table
from piimage.cli.options import with_groups
from piimage.cli.output import say
from piimage.cli.ps import HEADINGS, row


def controlling(operation: str, summary: str) -> Callable[..., None]:
    """Return the verb that applies `operation` to a service; `summary` is its help."""

    def verb(query: Query, service: ServiceName) -> None:
        results = query.ask(lambda pi: pi.control(operation, service))
        if query.json:
            print_json(results, dataclasses.asdict)
        elif rows := [[result.name, *row(result.outcome)] for result in results if result.outcome]:
            say(table([["HOST", *HEADINGS], *rows]))
        finish(results, as_json=query.json)

    verb.__doc__ = summary
    return with_groups(verb)
