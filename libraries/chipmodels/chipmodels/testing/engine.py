"""The interface of an engine: a program that runs a kernel on this machine's root."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class GuestUnavailable(Exception):
    """No guest can run here; the message says why, and what to install."""


@dataclass(frozen=True)
class Boot:
    """The parameters for the start of a guest.

    `folder` belongs to the guest while it runs, `init` is the program of process 1 (both are paths
    of the host), `line` is the descriptor of a connected socket, and `parameters` go to the kernel.
    """

    folder: Path
    init: Path
    memory_mib: int
    line: int
    disks: tuple[Path, ...] = ()
    parameters: tuple[str, ...] = ()


class Engine(Protocol):
    """Runs a guest whose root is the host's, read-only, and whose /dev is its own kernel's."""

    @property
    def name(self) -> str:
        """The name for the option."""
        ...

    @property
    def title(self) -> str:
        """The name for people, with the version of its kernel."""
        ...

    @property
    def modules(self) -> Path:
        """The folder of the modules of its kernel, with ``modules.dep``."""
        ...

    @property
    def line(self) -> str:
        """The device node of the line in the guest."""
        ...

    def disk(self, index: int) -> str:
        """Return the name of a disk of `Boot.disks` in the guest."""
        ...

    def command(self, boot: Boot) -> list[str]:
        """Return the command that runs the guest; its output is the console. Raises OSError."""
        ...

    def environment(self) -> dict[str, str]:
        """Return variables that the command needs in addition to this process's."""
        ...
