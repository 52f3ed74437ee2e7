"""The leader: the service whose shim serves new tasks too (docs/decisions/0187).

A file names the shim's process and the service. It is worth something only while that process is a
shim: one that was killed leaves the file.
"""

import os

from piimage_task import processes
from piimage_task.locks import Lock

_FILE = ".leader"


def lock(folder: str) -> Lock:
    """Return the lock that a start holds while there is no leader."""
    return Lock(f"{folder}/{_FILE}.lock")


def find(folder: str) -> str | None:
    """Return the name of the leader; None if there is none, or if its shim has ended."""
    shim, name = _read(folder)
    return name if shim and processes.program(shim) == "containerd-shim" else None


def note(folder: str, task: int, name: str) -> None:
    """Note the service `name`, whose task has the first process `task`, as the leader.

    There is none if that process has ended meanwhile.
    """
    shim = processes.parent(task)
    if not shim:
        return
    draft = f"{folder}/{_FILE}.new"
    with open(draft, "w") as file:
        file.write(f"{shim} {name}\n")
    os.rename(draft, f"{folder}/{_FILE}")


def forget(folder: str, name: str) -> None:
    """Let nobody count on the shim of the service `name` any more."""
    if _read(folder)[1] != name:
        return
    try:
        os.unlink(f"{folder}/{_FILE}")
    except OSError:  # another client has forgotten it at this moment
        return


def _read(folder: str) -> tuple[str, str]:
    """Return the shim's process and the leader's name; empty if there is no file."""
    try:
        with open(f"{folder}/{_FILE}") as file:
            shim, name = file.read().split()
    except (OSError, ValueError):
        return "", ""
    return shim, name
