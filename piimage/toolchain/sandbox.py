"""Runs a command in an unpacked toolchain, isolated from the host by bubblewrap.

The command sees only the toolchain as its root and a folder `/source`: no network, no home folder,
no user, and a fixed time. bubblewrap needs user namespaces, but not root.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from piimage.clock import EPOCH
from piimage.errors import PiimageError
from piimage.run import Runner

WORK: Final = "/source"
"""The folder of a build, the same for bubblewrap and Docker, because outputs contain paths."""

ENVIRONMENT: Final[Mapping[str, str]] = {
    "PATH": "/usr/bin:/usr/sbin",
    "HOME": "/nonexistent",
    "LC_ALL": "C",
    "TZ": "UTC",
    "SOURCE_DATE_EPOCH": str(EPOCH),
    "KBUILD_BUILD_TIMESTAMP": f"{datetime.fromtimestamp(EPOCH, UTC):%Y-%m-%d %H:%M:%S} UTC",
    "KBUILD_BUILD_USER": "piimage",
    "KBUILD_BUILD_HOST": "piimage",
    "KBUILD_BUILD_VERSION": "1",
}
"""The environment of every command; a build may add to it."""

_TAIL: Final = 20
_NAMESPACE_COMPLAINTS: Final = ("namespace", "Operation not permitted", "setting up uid map")


@dataclass(frozen=True)
class Sandbox:
    """A toolchain's folder as the root folder of commands."""

    runner: Runner
    root: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, argv: Sequence[str], work: Path, name: str) -> str:
        """Run `argv` with the folder `work` as /source, and return its output.

        `name` names the result in errors. Raises PiimageError ``toolchain.failed`` with the last
        lines of a failed command, ``toolchain.no-sandbox`` if the host does not allow user
        namespaces, and MissingTool without bubblewrap.
        """
        command = [*self._bubblewrap(work), *argv]
        done = self.runner.run(command, accept=range(256))
        output = (done.stdout + done.stderr).decode(errors="replace")
        if done.status == 0:
            return output
        if output.startswith("bwrap: "):
            raise _no_sandbox(output)
        raise failed(name, output)

    def _bubblewrap(self, work: Path) -> list[str]:
        variables = {**ENVIRONMENT, **self.environment}
        settings = [w for key, value in variables.items() for w in ("--setenv", key, value)]
        return [
            "bwrap", "--unshare-all", "--unshare-user", "--uid", "0", "--gid", "0",
            "--die-with-parent", "--new-session", "--hostname", "piimage", "--clearenv", *settings,
            "--ro-bind", os.fspath(self.root), "/", "--proc", "/proc", "--dev", "/dev",
            "--tmpfs", "/tmp",  # noqa: S108  # its own
            "--bind", os.fspath(work), WORK, "--chdir", WORK,
        ]  # fmt: skip


def failed(name: str, output: str) -> PiimageError:
    """Return the error of a failed build, with its last lines of output."""
    # Shown with the paths of the user's folder, not those of the sandbox.
    lines = output.replace(f"{WORK}/", "").strip().splitlines()[-_TAIL:]
    return PiimageError(
        "toolchain.failed",
        "\n  ".join(["the build failed:", *lines]),
        place=name,
        hint="correct the source and build again",
    )


def _no_sandbox(output: str) -> PiimageError:
    allowed = any(complaint in output for complaint in _NAMESPACE_COMPLAINTS)
    permit = "permit user namespaces to ordinary users (sysctl kernel.unprivileged_userns_clone=1, \
or kernel.apparmor_restrict_unprivileged_userns=0); modules build --with docker too"
    return PiimageError(
        "toolchain.no-sandbox",
        f"bubblewrap cannot isolate a build from this host ({output.strip().splitlines()[-1]})",
        hint=permit
        if allowed
        else "install a newer bubblewrap, or build modules with --with docker",
    )
