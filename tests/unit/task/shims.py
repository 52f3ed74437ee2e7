"""Processes that stand for a shim and its task."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Shim:
    """A process that has the name of a shim, and a child of it."""

    pid: int
    task: int


@contextlib.contextmanager
def shim(folder: Path) -> Iterator[Shim]:
    """Run a shim with a task; both have ended when the block has."""
    program = folder.resolve() / "containerd-shim-runc-v2"
    shutil.copy(Path("/bin/sh").resolve(), program)
    words = [program, "-c", "sleep 1000 & echo $!; wait"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, process_group=0) as process:
        assert process.stdout is not None
        try:
            yield Shim(process.pid, int(process.stdout.readline()))
        finally:
            os.killpg(process.pid, signal.SIGKILL)
