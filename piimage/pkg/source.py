"""A container folder: what it is called, and how it is built."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from piimage.boundary import require_inside
from piimage.config.load import load_folder
from piimage.errors import InputError
from piimage.oci.models import ARM64, Platform
from piimage.oci.reference import Reference, parse
from piimage.pkg.tag import HASH

if TYPE_CHECKING:
    from piimage.config.service import Service

ORG: Final = "piimage"
LOCK: Final = "service.lock"
AMD64: Final = Platform(os="linux", architecture="amd64")
PLATFORMS: Final = {"linux/arm64": ARM64, "linux/amd64": AMD64}


@dataclass(frozen=True)
class Dockerfile:
    """A Dockerfile, the folder that it may copy from, and its build arguments."""

    path: Path
    context: Path
    arguments: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """A container folder: composed from `service`, or else built from `dockerfile`."""

    path: Path
    name: str
    recipe: Service | Dockerfile

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The folder, and what lies outside of it and reaches the image; for the tag."""
        outside = [one for one in self._used() if not one.is_relative_to(self.path)]
        return (self.path, *sorted(set(outside)))

    def _used(self) -> Iterator[Path]:
        if isinstance(self.recipe, Dockerfile):
            yield from (self.recipe.path, self.recipe.context)
            return
        yield from (Path(folder) for folder in self.recipe.python)
        yield from (Path(one.source) for one in self.recipe.files if one.source)


def open_source(
    folder: Path,
    dockerfile: Path | None = None,
    context: Path | None = None,
    arguments: dict[str, str] | None = None,
) -> Source:
    """Return the container folder `folder`; `dockerfile` is built even beside a service.yml.

    What it copies lies within `folder`, or within `context` if that is given. Raises InputError
    ``pkg.no-folder``, ``pkg.no-recipe``, ``config.outside``, and what the service.yml deserves.
    """
    path = _absolute(folder)
    if not path.is_dir():
        raise InputError(
            "pkg.no-folder",
            "there is no such folder",
            place=str(folder),
            hint="name a folder that holds a service.yml or a Dockerfile",
        )
    if dockerfile is None and (path / "service.yml").is_file():
        service = load_folder(path, _absolute(context) if context else None)
        return Source(path, service.name, service)
    recipe = dockerfile or path / "Dockerfile"
    if not recipe.is_file():
        raise InputError(
            "pkg.no-recipe",
            f"there is no {'service.yml and no Dockerfile' if dockerfile is None else dockerfile}",
            place=str(folder),
            hint="write a service.yml (docs/containers.md), or name the file: --dockerfile FILE",
        )
    if dockerfile is None:
        require_inside(recipe, context or path, str(recipe))
    built = Dockerfile(_absolute(recipe), _absolute(context or path), arguments or {})
    return Source(path, path.name.lower(), built)


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100  # resolve() would follow links


def reference(source: Source, content: str, org: str = ORG, tag: str = HASH) -> Reference:
    """Return what the image of `source`, whose content has the hash `content`, is called.

    `org` may name a registry (``HOST:PORT/TEAM``); in `tag` ``{{.Hash}}`` stands for the hash.
    Raises InputError ``oci.reference``.
    """
    name = f"{org.strip('/')}/{source.name}" if org else source.name
    return parse(f"{name}:{tag.replace(HASH, content)}", str(source.path))


def platforms(words: tuple[str, ...]) -> tuple[Platform, ...]:
    """Return the platforms that `words` (each one or more by commas) name; arm64 is always one.

    Raises InputError ``pkg.platform``.
    """
    names = [name.strip() for word in words for name in word.split(",") if name.strip()]
    for name in names:
        if name not in PLATFORMS and name != str(ARM64):
            raise InputError(
                "pkg.platform",
                f"no image can be built for {name!r}",
                place="--platform",
                hint=f"it is one or more of {', '.join(PLATFORMS)}",
            )
    return (ARM64, *(one for name, one in PLATFORMS.items() if name in names and one != ARM64))
