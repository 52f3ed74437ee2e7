"""Layers of Python packages: wheels, and the user's own projects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from piimage.compose.layers import FilesLayer, Layer
from piimage.compose.rules import File, Rules
from piimage.lock import LockedWheel
from piimage.python.project import read_project
from piimage.python.wheel import Wheel
from piimage.steps import Job
from piimage.store import Blob
from piimage.trees import MERGED, Entry, Placement, Tree

if TYPE_CHECKING:
    from piimage.python.source import BuiltWheel


@dataclass(frozen=True)
class WheelFile:
    """A locked wheel: ``NAME-VERSION``, the name of its file, and its content."""

    name: str
    filename: str
    content: Blob


@dataclass(frozen=True)
class WheelsLayer(Layer):
    """Wheels installed side by side for CPython `python` (``3.minor``), those `built` last.

    The layer has no name, so that containers with the same wheels share it.
    """

    wheels: tuple[WheelFile, ...]
    python: str
    architecture: str
    built: tuple[BuiltWheel, ...] = ()

    @property
    def title(self) -> str:
        """The name of the work."""
        return f"lay in {len(self.wheels) + len(self.built)} wheels"

    def tree(self, job: Job) -> Tree:
        """Yield the files of each wheel."""
        placement = Placement()
        placement.assume(MERGED)
        built = (WheelFile(step.origin, step.file(job), job.blob(step)) for step in self.built)
        for wheel in (*self.wheels, *built):
            yield from placement.place(self._installed(wheel, job))

    def _installed(self, wheel: WheelFile, job: Job) -> Iterator[Entry]:
        path = job.store.verified(wheel.content)
        for entry in Wheel(path, wheel.filename, self.python, self.architecture).entries():
            yield replace(entry, origin=wheel.name)


def wheels_layer(
    wheels: Sequence[LockedWheel],
    python: str,
    architecture: str,
    built: tuple[BuiltWheel, ...] = (),
) -> WheelsLayer:
    """Return the layer of `wheels` and of those that are `built`."""
    files = (WheelFile(f"{pin.name}-{pin.version}", pin.filename, pin.blob) for pin in wheels)
    return WheelsLayer(tuple(files), python, architecture, built)


@dataclass(frozen=True)
class Python:
    """The Python packages of a container, beside Debian's, for CPython `version` (``3.minor``)."""

    version: str
    architecture: str
    wheels: tuple[LockedWheel, ...] = ()
    projects: tuple[Path, ...] = ()
    built: tuple[BuiltWheel, ...] = ()

    def layers(self) -> tuple[tuple[Layer, ...], tuple[File, ...]]:
        """Return the layers, lowest first, and the files of the last project.

        The last project changes most often, so its files belong to the container's uppermost layer.
        Each of the other projects has a layer of its own, which containers share.
        """
        layers: list[Layer] = []
        if self.wheels or self.built:
            layers.append(wheels_layer(self.wheels, self.version, self.architecture, self.built))
        projects = [read_project(path) for path in self.projects]
        files = [tuple(File(*file) for file in project.files(self.version)) for project in projects]
        for project, own in zip(projects[:-1], files[:-1], strict=True):
            layers.append(FilesLayer(project.name, Rules(files=own)))
        return tuple(layers), files[-1] if files else ()
