"""AppArmor's profiles as the kernel takes them.

The shipped profiles are compiled already (docs/decisions/0163-apparmor.md): a build needs no
parser for them, and their bytes depend on no host. A profile of the user's is compiled by the
host's apparmor_parser, for the features of the kernel that boots, not of this host's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from piimage import resources
from piimage.errors import InputError, PiimageError
from piimage.run import Runner
from piimage.steps import Job, Step
from piimage.store import Blob

PARSER: Final = "apparmor_parser"
FOLDER: Final = "apparmor"
"""The folder of the shipped profiles and the kernel's features, in what piimage ships."""

_ERROR: Final = re.compile(r"AppArmor parser error for \S+ (?:in profile \S+ )?(at line \d+: .*)")


@dataclass(frozen=True)
class CompiledProfile(Step):
    """The compiled profile `text`; `features` are the kernel's, `place` is where it is named."""

    tools: ClassVar[tuple[str, ...]] = (PARSER,)

    text: str
    features: bytes
    place: str

    @property
    def title(self) -> str:
        """The name of the work."""
        return "compile an AppArmor profile"

    def make(self, job: Job) -> Mapping[str, Blob]:
        """Compile it. Raises InputError ``oci.apparmor`` with the parser's message."""
        with job.store.scratch() as folder:
            (folder / "features").write_bytes(self.features)
            (folder / "profile").write_text(self.text)
            try:
                data = compile_profile(job.runner, folder / "profile", folder / "features")
            except PiimageError as error:
                if error.code != "run.failed":
                    raise
                raise _refused(error, self.place) from error
            return {"profile": job.store.add_bytes(data)}


def compile_profile(runner: Runner, source: Path, features: Path) -> bytes:
    """Return the profile in the file `source`, compiled for a kernel with `features`.

    Neither this host's configuration of the parser nor its kernel counts. Raises the errors of
    `Runner.run`.
    """
    target = source.with_name(f"{source.name}.bin")
    arguments = ["--config-file", "/dev/null", "--quiet", "--skip-cache", "--skip-kernel-load"]
    arguments += ["--abort-on-error", "--jobs", "1", "--base", str(source.parent)]
    files = ["--features-file", str(features), "--ofile", str(target), str(source)]
    runner.run([PARSER, *arguments, *files])
    return target.read_bytes()


def _refused(error: PiimageError, place: str) -> InputError:
    found = _ERROR.search(error.message)
    return InputError(
        "oci.apparmor",
        f"{PARSER} refuses the AppArmor profile: {found[1] if found else error.message}",
        place=place,
        hint="correct the profile: apparmor.d(5)",
    )


@dataclass(frozen=True)
class Profile:
    """A profile in the containers layer: its name on the Pi, and what the kernel takes."""

    name: str
    policy: bytes | CompiledProfile

    def data(self, job: Job) -> bytes:
        """Return what the kernel takes; `job` has compiled it if need be."""
        if isinstance(self.policy, bytes):
            return self.policy
        return job.file(self.policy).read_bytes()


def shipped(name: str) -> Profile:
    """Return the shipped profile `name`."""
    return Profile(name, (_folder() / f"{name}.bin").read_bytes())


def features() -> bytes:
    """Return the features of Debian 13's kernel, in the parser's form."""
    return (_folder() / "features").read_bytes()


def _folder() -> Path:
    return resources.path("appliance") / FOLDER
