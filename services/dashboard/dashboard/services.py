"""The services of the Pi: what their runners publish, and what cgroup v2 counts.

Sources: appliance/README.md ("State, for people and programs"); the kernel's
Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dashboard.root import Root

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_SERVICES = "run/piimage/services"


@dataclass(frozen=True)
class Service:
    """A service: numbers are None where the Pi does not know them, as for one that is stopped."""

    name: str
    state: str
    health: str
    restarts: int
    exit_code: int | None
    cpu_seconds: float | None
    memory_bytes: int | None
    memory_limit_bytes: int | None
    oom_kills: int | None
    processes: int | None

    @property
    def is_up(self) -> bool:
        """Whether it runs and no health check says otherwise, or has done its work."""
        if self.state == "scheduled":
            return self.exit_code in (None, 0)
        if self.state == "exited":
            return self.exit_code == 0
        return self.state == "running" and self.health in ("healthy", "running")


def services(root: Root) -> list[Service]:
    """Return the services of the containers that run, by name."""
    names = (name for name in root.names(_SERVICES) if _NAME.fullmatch(name))
    return [_service(root, name) for name in names]


def is_service(root: Root, name: str) -> bool:
    """Tell whether the Pi has a service of this name."""
    return bool(_NAME.fullmatch(name)) and name in root.names(_SERVICES)


def _service(root: Root, name: str) -> Service:
    folder, group = f"{_SERVICES}/{name}", f"cgroup/services/{name}"
    used = root.table(f"{group}/cpu.stat").get("usage_usec")
    return Service(
        name=name,
        state=root.line(f"{folder}/state") or "stopped",
        health=root.line(f"run/piimage/health/{name}"),
        restarts=root.number(f"{folder}/restarts") or 0,
        exit_code=root.number(f"{folder}/exit"),
        cpu_seconds=None if used is None else used / 1e6,
        memory_bytes=root.number(f"{group}/memory.current"),
        memory_limit_bytes=root.number(f"{group}/memory.max"),  # "max" is no number
        oom_kills=root.table(f"{group}/memory.events").get("oom_kill"),
        processes=root.number(f"{group}/pids.current"),
    )
