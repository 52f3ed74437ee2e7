"""Requests for packages."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """The packages requested for one root.

    `root` is its name ("system", "kernel", "service/hello_world"). Each of `packages` is ``name``,
    ``name=version`` or ``name/suite``. Dependencies on the packages in `without` count as
    satisfied: these packages, and dependencies of theirs alone, are not installed.
    """

    root: str
    packages: tuple[str, ...]
    without: tuple[str, ...] = ()
    architecture: str = "arm64"
