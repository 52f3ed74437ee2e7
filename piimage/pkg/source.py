"""A container folder: its name, and how it is built."""

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
    """A Dockerfile, the folder that it may copy files from, and its build arguments."""

    path: Path
    context: Path
    arguments: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """A container folder; its recipe is a service.yml or a Dockerfile."""

    path: Path
    name: str
    recipe: Service | Dockerfile

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The folder, and the paths outside it that the image depends on; for the tag."""
        outside = [path for path in self._used() if not path.is_relative_to(self.path)]
        return (self.path, *sorted(set(outside)))

    def _used(self) -> Iterator[Path]:
        if isinstance(self.recipe, Dockerfile):
            yield from (self.recipe.path, self.recipe.context)
            return
        yield from (Path(folder) for folder in self.recipe.python)
        yield from (Path(file.source) for file in self.recipe.files if file.source)


def open_source(
    folder: Path,
    dockerfile: Path | None = None,
    context: Path | None = None,
    arguments: dict[str, str] | None = None,
) -> Source:
    """Return the container folder `folder`; `dockerfile` takes precedence over a service.yml.

    It may read files from `folder`, or from `context` if that is given. Raises InputError
    ``pkg.no-folder``, ``pkg.no-recipe``, ``config.outside``, and the errors of its service.yml.
    """
    path = _absolute(folder)
    if not path.is_dir():
        raise InputError(
            "pkg.no-folder",
            "the folder does not exist",
            place=str(folder),
            hint="name a folder with a service.yml or a Dockerfile",
        )
    if dockerfile is None and (path / "service.yml").is_file():
        service = load_folder(path, _absolute(context) if context else None)
        return Source(path, service.name, service)
    recipe = dockerfile or path / "Dockerfile"
    if not recipe.is_file():
        raise InputError(
            "pkg.no-recipe",
            f"there is no {'service.yml or Dockerfile' if dockerfile is None else dockerfile}",
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
    """Return the name of the image of `source`, whose content has the hash `content`.

    `org` may name a registry (``HOST:PORT/TEAM``); ``{{.Hash}}`` in `tag` stands for the hash.
    Raises InputError ``oci.reference``.
    """
    name = f"{org.strip('/')}/{source.name}" if org else source.name
    return parse(f"{name}:{tag.replace(HASH, content)}", str(source.path))


def platforms(words: tuple[str, ...]) -> tuple[Platform, ...]:
    """Return the platforms that `words` name, separated by commas; arm64 is always among them.

    Raises InputError ``pkg.platform``.
    """
    names = [name.strip() for word in words for name in word.split(",") if name.strip()]
    for name in names:
        one_platform(name)
    return (
        ARM64,
        *(value for name, value in PLATFORMS.items() if name in names and value != ARM64),
    )


def one_platform(name: str) -> Platform:
    """Return the platform `name`; raises InputError ``pkg.platform``."""
    if name not in PLATFORMS and name != str(ARM64):
        raise InputError(
            "pkg.platform",
            f"piimage has no images for {name!r}",
            place="--platform",
            hint=f"use {' or '.join(PLATFORMS)}",
        )
    return PLATFORMS.get(name, ARM64)
