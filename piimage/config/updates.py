"""Which update server a Pi calls."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from piimage.config.values import Part, form, problem, quoted

_WORD = r"[A-Za-z0-9_.:-]{1,128}"

_RATE: Final = r"([0-9]{1,6}) ?(kB|MB)/s"
_UNITS: Final = {"kB": 1000, "MB": 1000_000}
_LEAST_RATE: Final = 10_000  # below it, servers take a Pi for one that is gone


def parse_rate(value: object) -> int:
    """Return text such as ``200 kB/s`` in bytes a second. Raises PydanticCustomError."""
    match = re.fullmatch(_RATE, value, re.ASCII) if isinstance(value, str) else None
    if isinstance(value, int) and not isinstance(value, bool):
        rate = value
    elif match is not None:
        rate = int(match[1]) * _UNITS[match[2]]
    else:
        raise problem(f"{quoted(value)} is not a valid rate", "a rate such as 200 kB/s or 2 MB/s")
    if rate < _LEAST_RATE:
        raise problem(f"{quoted(value)} is too slow for an update", "10 kB/s or more")
    return rate


Rate = Annotated[
    int,
    BeforeValidator(parse_rate),
    WithJsonSchema({
        "anyOf": [
            {"type": "integer", "minimum": _LEAST_RATE},
            {"type": "string", "pattern": f"^{_RATE}$"},
        ],
        "examples": ["200 kB/s"],
    }),
]  # fmt: skip


class Updates(Part):
    """The update server that the Pi calls by itself (hawkBit's DDI)."""

    server: Annotated[
        str,
        *form(
            r"https?://[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?",
            "address of a server",
            "an address such as https://updates.example.org",
        ),
    ] = Field(description="Address of the server. With https, `ca` names whose word counts.")
    tenant: Annotated[str, *form(_WORD, "tenant", "letters, digits, '_', '.', ':' and '-'")] = (
        Field(default="DEFAULT", description="The tenant on the server.")
    )
    controller: (
        Annotated[str, *form(_WORD, "controller ID", "letters, digits, '_', '.', ':' and '-'")]
        | None
    ) = Field(
        default=None,
        description="How the server knows the Pi; its serial number if left out, as in a file for "
        "several Pis.",
    )
    ca: str | None = Field(
        default=None,
        description="File (PEM) of the certificate that signs the server's, or the server's own.",
    )
    rate: Rate | None = Field(
        default=None,
        description="The most that a bundle takes of the network, such as 200 kB/s; no limit if "
        "left out.",
    )
    confirm: Literal["check", "never", "person"] = Field(
        default="check",
        description="Who confirms an update that the server wants confirmed. `check`: the Pi, "
        "if it would take the bundle. `never`: the server by itself. `person`: a person at the Pi, "
        "even if the server does not ask.",
    )
