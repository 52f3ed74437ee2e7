"""The facts for `piimage doctor --pi`, without secrets; the tool evaluates them."""

from __future__ import annotations

import os
import time

from piimage_agent import VERSION, devices, services, status
from piimage_agent.kernel_log import kernel_log
from piimage_agent.redact import Redactor, own_numbers
from piimage_agent.root import Root, names, read_line, read_text
from piimage_agent.sysfs import cells, number, tree_text, tree_texts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Documentation of Raspberry Pi, "Firmware parameters". Listed by name, because
# /chosen also has seeds of the kernel's random numbers and an ID of this Pi (rpi-duid).
_BOOTLOADER = (
    "boot-mode", "build_timestamp", "capabilities", "partition", "pm_rsts", "rsts", "signed",
    "signed_boot", "tryboot", "update_timestamp",
)  # fmt: skip
_CHOSEN = ("rpi-boardrev-ext", "rpi-min-boot-ver", "rpi-sdram-size-gbit")
_POWER = ("max_current", "power_reset", "rpi_power_supply", "usb_max_current_enable",
          "usb_over_current_detected")  # fmt: skip
_DISK_ID = 440  # offset of the disk ID in the MBR: four bytes, little-endian
_GPT_ID = 568  # offset of the disk's GUID in a GPT, whose first part is little-endian as well


def report(root: Root) -> dict[str, Any]:
    """Return the reply to `report`, without numbers and addresses that identify this Pi."""
    slot = status.slot(root)
    facts = {
        "agent": VERSION,
        "board": _board(root),
        "boot": _boot(root, slot),
        "kernel": _kernel(root),
        "disks": devices.disks(root),
        "data": {**status.disk(root), "temporary": slot["temporary"]},
        "i2c": devices.i2c(root),
        "spi": devices.spi(root),
        "gpio": devices.gpio(root),
        "watchdogs": devices.watchdogs(root),
        "zones": devices.zones(root),
        "coolers": devices.coolers(root),
        "monitors": devices.monitors(root),
        "throttled": status.throttled(root) or {},
        "links": devices.links(root),
        "radios": devices.radios(root),
        "usb": devices.usb(root),
        "memory": status.memory(root),
        "processor": _processor(root),
        "time": _time(root),
        "log": kernel_log(root),
        "deferred": _deferred(root),
        "modules": _modules(root),
        "services": [_service(row) for row in services.states(root)],
    }
    return {"facts": Redactor(own_numbers(root)).clean(facts)}


def _board(root: Root) -> dict[str, Any]:
    tree = root.at("proc/device-tree")
    return {
        "model": tree_text(f"{tree}/model"),
        "compatible": tree_texts(f"{tree}/compatible"),
        "revision": cells(f"{tree}/system/linux,revision"),
        "has_serial": bool(tree_text(f"{tree}/serial-number")),
        "firmware": {key: cells(f"{tree}/chosen/{key}") for key in _CHOSEN},
        "power": {key: cells(f"{tree}/chosen/power/{key}") for key in _POWER},
    }


def _boot(root: Root, slot: dict[str, Any]) -> dict[str, Any]:
    tree = root.at("proc/device-tree/chosen/bootloader")
    facts = root.facts()
    disk = facts.get("PIIMAGE_DISK", "")
    return {
        "loader": {key: cells(f"{tree}/{key}") for key in _BOOTLOADER},
        "loader_version": tree_text(f"{tree}/version"),
        "board": slot["board"],
        "partition": slot["partition"],
        "prefix": slot["prefix"],
        "containers_from": facts.get("PIIMAGE_CONTAINERS_FROM", ""),
        "selector": facts.get("SELECTOR", ""),
        "disk": disk,
        "disk_id": disk_id(root.at(disk.lstrip("/"))) if disk else "",
        "data_device": facts.get("PIIMAGE_DATA_DEVICE", ""),
    }


def disk_id(path: str) -> str:
    """Return the number in a disk's table in sfdisk's form; empty if it cannot be read.

    It is the ID in an MBR, or the first part of the GUID in a GPT.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(_GPT_ID + 4)
    except OSError:
        return ""
    at = _GPT_ID if head[512:520] == b"EFI PART" else _DISK_ID
    data = head[at : at + 4]
    return f"0x{int.from_bytes(data, 'little'):08x}" if len(data) == 4 else ""


def _kernel(root: Root) -> dict[str, Any]:
    return {
        "release": os.uname().release,
        "version": os.uname().version,
        "machine": os.uname().machine,
        "command_line": read_line(root.at("proc/cmdline")),
        "uptime": int(float((read_line(root.at("proc/uptime")) or "0").split()[0])),
        "load": read_line(root.at("proc/loadavg")).split()[:3],
        "tainted": number(root.at("proc/sys/kernel/tainted")),
    }


def _processor(root: Root) -> dict[str, Any]:
    folder = root.at("sys/devices/system/cpu")
    policies = [name for name in names(f"{folder}/cpufreq") if name.startswith("policy")]
    return {
        "online": read_line(f"{folder}/online"),
        "id": read_line(f"{folder}/cpu0/regs/identification/midr_el1"),
        "policies": [
            {
                "driver": read_line(f"{folder}/cpufreq/{name}/scaling_driver"),
                "governor": read_line(f"{folder}/cpufreq/{name}/scaling_governor"),
                "now": number(f"{folder}/cpufreq/{name}/scaling_cur_freq"),
                "least": number(f"{folder}/cpufreq/{name}/scaling_min_freq"),
                "most": number(f"{folder}/cpufreq/{name}/scaling_max_freq"),
            }
            for name in policies
        ],
    }


def _time(root: Root) -> dict[str, Any]:
    source = root.at("sys/devices/system/clocksource/clocksource0/current_clocksource")
    return {"now": int(time.time()), "source": read_line(source), "clocks": devices.clocks(root)}


def _deferred(root: Root) -> dict[str, Any]:
    """Return the devices whose probe is deferred; only debugfs lists all of them."""
    path = root.at("sys/kernel/debug/devices_deferred")
    return {"readable": os.access(path, os.R_OK), "devices": read_text(path, 1 << 14).splitlines()}


def _modules(root: Root) -> dict[str, Any]:
    """Return the modules of the system that are not loaded."""
    loaded = {line.split(" ")[0] for line in read_text(root.at("proc/modules")).splitlines()}
    wanted = read_text(root.at("etc/piimage/modules-late")).splitlines()
    requested = [_module(line.split(" ")[0]) for line in wanted if line.strip()]
    return {"loaded": len(loaded), "failed": [name for name in requested if name not in loaded]}


def _module(path: str) -> str:
    return path.rpartition("/")[2].partition(".ko")[0].replace("-", "_")


def _service(row: dict[str, Any]) -> dict[str, Any]:
    """Return a service's row without irrelevant numbers."""
    return {key: row[key] for key in ("name", "state", "health", "restarts", "exit", "memory")}
