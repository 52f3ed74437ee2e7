"""The options that several verbs share."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

Verbose = Annotated[
    bool, typer.Option("-v", "--verbose", help="Print each external command, ready to paste.")
]
Json = Annotated[bool, typer.Option("--json", help="Print events as JSON, one a line.")]
Sets = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override one value of the file.")
]
Files = Annotated[
    list[Path],
    typer.Argument(metavar="FILE...", help="YAML files, merged in turn.", readable=False),
]


@dataclass(frozen=True)
class Origin:
    """Where inputs come from: each field is an option of every verb that fetches."""

    mirror: Annotated[
        str | None,
        typer.Option("--mirror", envvar="PIIMAGE_MIRROR", help="Debian archive to fetch from."),
    ] = None
    snapshot: Annotated[
        str | None,
        typer.Option("--snapshot", help="Archive that still has packages which left the mirror."),
    ] = None
    keyring: Annotated[
        Path | None,
        typer.Option(
            "--keyring", help="Keys that sign the archive; else Debian's.", readable=False
        ),
    ] = None
    offline: Annotated[bool, typer.Option("--offline", help="Use only what the store has.")] = False
    index: Annotated[
        str | None,
        typer.Option(
            "--index", envvar="PIIMAGE_INDEX", help="Python package index; else pip's own."
        ),
    ] = None
    builder: Annotated[
        str | None,
        typer.Option(
            "--builder", help="BuildKit for folders with a Dockerfile, as buildx calls it."
        ),
    ] = None
    insecure: Annotated[
        list[str],
        typer.Option(
            "--insecure-registry", metavar="HOST", help="Registry that may speak plain HTTP."
        ),
    ] = field(default_factory=list)
    certificates: Annotated[
        Path | None,
        typer.Option(
            "--registry-certs", help="Folder with a registry's CA (*.crt).", readable=False
        ),
    ] = None
    auth_file: Annotated[
        Path | None,
        typer.Option(
            "--registry-auth",
            envvar="REGISTRY_AUTH_FILE",
            help="The file that `skopeo login` wrote.",
            readable=False,
        ),
    ] = None


def fetching(verb: Callable[..., None]) -> Callable[..., None]:
    """Give `verb` the options of an Origin in place of its parameter ``origin``."""
    own = inspect.signature(verb, eval_str=True).parameters
    options = [_option(one) for one in dataclasses.fields(Origin)]
    shown = [one for name, was in own.items() for one in (options if name == "origin" else [was])]
    signature = inspect.Signature(shown)

    @functools.wraps(verb)
    def called(*words: Any, **values: Any) -> None:  # noqa: ANN401  # whatever the verb takes
        bound = signature.bind(*words, **values)
        bound.apply_defaults()
        said = bound.arguments
        origin = Origin(**{one.name: said.pop(one.name) for one in options})
        verb(origin=origin, **said)

    called.__signature__ = signature  # type: ignore[attr-defined]  # typer reads it
    called.__annotations__ = {one.name: one.annotation for one in shown}
    return called


def _option(one: dataclasses.Field[Any]) -> inspect.Parameter:
    annotation = get_type_hints(Origin, include_extras=True)[one.name]
    default = one.default if one.default is not dataclasses.MISSING else []
    return inspect.Parameter(
        one.name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation
    )
