"""The common part of the verbs that connect to Pis: host selection, connection, output."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from piimage.cli.options import Verbose
from piimage.cli.output import error_event, listening, put
from piimage.deploy.hosts import Host, parse_host, read_inventory
from piimage.deploy.known_hosts import KnownHosts, default_path
from piimage.deploy.link import Link, linked
from piimage.deploy.mdns import find_address
from piimage.deploy.reach import reached
from piimage.deploy.remote import Remote
from piimage.deploy.rollout import Policy, Result, roll_out
from piimage.deploy.servers import is_server
from piimage.deploy.ssh import Ssh
from piimage.errors import ErrorGroup, InputError
from piimage.run import Runner

T = TypeVar("T")

HostNames = Annotated[
    str,
    typer.Argument(
        metavar="HOST",
        help="[USER@]HOST[:PORT] or docker+ssh://…; separate several by commas; with --inventory "
        "also groups.",
    ),
]
InventoryFile = Annotated[
    str | None,
    typer.Option("--inventory", help="File with hosts and groups.", metavar="HOSTS.yml"),
]
Inventory = Annotated[
    str | None,
    typer.Option(
        "--inventory",
        help="File with hosts and groups; for status also goosebit+https://… or hawkbit+https://….",
        metavar="HOSTS.yml",
    ),
]
SshConfig = Annotated[
    Path | None,
    typer.Option(
        "--ssh-config",
        help="Use this file instead of ~/.ssh/config.",
        metavar="FILE",
        readable=False,
    ),
]
JsonOut = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ServiceName = Annotated[str, typer.Argument(metavar="SERVICE")]
_PARALLEL = 16  # hosts at a time, for queries


def hosts(names: Sequence[str], inventory: str | None) -> tuple[Host, ...]:
    """Return the named hosts, each once; each of `names` may be a list separated by commas.

    Raises InputError ``deploy.no-hosts``, ``deploy.bad-host``, ``deploy.unknown-host``, and
    ``deploy.only-status`` for an update server.
    """
    words = [word for name in names for word in name.split(",") if word]
    if inventory is not None and is_server(inventory):
        raise InputError(
            "deploy.only-status", "an update server knows no way to its devices",
            place="--inventory", hint="piimage status shows what it knows of them",
        )  # fmt: skip
    if inventory is not None:
        return read_inventory(Path(inventory)).choose(words)
    chosen = dict.fromkeys(map(parse_host, words))
    if not chosen:
        raise InputError(
            "deploy.no-hosts", "no host is named", hint="add --to HOST or --inventory HOSTS.yml"
        )
    return tuple(chosen)


@dataclass(frozen=True)
class Fleet:
    """Hosts, and the way to connect to them."""

    hosts: tuple[Host, ...]
    ssh: Ssh
    cancelled: threading.Event

    def ask(self, work: Callable[[Remote], T]) -> tuple[Result[T], ...]:
        """Run `work` on each host, several at a time; the failure of one does not stop others."""

        def work_on(host: Host) -> T:
            with reached(self.ssh, host, self.cancelled) as remote:
                return work(remote)

        policy = Policy(parallel=_PARALLEL, max_failures=None)
        return roll_out(self.hosts, work_on, policy, self.cancelled)


def fleet(
    names: Sequence[str], inventory: str | None, config: Path | None, runner: Runner
) -> Fleet:
    """Return the named hosts with their connection."""
    chosen = hosts(names, inventory)
    return Fleet(chosen, ssh(chosen, config, runner), threading.Event())


@contextlib.contextmanager
def single_link(selected: Fleet) -> Iterator[Link]:
    """Yield the link to the agent of the only host.

    Raises InputError ``deploy.one-host`` for several hosts or a Docker engine.
    """
    first, *others = selected.hosts
    if others or first.engine is not None:
        raise InputError(
            "deploy.one-host", "this command is for one Pi with piimage's system",
            hint="run it for one host after the other",
        )  # fmt: skip
    with linked(selected.ssh, first, selected.cancelled) as link:
        yield link


@dataclass(frozen=True)
class Query:
    """Which hosts a verb asks, and how it prints their answers; the fields are its options."""

    host: HostNames
    inventory: Inventory = None
    ssh_config: SshConfig = None
    verbose: Verbose = False
    json: JsonOut = False

    def ask(self, question: Callable[[Remote], T]) -> tuple[Result[T], ...]:
        """Ask all selected hosts, and show meanwhile what happens."""
        with listening(verbose=self.verbose, as_json=False) as emit:
            selected = fleet([self.host], self.inventory, self.ssh_config, Runner(emit))
            return selected.ask(question)


def ssh(chosen: Sequence[Host], config: Path | None, runner: Runner) -> Ssh:
    """Return the connection; ssh may prompt on the terminal only for a single host."""
    ask = len(chosen) == 1 and sys.stdin.isatty()
    return Ssh(runner, config, ask, KnownHosts(default_path()), find_address)


def finish(results: Sequence[Result[object]], *, as_json: bool = False) -> None:
    """Raise the errors of the hosts as a group; as JSON they have been printed already."""
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
    """Print one JSON document: the outcome of each host, or its error."""
    outcomes = {
        result.name: error_event(result.error) if result.error is not None else show(result.outcome)  # type: ignore[arg-type]  # a result has an error or an outcome
        for result in results
    }
    put(json.dumps({**more, "hosts": outcomes}, indent=1) + "\n")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows as text with aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
