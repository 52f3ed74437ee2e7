"""What `piimage restart`, `start` and `stop` share."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from piimage.cli.hosts import finish, fleet, print_json, table
from piimage.cli.output import listening
from piimage.cli.ps import HEADINGS, row
from piimage.deploy import answers
from piimage.deploy.answers import Service
from piimage.deploy.link import Link
from piimage.deploy.text import printable_lines
from piimage.errors import PiimageError
from piimage.run import Runner

Where = tuple[str, Path | None, Path | None]
"""Hosts, inventory, ssh's configuration."""


def control(operation: str, service: str, where: Where, *, verbose: bool, as_json: bool) -> None:
    """Have the agents do `operation` with a service, and show what it is like after it."""

    def work(link: Link) -> Service:
        answer = link.ask(operation, service=service, timeout=300)
        if trouble := printable_lines(link.checked(lambda: answers.text(answer, "trouble"))):
            raise PiimageError(
                "deploy.not-up", f"{service} is not up: {trouble}", place=link.host.name,
                hint="piimage logs shows what it printed",
            )  # fmt: skip
        return link.checked(lambda: answers.service(answer.get("service")))

    names, inventory, config = where
    with listening(verbose=verbose, as_json=False) as emit:
        results = fleet([names], inventory, config, Runner(emit)).ask(work)
    if as_json:
        print_json(results, dataclasses.asdict)
    elif rows := [[one.name, *row(one.outcome)] for one in results if one.outcome is not None]:
        print(table([["HOST", *HEADINGS], *rows]))
    finish(results, as_json=as_json)
