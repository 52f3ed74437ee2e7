"""`piimage discover`."""

from __future__ import annotations

import dataclasses
import json as json_format
from typing import Annotated

import typer

from piimage.cli.hosts import JsonOut, table
from piimage.cli.output import put, say, tell
from piimage.deploy.mdns import FoundPi
from piimage.deploy.mdns import discover as find_pis
from piimage.deploy.text import printable

EXAMPLE = "Example: piimage discover"
HEADINGS = ["NAME", "ADDRESS", "BOARD", "VERSION", "HEALTH"]


def discover(
    timeout: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="Wait for answers for SECONDS.")
    ] = 3,
    json: JsonOut = False,
) -> None:
    """List the Pis on the local network that run the ready-made container mdns."""
    pis = find_pis(timeout)
    if json:
        put(json_format.dumps({"hosts": {pi.name: _record(pi) for pi in pis}}, indent=1) + "\n")
    elif pis:
        say(table([HEADINGS, *(_row(pi) for pi in pis)]))
        for pi in pis:
            if pi.wanted:
                tell(_renamed(pi))
    else:
        tell(f"no Pi answered within {timeout:g} s; it must be on this network, with {{use: mdns}}")


def _record(pi: FoundPi) -> dict[str, object]:
    return {key: value for key, value in dataclasses.asdict(pi).items() if key != "name"}


def _row(pi: FoundPi) -> list[str]:
    health = f"{pi.health} ({', '.join(pi.failing)})" if pi.failing else pi.health
    texts = [pi.name, next(iter(pi.addresses), ""), pi.board, pi.version, health]
    return [printable(text) or "-" for text in texts]


def _renamed(pi: FoundPi) -> str:
    """Return what to do about a Pi that answers to another name than its card has."""
    name, wanted = printable(pi.name), printable(pi.wanted)
    return (
        f"{name} is named {wanted} on its card, but another host has or had that name; "
        "give it one of its own: piimage provision DEVICE --hostname NAME"
    )
