"""`piimage ps`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from piimage.cli.hosts import Query, finish, print_json, table
from piimage.cli.options import with_groups
from piimage.cli.output import say
from piimage.deploy.answers import Service
from piimage.deploy.text import printable
from piimage.run import word

EXAMPLE = "Example: piimage ps greenhouse.local"


@with_groups
def ps(query: Query) -> None:
    """List the services of Pis: state, health, restarts, memory."""
    results = query.ask(lambda remote: remote.services())
    if query.json:
        print_json(results, lambda rows: [dataclasses.asdict(row) for row in rows])
    else:
        several = len(results) > 1
        rows = [
            ([result.name] if several else []) + row(service)
            for result in results
            for service in result.outcome or ()
        ]
        if rows:
            say(table([(["HOST"] if several else []) + HEADINGS, *rows]))
        for result in results:
            for line in unset_lines(result.name, result.outcome or ()):
                say(line)
    finish(results, as_json=query.json)


HEADINGS = ["SERVICE", "STATE", "HEALTH", "RESTARTS", "UP", "MEMORY", "EXIT"]


def row(service: Service) -> list[str]:
    """Return the row of a service in the table."""
    return [
        printable(service.name),
        printable(service.state),
        printable(service.health) or "-",
        str(service.restarts),
        duration(service.seconds),
        size(service.memory),
        "-" if service.exit is None else str(service.exit),
    ]


def unset_lines(host: str, services: Iterable[Service]) -> Iterator[str]:
    """Give a line for each secret that a service waits for, with the command that sets it."""
    for service in services:
        for name in map(printable, service.missing):
            command = f"piimage secret set {word(host)} {word(name)}"
            yield f"{printable(service.name)} waits for the secret {name}: {command}"


def duration(seconds: float | None) -> str:
    """Return a duration in its largest unit, such as ``3 h``."""
    if seconds is None:
        return "-"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def size(count: int | None) -> str:
    """Return a number of bytes in its largest unit, such as ``1.5 MB``."""
    if count is None:
        return "-"
    for unit, length in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= length:
            return f"{count / length:.1f} {unit}"
    return f"{count} B"
