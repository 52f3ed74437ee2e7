"""Reads values of a Compose service that have several forms.

Source: the Compose specification, "Services top-level elements".
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping
from typing import Any, Final

_SHELL: Final = ("sh", "-c")


def texts(value: Any) -> list[str]:  # noqa: ANN401
    """Return a list of texts; a single text counts as a list of one."""
    return [as_written(item) for item in value] if isinstance(value, list) else [as_written(value)]


def pairs(value: Any) -> dict[str, str | None]:  # noqa: ANN401
    """Return a mapping or a list of NAME=VALUE as a mapping; the value may be missing (None)."""
    if isinstance(value, Mapping):
        return {str(k): None if v is None else as_written(v) for k, v in value.items()}
    split = (str(pair).partition("=") for pair in value)
    return {name: text if equals else None for name, equals, text in split}


def words(value: Any) -> list[str]:  # noqa: ANN401
    """Return the words of a command; a text is split as a shell does."""
    return texts(value) if isinstance(value, list) else shlex.split(as_written(value))


def as_written(value: Any) -> str:  # noqa: ANN401
    """Return a scalar as its author wrote it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return getattr(value, "text", None) or str(value)


def truth(value: Any) -> bool:  # noqa: ANN401
    """Return a boolean, which may be written in quotes."""
    return as_written(value).lower() in ("true", "yes", "on", "1")


def seconds(value: Any) -> int:  # noqa: ANN401
    """Return a duration such as 1m30s or 1500ms in whole seconds, rounded up."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
    found = re.findall(r"([0-9.]+)(ms|us|ns|h|m|s)", as_written(value))
    if not found:
        return math.ceil(
            float(as_written(value)) / 1e9
        )  # a number without a unit is in nanoseconds
    return math.ceil(sum(float(number) * units[unit] for number, unit in found))


def size(value: Any) -> str | int:  # noqa: ANN401
    """Return a size in piimage's form: a number of bytes, or a text such as 128M."""
    match = re.fullmatch(r"(-?[0-9]+(?:\.[0-9]+)?) ?([bkmg]?)b?", as_written(value).lower())
    if match is None:
        raise ValueError(value)
    if "." in match[1]:
        return int(float(match[1]) * {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}.get(match[2], 1))
    return int(match[1]) if match[2] in ("", "b") else f"{match[1]}{match[2].upper()}"


def parts(value: Any) -> list[str]:  # noqa: ANN401
    """Return the parts between colons; colons in ``${NAME:-DEFAULT}`` do not separate."""
    return re.split(r":(?![^{}]*\})", as_written(value))


def health_command(test: Any) -> list[str]:  # noqa: ANN401
    """Return the command of a health check: a text, or a list after CMD or CMD-SHELL."""
    if isinstance(test, str):
        return [*_SHELL, test]
    first, *rest = texts(test)
    if first == "CMD-SHELL":
        return [*_SHELL, " ".join(rest)]
    return rest if first == "CMD" else [first, *rest]


def capability_names(value: Any) -> list[str]:  # noqa: ANN401
    """Return capabilities by their full names; ALL becomes `all`."""
    names = (capability.upper().removeprefix("CAP_") for capability in texts(value))
    return ["all" if name == "ALL" else f"CAP_{name}" for name in names]


def mapping(value: Any) -> dict[str, str]:  # noqa: ANN401
    """Return a mapping of texts; a missing value is empty."""
    return {name: text or "" for name, text in pairs(value).items()}
