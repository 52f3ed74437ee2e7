"""`piimage logs`."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable
from typing import Annotated

import typer

from piimage.cli.hosts import HostNames, InventoryFile, ServiceName, SshConfig, finish, fleet
from piimage.cli.options import Verbose
from piimage.cli.output import listening
from piimage.deploy.remote import Extract, Remote
from piimage.deploy.text import printable_lines
from piimage.errors import InputError
from piimage.run import Runner

EXAMPLE = "Example: piimage logs greenhouse.local hello_world -f"

_SPAN = re.compile(r"(\d{1,9})(s|min|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def logs(
    host: HostNames,
    service: ServiceName,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on with what it prints from now on.")
    ] = False,
    since: Annotated[
        str | None, typer.Option("--since", metavar="SPAN", help="Such as 90s, 10min, 2h, 1d.")
    ] = None,
    lines: Annotated[
        int | None, typer.Option("-n", "--lines", min=0, help="Only the last so many lines.")
    ] = None,
    inventory: InventoryFile = None,
    ssh_config: SshConfig = None,
    verbose: Verbose = False,
) -> None:
    """Show what a service printed; of several Pis, each line with its host."""
    age = None if since is None else span(since)
    with listening(verbose=verbose, as_json=False) as emit:
        chosen = fleet([host], inventory, ssh_config, Runner(emit))
        several = len(chosen.hosts) > 1
        turn = threading.Lock()

        def work(remote: Remote) -> bool:
            show = _shower(f"{remote.name} | " if several else "", turn)
            remote.log(service, Extract(lines, age, follow), show)
            show(b"\n" if several else b"")
            return True

        finish(chosen.ask(work))


def _shower(prefix: str, turn: threading.Lock) -> Callable[[bytes], None]:
    """Return what shows pieces of one host's log; a terminal is never steered by them."""
    terminal = sys.stdout.isatty()
    kept = bytearray()

    def show(data: bytes) -> None:
        if prefix:
            kept.extend(data)
            whole, _, rest = bytes(kept).rpartition(b"\n")
            kept[:] = rest
            data = b"".join(prefix.encode() + line + b"\n" for line in whole.splitlines() if line)
        if terminal:
            data = printable_lines(data.decode(errors="replace")).encode()
        with turn:
            sys.stdout.buffer.write(data)
            sys.stdout.flush()

    return show


def span(text: str) -> int:
    """Return the seconds of a span of time such as ``10min``; InputError ``deploy.bad-span``."""
    found = _SPAN.fullmatch(text)
    if found is None:
        raise InputError(
            "deploy.bad-span", f"{text!r} is no span of time", place="--since",
            hint="such as 90s, 10min, 2h, 1d",
        )  # fmt: skip
    return int(found[1]) * _SECONDS[found[2]]
