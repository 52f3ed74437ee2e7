"""What an engine is: a program that runs a kernel on this machine's root, with one line to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class GuestUnavailable(Exception):
    """There is no guest here; the message says why, and what to install."""


@dataclass(frozen=True)
class Boot:
    """One start of a guest.

    `folder` is the guest's own for as long as it runs, `init` the program that process 1 becomes
    (both are files of the host), `line` the descriptor of a connected socket.
    """

    folder: Path
    init: Path
    memory_mib: int
    line: int
    disks: tuple[Path, ...] = ()


class Engine(Protocol):
    """A way to run a guest whose root is the host's, read-only, and whose /dev is its kernel's."""

    @property
    def name(self) -> str:
        """What the option calls it."""
        ...

    @property
    def title(self) -> str:
        """What people call it, and which kernel it runs."""
        ...

    @property
    def modules(self) -> Path:
        """The folder of its kernel's modules, with ``modules.dep``."""
        ...

    @property
    def line(self) -> str:
        """The device node of the line in the guest."""
        ...

    def disk(self, index: int) -> str:
        """The name that the guest's kernel gives to a disk of `Boot.disks`."""
        ...

    def command(self, boot: Boot) -> list[str]:
        """The command that is the guest, whose output is its console. Raises OSError."""
        ...

    def environment(self) -> dict[str, str]:
        """Variables that the command needs beside this process's."""
        ...
