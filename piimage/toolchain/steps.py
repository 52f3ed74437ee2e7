"""A build within a toolchain as a step: files in, one or more commands, files out."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from piimage.errors import PiimageError
from piimage.steps import Job, Step
from piimage.store import Blob
from piimage.toolchain.sandbox import Sandbox
from piimage.toolchain.tree import Tools
from piimage.trees import clean_path


@dataclass(frozen=True)
class Made:
    """A file that another step makes: its output `name` (the only one if empty)."""

    step: Step
    name: str = ""


Source = bytes | Blob | Made


@dataclass(frozen=True)
class Compiled(Step):
    """What `commands` make of `files` in the folder /source of the `toolchain`.

    `files` are by their path in /source; `outputs` are patterns (fnmatch) of the paths there that
    are kept: an output each, named by its path. Commands run in turn, in /source, with the fixed
    environment of the sandbox and what `environment` adds.
    """

    name: str
    toolchain: Tools
    files: Mapping[str, Source]
    commands: tuple[tuple[str, ...], ...]
    outputs: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What is being made."""
        return f"compile {self.name}"

    def make(self, job: Job) -> Mapping[str, Blob]:
        """Run the commands.

        Raises PiimageError ``toolchain.no-output`` when a pattern of `outputs` matches nothing, and
        the errors of `Sandbox.run`.
        """
        root = self.toolchain.folder(job.store, job.runner)
        sandbox = Sandbox(job.runner, root, self.environment)
        with job.store.scratch() as work:
            self.lay_out(job, work)
            for command in self.commands:
                sandbox.run(command, work, self.name)
            return {name: job.store.add_bytes(data) for name, data in self.collect(work)}

    def lay_out(self, job: Job, work: Path) -> None:
        """Write `files` below `work`."""
        for path, source in sorted(self.files.items()):
            target = work / clean_path(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content(source, job))

    def collect(self, work: Path) -> Iterator[tuple[str, bytes]]:
        """Give the files below `work` that `outputs` name, sorted by path; links are passed by."""
        paths = sorted(
            str(Path(folder, name).relative_to(work))
            for folder, _, names in os.walk(work)
            for name in names
        )
        for pattern in self.outputs:
            if not fnmatch.filter(paths, pattern):
                raise PiimageError(
                    "toolchain.no-output",
                    f"the build ended well, but made no {pattern}",
                    place=self.name,
                    hint="let the commands, or the Kbuild file, make what is asked for",
                )
        for path in paths:
            wanted = any(fnmatch.fnmatchcase(path, pattern) for pattern in self.outputs)
            if wanted and not (work / path).is_symlink():
                yield path, (work / path).read_bytes()


def content(source: Source, job: Job) -> bytes:
    """Return the bytes of a file of a build."""
    match source:
        case Made():
            return job.file(source.step, source.name).read_bytes()
        case Blob():
            return job.store.verified(source).read_bytes()
        case _:
            return source
