"""Single files out of packages: boot firmware, for example, lies on the card and in no layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from piimage.compose.layers import Package
from piimage.debian.deb import data_stream
from piimage.errors import InputError
from piimage.patterns import matcher
from piimage.steps import Job, Step
from piimage.store import Blob
from piimage.trees import Entry, Kind, read_tar


@dataclass(frozen=True)
class Extracted(Step):
    """The files of `packages` that match `patterns`; an output each, named by its path."""

    name: str
    packages: tuple[Package, ...]
    patterns: tuple[str, ...]

    @property
    def title(self) -> str:
        """What is being made."""
        return f"take the files of {self.name}"

    def make(self, job: Job) -> Mapping[str, Blob]:
        """Read every package once.

        Raises InputError ``compose.no-such-file`` when a pattern matches nothing.
        """
        found = {entry.path: job.store.add_stream(entry.content()) for entry in self._wanted(job)}
        for pattern in self.patterns:
            if not any(map(matcher((pattern,)), found)):
                packages = ", ".join(package.name for package in self.packages)
                raise InputError(
                    "compose.no-such-file",
                    f"no package of {self.name} ({packages}) has {pattern}",
                    hint="mend the name in the board's file, or move the lock: piimage lock",
                )
        return found

    def _wanted(self, job: Job) -> Iterator[Entry]:
        wanted = matcher(self.patterns)
        for package in self.packages:
            path = job.store.verified(package.deb)
            with data_stream(job.runner, path, package.name) as stream:
                for entry in read_tar(stream, package.name):
                    if entry.kind is Kind.FILE and wanted(entry.path):
                        yield entry
