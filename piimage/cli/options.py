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
    return with_options("origin", Origin)(verb)


def with_options(
    parameter: str, group: type[Any]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator for verbs: one option for each field of `group` replaces a parameter.

    `group` is a dataclass, of which the verb gets an object as `parameter`.
    """
    hints = get_type_hints(group, include_extras=True)
    options = [_option(field, hints[field.name]) for field in dataclasses.fields(group)]

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(verb, eval_str=True).parameters
        parameters = [
            replacement
            for name, original in own.items()
            for replacement in (options if name == parameter else [original])
        ]
        signature = inspect.Signature(parameters)

        @functools.wraps(verb)
        def wrapper(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # whatever the verb takes
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            values = bound.arguments
            made = group(**{option.name: values.pop(option.name) for option in options})
            verb(**{parameter: made}, **values)

        wrapper.__signature__ = signature  # type: ignore[attr-defined]  # typer reads it
        wrapper.__annotations__ = {option.name: option.annotation for option in parameters}
        return wrapper

    return decorate


def _option(field: dataclasses.Field[Any], annotation: object) -> inspect.Parameter:
    default = field.default if field.default is not dataclasses.MISSING else []
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )
