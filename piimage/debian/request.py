"""What is asked of the archive."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """The packages that one root asks for.

    `root` names it ("system", "kernel", "service/hello_world"). Each of `packages` is ``name``,
    ``name=version`` or ``name/suite``. Those in `without` are taken as satisfied and left out,
    with what only they would need.
    """

    root: str
    packages: tuple[str, ...]
    without: tuple[str, ...] = ()
    architecture: str = "arm64"
