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
        bool, typer.Option("-f", "--follow", help="Follow the output until interrupted.")
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="SPAN", help="Show only the last SPAN, such as 90s or 10min."
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until", metavar="SPAN", help="Leave out what was printed in the last SPAN."
        ),
    ] = None,
    lines: Annotated[
        int | None,
        typer.Option("-n", "--lines", min=0, metavar="N", help="Show only the last N lines."),
    ] = None,
    inventory: InventoryFile = None,
    ssh_config: SshConfig = None,
    verbose: Verbose = False,
) -> None:
    """Show the output of a service; with several hosts, prefix each line with its host."""
    age = None if since is None else span(since, "--since")
    end = None if until is None else span(until, "--until")
    if end is not None and follow:
        raise InputError(
            "deploy.bad-span", "what is followed has no end", place="--until", hint="leave -f out"
        )
    with listening(verbose=verbose, as_json=False) as emit:
        selected = fleet([host], inventory, ssh_config, Runner(emit))
        several = len(selected.hosts) > 1
        output = threading.Lock()

        def work(remote: Remote) -> bool:
            show = _printer(f"{remote.name} | " if several else "", output)
            remote.log(service, Extract(lines, age, end, follow), show)
            show(b"\n" if several else b"")
            return True

        finish(selected.ask(work))


def _printer(prefix: str, output: threading.Lock) -> Callable[[bytes], None]:
    """Return a function that prints chunks of one host's log.

    On a terminal it escapes control characters.
    """
    terminal = sys.stdout.isatty()
    partial = bytearray()

    def show(data: bytes) -> None:
        if prefix:
            partial.extend(data)
            whole, _, rest = bytes(partial).rpartition(b"\n")
            partial[:] = rest
            data = b"".join(prefix.encode() + line + b"\n" for line in whole.splitlines() if line)
        if terminal:
            data = printable_lines(data.decode(errors="replace")).encode()
        with output:
            sys.stdout.buffer.write(data)
            sys.stdout.flush()

    return show


def span(text: str, option: str) -> int:
    """Return the seconds of a time span such as ``10min``, the value of `option`.

    Raises InputError ``deploy.bad-span``.
    """
    match = _SPAN.fullmatch(text)
    if match is None:
        raise InputError(
            "deploy.bad-span", f"{text!r} is not a time span", place=option,
            hint="give a span such as 90s, 10min, 2h or 1d",
        )  # fmt: skip
    return int(match[1]) * _SECONDS[match[2]]
