"""Where mutants are tried: a copy of the repository, in a sandbox.

A mutant is code that nobody has read. One whose guard was taken away may write to disks, so the
tests run where there is nothing but the copy to write to: by bubblewrap, without devices, without
a network, with bounded memory.
"""

from __future__ import annotations

import compileall
import os
import py_compile
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from tests.mutants.rooms import Mutant

_ADDRESS_SPACE = 6 << 30
_SPARE_SECONDS, _SPARE_FACTOR = 20, 4


class Outcome(Enum):
    """What became of a mutant. One that does not end has been noticed as well."""

    KILLED = "killed"
    ENDLESS = "endless"
    SURVIVED = "survived"


class BaselineFailed(Exception):
    """The tests fail without any change. The message is their output."""


@dataclass
class Bench:
    """A copy of the repository at `root`, in which the tests of one room run."""

    root: Path
    tests: Sequence[str]
    seconds: float = 600.0

    def baseline(self) -> float:
        """How long the tests take; raises `BaselineFailed` when they fail unchanged."""
        start = time.monotonic()
        process = self._run()
        if process.returncode:
            raise BaselineFailed(process.stdout)
        took = time.monotonic() - start
        self.seconds = _SPARE_FACTOR * took + _SPARE_SECONDS
        return took

    def outcome(self, mutant: Mutant) -> Outcome:
        """Make the change, run the tests, take it back."""
        path = self.root / mutant.file
        text = path.read_text()
        path.write_text(mutant.text)
        try:
            return Outcome.KILLED if self._run().returncode else Outcome.SURVIVED
        except subprocess.TimeoutExpired:
            return Outcome.ENDLESS
        finally:
            path.write_text(text)

    def _run(self) -> subprocess.CompletedProcess[str]:
        copy = str(self.root)
        sandbox = [
            *("bwrap", "--die-with-parent", "--unshare-pid", "--unshare-net", "--unshare-ipc"),
            *("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"),
            *("--tmpfs", "/tmp", "--tmpfs", "/var/tmp", "--tmpfs", "/run"),
            *("--bind", copy, copy, "--chdir", copy),
        ]
        tests = [
            *("prlimit", f"--as={_ADDRESS_SPACE}", sys.executable, "-m", "pytest", "-x", "-q"),
            *("-p", "no:cacheprovider", "--hypothesis-seed=1", "--hypothesis-profile=full"),
            *("--timeout=300", *self.tests),
        ]
        # The order of sets decides no outcome; compiled files are checked by their hash.
        environment = os.environ | {
            "PYTHONPATH": copy,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
            "CI": "1",
        }
        return subprocess.run(
            [*sandbox, *tests],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=self.seconds,
            check=False,
        )


def copy_repository(source: Path, target: Path) -> None:
    """Every file that git knows or would take, compiled."""
    listed = subprocess.run(
        ["git", "-C", str(source), "ls-files", "-coz", "--exclude-standard"],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    for name in listed.decode().split("\0"):
        origin = source / name
        if name and (origin.is_symlink() or origin.is_file()):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(origin, target / name, follow_symlinks=False)
    compileall.compile_dir(
        target, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH
    )
