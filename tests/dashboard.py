"""A folder that stands for the root of a Pi, as the dashboard's container sees it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

DIGEST = "5431994d3979c2b1" * 4


@dataclass(frozen=True)
class ScratchPi:
    """A Pi 4 with three services: a healthy one, one in back-off, and one that is stopped."""

    folder: Path

    def __post_init__(self) -> None:
        self.write("run/piimage/boot", BOOT)
        self.write("proc/sys/kernel/hostname", "greenhouse\n")
        self.write("proc/sys/kernel/osrelease", "6.12.118+deb13-arm64\n")
        self.write("proc/uptime", "93784.25 180000.00\n")
        self.write("proc/loadavg", "0.31 0.22 0.18 1/212 4711\n")
        self.write("proc/stat", "cpu  1000 0 500 8000 500 0 0 0 0 0\ncpu0 1 2 3\n")
        self.write("proc/meminfo", "MemTotal:   2000000 kB\nMemAvailable:   1500000 kB\nX: 1\n")
        self.write("sys/class/thermal/thermal_zone0/temp", "48700\n")
        self.write("sys/class/hwmon/hwmon0/name", "cpu_thermal\n")
        self.write("sys/class/hwmon/hwmon1/name", "rpi_volt\n")
        self.write("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "0\n")
        (self.folder / "run/piimage/containers").symlink_to(f"layers/{DIGEST}")
        self.path("data/dashboard/x")
        self.service("web", "running", "healthy", memory=23_500_000, seconds=61.5)
        self.service("pump", "back-off", "", restarts=3, exit_code=1)
        self.service("mdns", "stopped", "")
        self.write("run/piimage/services/web/restarts", "0\n")
        self.path("run/control/events")

    def path(self, name: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, name: str, text: str) -> Path:
        path = self.path(name)
        path.write_text(text)
        return path

    def service(
        self,
        name: str,
        state: str,
        health: str,
        *,
        restarts: int = 0,
        exit_code: int | None = None,
        memory: int | None = None,
        seconds: float = 0.0,
    ) -> None:
        folder = f"run/piimage/services/{name}"
        self.write(f"{folder}/state", f"{state}\n")
        self.write(f"run/piimage/health/{name}", f"{health}\n")
        self.write(f"{folder}/restarts", f"{restarts}\n")
        self.write(f"var/log/services/{name}/log", f"{name}: first line\n{name}: last line\n")
        if exit_code is not None:
            self.write(f"{folder}/exit", f"{exit_code}\n")
        if memory is not None:
            group = f"cgroup/services/{name}"
            usage = f"usage_usec {round(seconds * 1e6)}\nuser_usec 1\nsystem_usec 2\n"
            self.write(f"{group}/cpu.stat", usage)
            self.write(f"{group}/memory.current", f"{memory}\n")
            self.write(f"{group}/memory.max", "max\n")
            self.write(f"{group}/memory.events", "low 0\nhigh 0\nmax 4\noom 2\noom_kill 2\n")
            self.write(f"{group}/pids.current", "5\n")

    def open_pipe(self) -> int:
        """Return the reading end of the runner's pipe."""
        pipe = self.path("run/control/events")
        os.mkfifo(pipe)
        return os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)


BOOT = """\
BOARD='pi4'
PIIMAGE_SLOT='/run/piimage/slot/a'
PIIMAGE_SLOT_PARTITION='2'
PIIMAGE_SLOT_PREFIX=''
PIIMAGE_CONTAINERS_FROM='current'
"""
