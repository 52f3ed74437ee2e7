"""A container or module folder is a boundary, as a Docker context is.

It may have come from anywhere, and what it names ends up in an image. So everything that it names,
links followed, lies within it, or within the folder above that its user named as its context. What
an appliance's own file names may lie anywhere: its owner wrote it.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from piimage import resources
from piimage.errors import InputError


def boundary(folder: Path, context: Path | None = None) -> Path:
    """Return the folder that what `folder` names must lie in: itself, or its `context`.

    The services that piimage ships may use whatever piimage ships, such as `libraries/`.
    """
    if context is not None:
        return context
    shipped = resources.path("services")
    return shipped.parent if is_inside(folder, shipped) else folder


def require_inside(path: Path, root: Path, place: str) -> None:
    """Raise InputError ``config.outside`` if `path`, or a link below it, leads out of `root`."""
    for link in leading_out(path, root):
        raise outside(link, root, place)


def leading_out(path: Path, root: Path) -> Iterator[Path]:
    """Give `path` and the links below it, as far as they lead out of `root`; loops count."""
    yield from (link for link in (path, *_links(path)) if not is_inside(link, root))


def outside(path: Path, root: Path, place: str) -> InputError:
    """Return the error for a `path` that leads out of `root`."""
    leads = f", a link to {os.path.realpath(path)}," if path.is_symlink() else ""
    return InputError(
        "config.outside",
        f"{path}{leads} lies outside of {root}, and a folder reads nothing from elsewhere",
        place=place,
        hint="copy it into the folder; if you trust the folder, name one above it that holds both: "
        "`context:` beside `build:`, or `piimage pkg build --context`",
    )


def is_inside(path: Path, root: Path) -> bool:
    """Say whether `path`, links followed, lies within `root`, or is it."""
    # realpath leaves a loop of links as it is, and resolve() raises: neither is within.
    real = os.path.realpath(path)
    return not Path(real).is_symlink() and Path(real).is_relative_to(os.path.realpath(root))


def _links(top: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(top):
        for name in sorted([*folders, *files]):
            path = Path(folder, name)
            if path.is_symlink():
                yield path
