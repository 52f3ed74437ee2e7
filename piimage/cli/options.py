"""Options that several verbs share."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

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
Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE...",
        help="YAML files, merged in order; also https URLs, and - for standard input.",
    ),
]
Insecure = Annotated[
    list[str],
    typer.Option("--insecure-registry", metavar="HOST", help="Allow plain HTTP for this registry."),
]
Certificates = Annotated[
    Path | None,
    typer.Option(
        "--registry-certs", help="Folder with a registry's CA certificate (*.crt).", readable=False
    ),
]
AuthFile = Annotated[
    Path | None,
    typer.Option(
        "--registry-auth",
        envvar="REGISTRY_AUTH_FILE",
        help="Credentials file that `skopeo login` wrote.",
        readable=False,
    ),
]


@dataclass(frozen=True)
class Registries:
    """Access to registries; each field is an option of a verb that needs nothing else."""

    insecure: Insecure = field(default_factory=list)
    certificates: Certificates = None
    auth_file: AuthFile = None


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
    insecure: Insecure = field(default_factory=list)
    certificates: Certificates = None
    auth_file: AuthFile = None


_ARGUMENT: Final = inspect.Parameter.POSITIONAL_OR_KEYWORD
_OPTION: Final = inspect.Parameter.KEYWORD_ONLY


def with_groups(verb: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter of `verb` whose type is a group by the options of the group.

    A group is a dataclass whose fields are options and arguments, such as Origin.
    """
    own = inspect.signature(verb, eval_str=True).parameters
    groups = {
        name: original.annotation
        for name, original in own.items()
        if isinstance(original.annotation, type) and dataclasses.is_dataclass(original.annotation)
    }
    given = [
        parameter
        for name, original in own.items()
        for parameter in (_options(groups[name]) if name in groups else [original])
    ]
    empty = inspect.Parameter.empty
    parameters = [
        *(parameter.replace(kind=_ARGUMENT) for parameter in given if parameter.default is empty),
        *(parameter.replace(kind=_OPTION) for parameter in given if parameter.default is not empty),
    ]
    signature = inspect.Signature(parameters)

    @functools.wraps(verb)
    def wrapper(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # whatever the verb takes
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        values = bound.arguments
        for name, group in groups.items():
            fields = dataclasses.fields(group)
            values[name] = group(**{field.name: values.pop(field.name) for field in fields})
        verb(**values)

    wrapper.__signature__ = signature  # type: ignore[attr-defined]  # typer reads it
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapper


def _options(group: type[Any]) -> list[inspect.Parameter]:
    """Return a parameter for each field of `group`."""
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name, _OPTION, default=_default(field), annotation=hints[field.name]
        )
        for field in dataclasses.fields(group)
    ]


def _default(field: dataclasses.Field[Any]) -> object:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
