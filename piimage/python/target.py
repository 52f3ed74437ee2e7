"""The Python of a container, and the wheels that it can install."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from piimage.debian.package import Package
from piimage.errors import InputError, PiimageError

_INTERPRETER: Final = re.compile(r"python3\.(\d+)-minimal")
_GLIBC: Final = re.compile(r"2\.(\d+)")
_MACHINES: Final = {"arm64": "aarch64", "amd64": "x86_64"}
_OLDEST_GLIBC: Final = 17  # the oldest for aarch64 wheels (PEP 599)
# The newest manylinux tag that uv knows; wheels with later tags do not exist yet.
_NEWEST_GLIBC: Final = 40


@dataclass(frozen=True)
class Target:
    """CPython 3.`minor` with glibc 2.`glibc` on Debian's `architecture`."""

    minor: int
    glibc: int
    architecture: str = "arm64"

    @property
    def python(self) -> str:
        """The version in the form ``3.13``, as in names of wheels and folders."""
        return f"3.{self.minor}"

    @property
    def machine(self) -> str:
        """The processor in the tags of wheels."""
        return _MACHINES[self.architecture]

    @property
    def platform(self) -> str:
        """The platform for uv."""
        return f"{self.machine}-manylinux_2_{min(self.glibc, _NEWEST_GLIBC)}"

    @cached_property
    def tags(self) -> Mapping[Tag, int]:
        """The tags of all compatible wheels (PEP 425, PEP 600), with 0 for the most specific."""
        newest_first = range(self.glibc, _OLDEST_GLIBC - 1, -1)
        platforms = [f"manylinux_2_{minor}_{self.machine}" for minor in newest_first]
        platforms += [f"manylinux2014_{self.machine}", f"linux_{self.machine}"]
        version = (3, self.minor)
        own = cpython_tags(version, platforms=platforms)
        every = dict.fromkeys([*own, *compatible_tags(version, f"cp3{self.minor}", platforms)])
        return {tag: rank for rank, tag in enumerate(every)}

    def preference(self, filename: str) -> tuple[int, int]:
        """Return the sort key of the compatible wheel `filename`: the smallest is pip's choice.

        It is the rank of its tag; of wheels with the same tag, the one with the greatest build
        number counts. Raises what `require_fit` raises.
        """
        self.require_fit(filename)
        build, tags = parse_wheel_filename(filename)[2:]
        return min(self.tags[tag] for tag in tags if tag in self.tags), -(build[0] if build else 0)

    def require_fit(self, filename: str) -> None:
        """Raise InputError ``python.wheel-unfit`` for an incompatible wheel."""
        try:
            tags = parse_wheel_filename(filename)[3]
        except InvalidWheelFilename as error:
            raise unfit(filename, str(error)) from None
        if tags.isdisjoint(self.tags):
            stated = ", ".join(sorted(map(str, tags)))
            raise unfit(
                filename, f"it is for {stated}, not for CPython {self.python} on {self.machine}"
            )


def target_of(packages: Iterable[Package], place: str) -> Target:
    """Return the Python among `packages`, those of a container.

    Raises InputError ``python.no-python`` if it has no Python or no glibc.
    """
    known = {package.name: package for package in packages}
    minors = {int(found[1]): name for name in known if (found := _INTERPRETER.fullmatch(name))}
    glibc = _GLIBC.match(known["libc6"].version) if "libc6" in known else None
    if not minors or glibc is None:
        raise InputError(
            "python.no-python",
            "the container has wheels: or python:, but no Python",
            place=place,
            hint="add `base: python`, or python3-minimal and libpython3-stdlib to packages:",
        )
    newest = max(minors)
    return Target(newest, int(glibc[1]), known[minors[newest]].architecture)


def unfit(filename: str, why: str) -> PiimageError:
    """Return the error for a wheel that is not compatible with the container."""
    return InputError(
        "python.wheel-unfit",
        f"this wheel is not compatible with the container: {why}",
        place=filename,
        hint="update the pin (piimage lock --update NAME), use a version that has a wheel for "
        "aarch64, or use Debian's package under packages:",
    )
