"""The status of a Pi."""

from __future__ import annotations

import hashlib
import json
import os

from piimage_agent import VERSION, generations, services
from piimage_agent.root import Root, names, read_line, read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def manifest(root: Root) -> dict[str, Any]:
    """Return the slot's appliance.json; empty if it cannot be read."""
    try:
        found = json.loads(read_text(f"{root.slot()}/appliance.json"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def slot(root: Root) -> dict[str, Any]:
    """Return the booted slot without its layers, which the tool queries by name."""
    facts, listed = root.facts(), manifest(root)
    files = listed.get("files")
    return {
        "board": listed.get("board", ""),
        "kernel": listed.get("kernel", ""),
        "system": listed.get("system", []),
        "files": {
            name: digest
            for name, digest in (files.items() if isinstance(files, dict) else ())
            if not name.startswith("layers/")
        },
        "containers": facts.get("PIIMAGE_SLOT_CONTAINERS", ""),
        "partition": facts.get("PIIMAGE_SLOT_PARTITION", ""),
        "prefix": facts.get("PIIMAGE_SLOT_PREFIX", ""),
        "arch": os.uname().machine,
        "temporary": os.path.exists(f"{root.run}/data-is-temporary"),
        "running": generations.running(root),
        "folders": {
            name: hashlib.sha256(text.encode()).hexdigest()
            for name, text in services.files_of(f"{root.run}/containers").items()
        },
    }


def status(root: Root) -> dict[str, Any]:
    """Return the data of `piimage status`."""
    booted = slot(root)
    return {
        "host": os.uname().nodename,
        "model": read_text(root.at("proc/device-tree/model")).strip("\0\n") or "unknown",
        "board": booted["board"],
        "kernel": os.uname().release,
        "agent": VERSION,
        "slot": {key: booted[key] for key in ("partition", "prefix", "containers")},
        "running": booted["running"],
        "generation": _generation(root, booted["running"]),
        "can_go_back": bool(generations.before(root)),
        "uptime": float((read_line(root.at("proc/uptime")) or "0").split()[0]),
        "load": read_line(root.at("proc/loadavg")).split()[:3],
        "temperature": _temperature(root),
        "throttled": throttled(root),
        "memory": memory(root),
        "data": disk(root),
        "services": services.states(root),
    }


def _generation(root: Root, running: str) -> dict[str, Any]:
    """Return the running generation, or the slot."""
    name = generations.of_layer(root, running)
    if name in ("", generations.SLOT):
        return {"id": generations.SLOT, "good": True, "note": ""}
    note = read_line(f"{root.generations}/{name}/note")
    return {"id": name, "good": generations.is_good(root, name), "note": note}


def _temperature(root: Root) -> float | None:
    """Return the temperature of the kernel's hottest zone in degrees Celsius."""
    zones = root.at("sys/class/thermal")
    texts = [read_line(f"{zones}/{name}/temp") for name in names(zones)]
    found = [int(text) / 1000 for text in texts if text.lstrip("-").isdigit()]
    return max(found, default=None)


def throttled(root: Root) -> dict[str, Any] | None:
    """Return the firmware's data on the power supply; None if the kernel cannot query it.

    Downstream kernels have get_throttled, mainline's raspberrypi-hwmon the alarm for low voltage.
    """
    bits = read_line(root.at("sys/devices/platform/soc/soc:firmware/get_throttled"))
    try:
        value = int(bits, 16)
    except ValueError:
        value = -1
    if value >= 0:
        return {"low_voltage": bool(value & 0x1), "throttled": bool(value & 0x4), "bits": bits}
    monitors = root.at("sys/class/hwmon")
    for name in names(monitors):
        if read_line(f"{monitors}/{name}/name") == "rpi_volt":
            alarm = read_line(f"{monitors}/{name}/in0_lcrit_alarm")
            return {"low_voltage": alarm == "1"}
    return None


def memory(root: Root) -> dict[str, int]:
    """Return the total and the available memory in bytes; proc_meminfo(5)."""
    found = {}
    for line in read_text(root.at("proc/meminfo")).splitlines():
        key, _, value = line.partition(":")
        if key in ("MemTotal", "MemAvailable"):
            found[key] = int(value.split()[0]) * 1024
    return {"total": found.get("MemTotal", 0), "available": found.get("MemAvailable", 0)}


def disk(root: Root) -> dict[str, int]:
    """Return the total and the free bytes of /data."""
    try:
        found = os.statvfs(root.at("data"))
    except OSError:
        return {"total": 0, "free": 0}
    return {"total": found.f_blocks * found.f_frsize, "free": found.f_bavail * found.f_frsize}
