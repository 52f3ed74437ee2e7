"""Relations between packages (deb-control(5), Policy chapter 7) as data."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Final

_FORM: Final = re.compile(
    r"([A-Za-z0-9][A-Za-z0-9+.-]*)(?::([a-z0-9-]+))?"
    r"\s*(?:\(\s*(<<|<=|=|>=|>>|<|>)\s*([A-Za-z0-9][^\s()]*)\s*\))?"
)
_OBSOLETE: Final = {"<": "<=", ">": ">="}  # the obsolete signs mean "or equal"
_SAME: Final = ("", "any", "native")


@dataclass(frozen=True)
class Relation:
    """A package by name, and its permitted versions; `sign` is empty if any version will do."""

    name: str
    sign: str = ""
    version: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.sign} {self.version})" if self.sign else self.name


Alternatives = tuple[Relation, ...]
"""One dependency: any of these satisfies it, the first is preferred."""


@functools.lru_cache(maxsize=1 << 13)
def parse(field: str, architecture: str) -> tuple[Alternatives, ...]:
    """Return the dependencies in `field` of a package of `architecture`.

    A relation to another architecture cannot be satisfied in a root of one architecture: it keeps
    the architecture in its name, which no package has. Raises ValueError.
    """
    groups = (group.strip() for group in field.split(","))
    return tuple(
        tuple(_relation(text.strip(), architecture) for text in group.split("|"))
        for group in groups
        if group
    )


def _relation(text: str, architecture: str) -> Relation:
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a relation to a package")
    name, qualifier, sign, version = match.groups(default="")
    if qualifier not in (*_SAME, architecture):
        name = f"{name}:{qualifier}"
    return Relation(name, _OBSOLETE.get(sign, sign), version)
