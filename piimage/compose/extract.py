"""Single files of packages, such as the boot firmware, which lies on the card and in no layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from piimage.compose.layers import DebFile, no_such_file
from piimage.debian.deb import data_stream
from piimage.errors import raise_all
from piimage.patterns import matcher
from piimage.steps import Job, Step
from piimage.store import Blob
from piimage.trees import Entry, Kind, read_tar


@dataclass(frozen=True)
class Extracted(Step):
    """The files of `packages` that match `patterns`: one output for each, named by its path."""

    name: str
    packages: tuple[DebFile, ...]
    patterns: tuple[str, ...]

    @property
    def title(self) -> str:
        """The name of the work."""
        return f"take the files of {self.name}"

    def make(self, job: Job) -> Mapping[str, Blob]:
        """Read every package once.

        Raises InputError ``compose.no-such-file`` when a pattern matches nothing.
        """
        files = {entry.path: job.store.add_stream(entry.content()) for entry in self._matches(job)}
        raise_all(
            no_such_file(self.name, self.packages, pattern)
            for pattern in self.patterns
            if not any(map(matcher((pattern,)), files))
        )
        return files

    def _matches(self, job: Job) -> Iterator[Entry]:
        matches = matcher(self.patterns)
        for package in self.packages:
            path = job.store.verified(package.deb)
            with data_stream(job.runner, path, package.name) as stream:
                for entry in read_tar(stream, package.name):
                    if entry.kind is Kind.FILE and matches(entry.path):
                        yield entry
