"""Turns at containerd: a dozen starts at once would starve a Pi Zero."""

import time

from piimage_task.locks import Lock

_MEMORY_KIB = 98304
"""The Pi's memory for each turn."""


def take(folder: str, turns: int) -> Lock:
    """Wait for one of `turns` turns, each of which is the lock of a file in `folder`; return it."""
    locks = [Lock(f"{folder}/.turn{number}") for number in range(turns)]
    for lock in locks:
        if lock.try_to_take():
            return lock
    lock = locks[time.time_ns() // 1000 % turns]
    lock.take()
    return lock


def count(online: str, memory: str) -> int:
    """Return how many turns there are: one for each processor, if memory is enough for them.

    `online` is a list of processors such as 0-3, and `memory` a line such as ``MemTotal: 9 kB``:
    Linux, Documentation/admin-guide/cputopology.rst and filesystems/proc.rst.
    """
    processors = int(online.strip().replace(",", "-").split("-")[-1]) + 1
    return max(1, min(processors, int(memory.split()[1]) // _MEMORY_KIB))
