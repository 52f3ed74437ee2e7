"""What the verbs share that talk to Pis: which hosts, how they are reached, what is shown."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from piimage.cli.output import error_event, put, show_error
from piimage.deploy.hosts import Host, parse_host, read_inventory
from piimage.deploy.known_hosts import KnownHosts, default_path
from piimage.deploy.reach import reached
from piimage.deploy.remote import Remote
from piimage.deploy.rollout import Policy, Result, roll_out
from piimage.deploy.ssh import Ssh
from piimage.errors import ErrorGroup, InputError, PiimageError
from piimage.run import Runner

T = TypeVar("T")

HostNames = Annotated[
    str,
    typer.Argument(
        metavar="HOST",
        help="[USER@]HOST[:PORT], docker+ssh://…; several by commas; with --inventory also groups.",
    ),
]
InventoryFile = Annotated[
    Path | None,
    typer.Option(
        "--inventory", help="File of hosts and groups.", metavar="HOSTS.yml", readable=False
    ),
]
SshConfig = Annotated[
    Path | None,
    typer.Option("--ssh-config", help="Instead of ~/.ssh/config.", metavar="FILE", readable=False),
]
JsonOut = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ServiceName = Annotated[str, typer.Argument(metavar="SERVICE")]

_SEVERAL = 16  # hosts at once, for what is only asked


def hosts(names: Sequence[str], inventory: Path | None) -> tuple[Host, ...]:
    """Return the hosts that are meant, each once; `names` may be joined by commas.

    Raises InputError ``deploy.no-hosts``, ``deploy.bad-host``, ``deploy.unknown-host``.
    """
    words = [word for name in names for word in name.split(",") if word]
    if inventory is not None:
        return read_inventory(inventory).choose(words)
    found = dict.fromkeys(map(parse_host, words))
    if not found:
        raise InputError(
            "deploy.no-hosts", "no host is named", hint="add --to HOST, or --inventory HOSTS.yml"
        )
    return tuple(found)


@dataclass(frozen=True)
class Fleet:
    """Hosts, and how they are reached."""

    hosts: tuple[Host, ...]
    ssh: Ssh
    cancelled: threading.Event

    def ask(self, work: Callable[[Remote], T]) -> tuple[Result[T], ...]:
        """Do `work` with the services of each host, several at once; a failure stops no other."""

        def one(host: Host) -> T:
            with reached(self.ssh, host, self.cancelled) as remote:
                return work(remote)

        policy = Policy(parallel=_SEVERAL, max_failures=None)
        return roll_out(self.hosts, one, policy, self.cancelled)


def fleet(
    names: Sequence[str], inventory: Path | None, config: Path | None, runner: Runner
) -> Fleet:
    """Return the hosts that are meant; ssh may ask the user only if there is one."""
    found = hosts(names, inventory)
    return Fleet(found, ssh(found, config, runner), threading.Event())


def ssh(found: Sequence[Host], config: Path | None, runner: Runner) -> Ssh:
    """Return how hosts are reached; passphrases and host keys are asked for if there is one."""
    ask = len(found) == 1 and sys.stdin.isatty()
    return Ssh(runner, config, ask, KnownHosts(default_path()))


def finish(results: Sequence[Result[object]], *, as_json: bool = False) -> None:
    """Raise the errors of the hosts, together; as JSON they have been shown already."""
    errors = [result.error for result in results if result.error is not None]
    if not errors:
        return
    if as_json:
        raise typer.Exit(max(error.exit_code for error in errors))
    if len(results) == 1 or len(errors) == 1:
        raise errors[0]
    raise ErrorGroup(errors)


def print_json(
    results: Sequence[Result[T]], show: Callable[[T], object], more: Mapping[str, object] = {}
) -> None:
    """Print one JSON document: what each host said, or its error."""
    found = {
        result.name: error_event(result.error) if result.error is not None else show(result.outcome)  # type: ignore[arg-type]  # there is one or the other
        for result in results
    }
    put(json.dumps({**more, "hosts": found}, indent=1) + "\n")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows with their columns one under the other."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def complain(error: PiimageError) -> None:
    """Show one host's error at once; what is left to do goes on."""
    show_error(error)
