"""What a container of an emulated Pi has used so far, and what it holds, as the kernel counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Usage:
    """Seconds since the boot and of processor, and megabytes: of the program, and of its group."""

    uptime: float
    busy: float
    resident: float
    group: float

    @classmethod
    def of(cls, say: Callable[[str], str], service: str) -> Usage:
        """Read the counters of `service`; `say` runs a script on the Pi."""
        group = f"/sys/fs/cgroup/piimage/services/{service}"
        text = say(
            f"cut -d' ' -f1 /proc/uptime; sed -n 's/usage_usec //p' {group}/cpu.stat;"
            f" sed -n 's/VmRSS:[^0-9]*\\([0-9]*\\).*/\\1/p'"
            f" /proc/$(cat /run/piimage/services/{service}/pid)/status; cat {group}/memory.current"
        )
        uptime, usec, kib, held = (float(word) for word in text.split())
        return cls(uptime, usec / 1e6, kib * 1024 / 1e6, held / 1e6)

    def seconds_in_an_hour(self, later: Usage) -> float:
        """Return the seconds of processor in an hour, from this reading to a `later` one."""
        return (later.busy - self.busy) / (later.uptime - self.uptime) * 3600
