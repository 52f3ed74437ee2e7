"""Options that several verbs share."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Print each external command.")]
Json = Annotated[bool, typer.Option("--json", help="Print events as JSON, one per line.")]
Sets = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Override a value of the file; repeatable."),
]
Files = Annotated[
    list[Path],
    typer.Argument(metavar="FILE...", help="YAML files, merged in order.", readable=False),
]


@dataclass(frozen=True)
class Origin:
    """Where packages, wheels and images come from.

    Each field is an option of every verb that fetches.
    """

    mirror: Annotated[
        str | None,
        typer.Option(
            "--mirror", envvar="PIIMAGE_MIRROR", help="Debian mirror to fetch packages from."
        ),
    ] = None
    snapshot: Annotated[
        str | None,
        typer.Option(
            "--snapshot", help="Fallback archive for locked packages that the mirror no longer has."
        ),
    ] = None
    keyring: Annotated[
        Path | None,
        typer.Option(
            "--keyring", help="Keyring that signs the archive (default: Debian's).", readable=False
        ),
    ] = None
    offline: Annotated[
        bool, typer.Option("--offline", help="Work offline, from the local store only.")
    ] = False
    index: Annotated[
        str | None,
        typer.Option(
            "--index", envvar="PIIMAGE_INDEX", help="Python package index (default: pip's)."
        ),
    ] = None
    builder: Annotated[
        str | None,
        typer.Option("--builder", help="buildx builder for folders with a Dockerfile."),
    ] = None
    insecure: Annotated[
        list[str],
        typer.Option(
            "--insecure-registry", metavar="HOST", help="Allow plain HTTP for this registry."
        ),
    ] = field(default_factory=list)
    certificates: Annotated[
        Path | None,
        typer.Option(
            "--registry-certs",
            help="Folder with a registry's CA certificate (*.crt).",
            readable=False,
        ),
    ] = None
    auth_file: Annotated[
        Path | None,
        typer.Option(
            "--registry-auth",
            envvar="REGISTRY_AUTH_FILE",
            help="Credentials file that `skopeo login` wrote.",
            readable=False,
        ),
    ] = None


def fetching(verb: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameter ``origin`` of `verb` by one option for each field of Origin."""
    own = inspect.signature(verb, eval_str=True).parameters
    options = [_option(field) for field in dataclasses.fields(Origin)]
    parameters = [
        parameter
        for name, original in own.items()
        for parameter in (options if name == "origin" else [original])
    ]
    signature = inspect.Signature(parameters)

    @functools.wraps(verb)
    def wrapper(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # whatever the verb takes
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        values = bound.arguments
        origin = Origin(**{option.name: values.pop(option.name) for option in options})
        verb(origin=origin, **values)

    wrapper.__signature__ = signature  # type: ignore[attr-defined]  # typer reads it
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapper


def _option(field: dataclasses.Field[Any]) -> inspect.Parameter:
    annotation = get_type_hints(Origin, include_extras=True)[field.name]
    default = field.default if field.default is not dataclasses.MISSING else []
    return inspect.Parameter(
        field.name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation
    )
