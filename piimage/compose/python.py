"""Layers of Python packages: wheels, and projects of one's own."""

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
    """A locked wheel: what it is (``NAME-VERSION``), its file's name, and its content."""

    name: str
    filename: str
    content: Blob


@dataclass(frozen=True)
class WheelsLayer(Layer):
    """Wheels installed beside one another for CPython ``3.minor`` (`python`).

    Those that were `built` come last. It has no name of its own: containers with the same wheels
    have the same layer.
    """

    wheels: tuple[WheelFile, ...]
    python: str
    architecture: str
    built: tuple[BuiltWheel, ...] = ()

    @property
    def title(self) -> str:
        """What is being made."""
        return f"lay in {len(self.wheels) + len(self.built)} wheels"

    def tree(self, job: Job) -> Tree:
        """Give each wheel's files."""
        placement = Placement()
        placement.assume(MERGED)
        for one in self.wheels:
            yield from placement.place(self._installed(one, job))
        for step in self.built:
            made = WheelFile(step.origin, step.file(job), job.blob(step))
            yield from placement.place(self._installed(made, job))

    def _installed(self, one: WheelFile, job: Job) -> Iterator[Entry]:
        path = job.store.verified(one.content)
        for entry in Wheel(path, one.filename, self.python, self.architecture).entries():
            yield replace(entry, origin=one.name)


def wheels_layer(
    wheels: Sequence[LockedWheel],
    python: str,
    architecture: str,
    built: tuple[BuiltWheel, ...] = (),
) -> WheelsLayer:
    """Return the layer of `wheels` and of those that are `built`."""
    files = (WheelFile(f"{one.name}-{one.version}", one.filename, one.blob) for one in wheels)
    return WheelsLayer(tuple(files), python, architecture, built)


@dataclass(frozen=True)
class Python:
    """What a container has of Python beside its Debian packages, for CPython ``3.minor``."""

    version: str
    architecture: str
    wheels: tuple[LockedWheel, ...] = ()
    projects: tuple[Path, ...] = ()
    built: tuple[BuiltWheel, ...] = ()

    def layers(self) -> tuple[tuple[Layer, ...], tuple[File, ...]]:
        """Return layers, lowest first, and the files of the last project: what changes most often.

        Each of the other projects has a layer of its own, which containers share.
        """
        found: list[Layer] = []
        if self.wheels or self.built:
            found.append(wheels_layer(self.wheels, self.version, self.architecture, self.built))
        projects = [read_project(path) for path in self.projects]
        files = [tuple(File(*laid) for laid in one.files(self.version)) for one in projects]
        for project, own in zip(projects[:-1], files[:-1], strict=True):
            found.append(FilesLayer(project.name, Rules(files=own)))
        return tuple(found), files[-1] if files else ()
