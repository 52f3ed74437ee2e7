"""Secrets: values that a container gets as files, and that no image, manifest or log contains."""

import re
from typing import Annotated, Final

from piimage.config.values import form

SECRETS_FOLDER: Final = "/run/secrets"
"""Where a container finds its secrets, one file each."""
SECRET_LIMIT: Final = 1 << 16
"""The longest value, in bytes."""
_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}"
_NAME_FORM: Final = "at most 63 letters, digits, _ and -, beginning with a letter or digit"

SecretName = Annotated[str, *form(_NAME, "name of a secret", _NAME_FORM)]


def value_of(data: bytes) -> bytes:
    """Return the value that a file or standard input with `data` gives.

    A value of one line loses its end of line, which an editor or `echo` put there. A value of
    several lines, such as a key, stays as it is.
    """
    line = data.removesuffix(b"\n")
    if line == data or b"\n" in line:
        return data
    return line.removesuffix(b"\r")


def fault_of(name: str, value: bytes) -> tuple[str, str] | None:
    """Return what is wrong with a secret, and what to give instead; never the value."""
    if not re.fullmatch(_NAME, name):
        return f"{name!r} is not a valid name of a secret", _NAME_FORM
    if not value:
        return f"the value of {name} is empty", "a value of at least one byte"
    if len(value) > SECRET_LIMIT:
        return f"the value of {name} is too long", f"at most {SECRET_LIMIT} bytes"
    return None
