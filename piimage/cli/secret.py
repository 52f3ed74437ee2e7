"""`piimage secret`: the secrets of Pis that are running."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from piimage.cli.hosts import Query, finish, print_json, table
from piimage.cli.options import with_groups
from piimage.cli.output import say
from piimage.cli.secret_values import read_secret
from piimage.deploy.agent_remote import AgentRemote
from piimage.deploy.link import Link
from piimage.deploy.remote import Remote
from piimage.deploy.rollout import Result
from piimage.deploy.secrets import Changed, Secret, list_secrets, remove_secret, set_secret
from piimage.deploy.text import printable
from piimage.errors import ErrorGroup, PiimageError

T = TypeVar("T")

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

SecretArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the secret.")]


@app.command("set", epilog="Example: piimage secret set greenhouse.local mqtt_password")
@with_groups
def set_value(
    query: Query,
    name: SecretArgument,
    file: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="FILE", help="Read the value from this file.", readable=False
        ),
    ] = None,
) -> None:
    """Set a secret on Pis and restart the services that use it.

    Without --from, the value is read from standard input; on a terminal, a prompt asks for it.
    """
    value = read_secret(name, file)
    results = _ask(query, lambda link: set_secret(link, name, value))
    _show_changes(query, results, "set", _after_setting)
    finish(results, as_json=query.json)
    _require_up(results)


@app.command("ls", epilog="Example: piimage secret ls greenhouse.local")
@with_groups
def list_names(query: Query) -> None:
    """List the secrets of Pis: name, whether it is set, the containers that use it; no values."""
    results = _ask(query, list_secrets)
    if query.json:
        print_json(results, lambda rows: [dataclasses.asdict(row) for row in rows])
    else:
        several = len(results) > 1
        rows = [
            ([result.name] if several else []) + _row(secret)
            for result in results
            for secret in result.outcome or ()
        ]
        heads = (["HOST"] if several else []) + ["SECRET", "SET", "USED BY"]
        say(table([heads, *rows]) if rows else "no secret is set or used")
    finish(results, as_json=query.json)


@app.command("rm", epilog="Example: piimage secret rm greenhouse.local mqtt_password")
@with_groups
def remove(query: Query, name: SecretArgument) -> None:
    """Remove a secret from Pis; services that use it do not start again without it."""
    results = _ask(query, lambda link: remove_secret(link, name))
    _show_changes(query, results, "removed", _after_removing)
    finish(results, as_json=query.json)


def _ask(query: Query, question: Callable[[Link], T]) -> tuple[Result[T], ...]:
    def on_pi(remote: Remote) -> T:
        if not isinstance(remote, AgentRemote):
            raise PiimageError(
                "deploy.cannot", "only a Pi with piimage's system keeps secrets",
                place=remote.name, hint="give the value to the container by the engine's own means",
            )  # fmt: skip
        return question(remote.link)

    return query.ask(on_pi)


def _row(secret: Secret) -> list[str]:
    used = printable(", ".join(map(_short, secret.used))) or "-"
    return [printable(secret.name), "yes" if secret.set else "no", used]


def _short(container: str) -> str:
    """Return the name of a service, or KIND/FOLDER of a container that runs once."""
    return container.removeprefix("services/")


def _show_changes(
    query: Query,
    results: tuple[Result[Changed], ...],
    done: str,
    more: Callable[[Changed], str],
) -> None:
    if query.json:
        print_json(results, dataclasses.asdict)
        return
    for result in results:
        if result.outcome is not None:
            lost = "; it is lost at the next boot, because /data is temporary"
            text = more(result.outcome) + (lost if result.outcome.temporary else "")
            say(f"{result.name}: {done}; {printable(text)}")


def _after_setting(changed: Changed) -> str:
    waiting = [_short(user) for user in changed.used if _short(user) not in changed.restarted]
    told = [f"restarted {', '.join(changed.restarted)}"] if changed.restarted else []
    told += [f"{', '.join(waiting)} will get it at the next start"] if waiting else []
    return "; ".join(told) or "no container of this Pi uses it yet"


def _after_removing(changed: Changed) -> str:
    if not changed.used:
        return "no container of this Pi uses it"
    users = ", ".join(map(_short, changed.used))
    return f"{users} had it: what runs keeps its copy, and does not start again without it"


def _require_up(results: tuple[Result[Changed], ...]) -> None:
    """Raise PiimageError ``deploy.not-up`` for the services that are not up with the new value."""
    errors = [
        PiimageError(
            "deploy.not-up", f"{printable(name)} is not up: {printable(trouble)}",
            place=result.name, hint="piimage logs shows its output",
        )
        for result in results
        if result.outcome is not None
        for name, trouble in result.outcome.troubles.items()
    ]  # fmt: skip
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ErrorGroup(errors)
