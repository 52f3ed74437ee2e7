"""A build in a toolchain as a step: input files, commands, output files."""

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
    """A file that another step makes: its output `name`, or its only output if `name` is empty."""

    step: Step
    name: str = ""


Source = bytes | Blob | Made


@dataclass(frozen=True)
class Compiled(Step):
    """Runs `commands` on `files` in the folder /source of the `toolchain`.

    `files` are named by their path in /source; `outputs` are patterns (fnmatch) of the paths to
    keep, each of which becomes an output with its path as name. The commands run one after another
    in /source, with the fixed environment of the sandbox and the variables of `environment`.
    """

    name: str
    toolchain: Tools
    files: Mapping[str, Source]
    commands: tuple[tuple[str, ...], ...]
    outputs: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The name of the step in messages."""
        return f"compile {self.name}"

    def make(self, job: Job) -> Mapping[str, Blob]:
        """Run the commands.

        Raises PiimageError ``toolchain.no-output`` if a pattern of `outputs` matches nothing, and
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
        """Give the files below `work` that `outputs` name, sorted by path; links are skipped."""
        paths = sorted(
            str(Path(folder, name).relative_to(work))
            for folder, _, names in os.walk(work)
            for name in names
        )
        for pattern in self.outputs:
            if not fnmatch.filter(paths, pattern):
                raise PiimageError(
                    "toolchain.no-output",
                    f"the build succeeded, but made no {pattern}",
                    place=self.name,
                    hint="correct the commands or the Kbuild file so that they make it",
                )
        for path in paths:
            wanted = any(fnmatch.fnmatchcase(path, pattern) for pattern in self.outputs)
            if wanted and not (work / path).is_symlink():
                yield path, (work / path).read_bytes()


def content(source: Source, job: Job) -> bytes:
    """Return the content of a file of a build."""
    match source:
        case Made():
            return job.file(source.step, source.name).read_bytes()
        case Blob():
            return job.store.verified(source).read_bytes()
        case _:
            return source
