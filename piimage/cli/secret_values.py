"""The options `--secret NAME=FILE`, and the value of a secret from a file or a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from getpass import getpass
from pathlib import Path
from typing import Annotated

import typer

from piimage.config.secret import SECRET_LIMIT, fault_of, value_of
from piimage.errors import InputError, PiimageError, raise_all

Secrets = Annotated[
    list[str],
    typer.Option(
        "--secret",
        metavar="NAME=FILE",
        help="Secret for the containers whose `secrets:` name NAME, read from FILE; repeatable.",
    ),
]


def read_secrets(pairs: Sequence[str]) -> dict[str, bytes]:
    """Return the values of options ``NAME=FILE``; raises InputError ``secrets.bad-value``."""
    found: dict[str, bytes] = {}
    errors: list[PiimageError] = []
    for pair in pairs:
        name, equals, file = pair.partition("=")
        if not equals or not file:
            # The text may be a value that was meant for another option.
            errors.append(_bad("an option is not NAME=FILE", "the name and a file with the value"))
            continue
        try:
            found[name] = read_secret(name, Path(file))
        except InputError as error:
            errors.append(error)
    raise_all(errors)
    return found


def read_secret(name: str, file: Path | None) -> bytes:
    """Return the value of a secret from `file`, or else from a prompt or standard input.

    Raises InputError ``secrets.bad-value``.
    """
    value = _typed(name) if file is None else value_of(_content(file))
    if fault := fault_of(name, value):
        raise _bad(*fault)
    return value


def _typed(name: str) -> bytes:
    if sys.stdin.isatty():
        return getpass(f"value of {name}: ").encode()
    return value_of(sys.stdin.buffer.read(SECRET_LIMIT + 2))


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(SECRET_LIMIT + 2)
    except OSError as error:
        raise InputError(
            "secrets.bad-value", f"the file cannot be read: {error.strerror}",
            place=str(file), hint="give a readable file with the value",
        ) from None  # fmt: skip


def require_secrets(used: frozenset[str], given: Mapping[str, bytes]) -> None:
    """Raise InputError ``secrets.no-value`` for the secrets that an image uses without a value."""
    raise_all(_unset(used - given.keys()))


def _unset(names: frozenset[str]) -> Iterator[InputError]:
    for name in sorted(names):
        yield InputError(
            "secrets.no-value", f"a service uses the secret {name}, which has no value",
            place="--secret", hint=f"add --secret {name}=FILE with a value for the test",
        )  # fmt: skip


def _bad(message: str, instead: str) -> InputError:
    return InputError("secrets.bad-value", message, place="--secret", hint=f"give {instead}")
