"""The Pi itself: names and versions, load, memory, temperature, power supply, disk."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from dashboard.root import Root

_TICKS = os.sysconf("SC_CLK_TCK")
# proc_stat(5): the fields of the line "cpu".
_MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_IDLE = ("idle", "iowait")
# The firmware's property GET_THROTTLED: bit 0 low voltage now, bit 2 throttled now.
_LOW_VOLTAGE, _THROTTLED = 0x1, 0x4
_DECIMAL = re.compile(r"[0-9]{1,16}(\.[0-9]{1,9})?")
_HEX = re.compile(r"(0x)?[0-9a-fA-F]{1,16}")


@dataclass(frozen=True)
class Host:
    """The state of a Pi; None where its kernel does not tell."""

    name: str
    board: str
    kernel: str
    version: str
    """Digest of the containers layer in use; `piimage build` names it in the manifest."""
    version_from: str
    """Where the containers came from at boot: slot, current or previous."""
    slot: str
    data_is_temporary: bool
    uptime_seconds: float
    load: float
    cpu_seconds: dict[str, float]
    memory_bytes: int
    available_bytes: int
    disk_bytes: int
    disk_free_bytes: int
    celsius: float | None
    low_voltage: bool | None
    throttled: bool | None

    @property
    def busy_seconds(self) -> float:
        """Seconds since the boot that all processors together were at work."""
        return sum(value for mode, value in self.cpu_seconds.items() if mode not in _IDLE)

    @property
    def all_seconds(self) -> float:
        """Seconds since the boot, of all processors together."""
        return sum(self.cpu_seconds.values())


def host(root: Root) -> Host:
    """Return the state of the Pi now."""
    facts = _facts(root)
    memory = _memory(root)
    size, free = _disk(root)
    low_voltage, throttled = _power(root)
    return Host(
        name=root.line("proc/sys/kernel/hostname"),
        board=facts.get("BOARD", "unknown"),
        kernel=root.line("proc/sys/kernel/osrelease"),
        version=_link(root, "run/piimage/containers"),
        version_from=facts.get("PIIMAGE_CONTAINERS_FROM", ""),
        slot=_slot(facts),
        data_is_temporary="data-is-temporary" in root.names("run/piimage"),
        uptime_seconds=_first_number(root, "proc/uptime"),
        load=_first_number(root, "proc/loadavg"),
        cpu_seconds=_processors(root),
        memory_bytes=memory.get("MemTotal", 0),
        available_bytes=memory.get("MemAvailable", 0),
        disk_bytes=size,
        disk_free_bytes=free,
        celsius=_celsius(root),
        low_voltage=low_voltage,
        throttled=throttled,
    )


def _first_number(root: Root, path: str) -> float:
    words = root.line(path).split()
    return float(words[0]) if words and _DECIMAL.fullmatch(words[0]) else 0.0


def _facts(root: Root) -> dict[str, str]:
    """Return the lines KEY='VALUE' that the initramfs wrote."""
    pairs = (line.partition("=") for line in root.text("run/piimage/boot").splitlines())
    return {key: value.strip("'\"") for key, _, value in pairs}


def _slot(facts: dict[str, str]) -> str:
    """Return the slot that was booted: a folder on one partition, or a partition."""
    return facts.get("PIIMAGE_SLOT_PREFIX", "").strip("/") or (
        f"partition {facts['PIIMAGE_SLOT_PARTITION']}"
        if facts.get("PIIMAGE_SLOT_PARTITION")
        else "unknown"
    )


def _link(root: Root, path: str) -> str:
    try:
        return os.readlink(root.at(path)).rpartition("/")[2]  # noqa: PTH115
    except OSError:
        return ""


def _processors(root: Root) -> dict[str, float]:
    words = root.line("proc/stat").split()[1:]
    return {
        mode: int(ticks) / _TICKS
        for mode, ticks in zip(_MODES, words, strict=False)
        if _DECIMAL.fullmatch(ticks) and "." not in ticks
    }


def _memory(root: Root) -> dict[str, int]:
    """Return the values of proc_meminfo(5) in bytes."""
    pairs = (line.split() for line in root.text("proc/meminfo").splitlines())
    return {
        pair[0].rstrip(":"): int(pair[1]) * 1024
        for pair in pairs
        if len(pair) == 3 and pair[1].isascii() and pair[1].isdigit()
    }


def _disk(root: Root) -> tuple[int, int]:
    """Return the size and the free bytes of the data partition."""
    try:
        found = os.statvfs(root.at("data/dashboard"))
    except OSError:
        return 0, 0
    return found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize


def _celsius(root: Root) -> float | None:
    """Return the temperature of the hottest zone that the kernel knows."""
    zones = root.names("sys/class/thermal")
    found = (root.number(f"sys/class/thermal/{zone}/temp") for zone in zones)
    return max((value / 1000 for value in found if value is not None), default=None)


def _power(root: Root) -> tuple[bool | None, bool | None]:
    """Return whether the voltage is low, and whether the firmware slows the processors down.

    Raspberry Pi's kernels have get_throttled; others have the alarm of raspberrypi-hwmon only.
    """
    bits = root.line("sys/devices/platform/soc/soc:firmware/get_throttled")
    if _HEX.fullmatch(bits):
        value = int(bits, 16)
        return bool(value & _LOW_VOLTAGE), bool(value & _THROTTLED)
    for name in root.names("sys/class/hwmon"):
        if root.line(f"sys/class/hwmon/{name}/name") == "rpi_volt":
            return root.line(f"sys/class/hwmon/{name}/in0_lcrit_alarm") == "1", None
    return None, None
