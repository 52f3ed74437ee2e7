"""The devices of a Pi's kernel, each with its driver and its place."""

from __future__ import annotations

import fcntl
import os
import struct

from piimage_agent.root import Root, names, read_line, read_text
from piimage_agent.sysfs import hangs_on, link, number, size, tree_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NO_DISKS = ("loop", "ram", "zram", "dm-")
_GPIO_GET_CHIPINFO = 0x8044B401  # linux/gpio.h: struct gpiochip_info
_CHIPINFO = struct.Struct("32s32sI")


def disks(root: Root) -> list[dict[str, Any]]:
    """Return the block devices. Serial numbers and card ids are not read."""
    return [
        _disk(root, name) for name in names(root.at("sys/block")) if not name.startswith(_NO_DISKS)
    ]


def _disk(root: Root, name: str) -> dict[str, Any]:
    path = root.at(f"sys/block/{name}")
    return {
        "name": name,
        "bytes": size(f"{path}/size"),
        "read_only": read_line(f"{path}/ro") == "1",
        "removable": read_line(f"{path}/removable") == "1",
        "model": read_line(f"{path}/device/model") or read_line(f"{path}/device/name"),
        "vendor": read_line(f"{path}/device/vendor") or read_line(f"{path}/device/manfid"),
        "kind": read_line(f"{path}/device/type"),
        "firmware": read_line(f"{path}/device/firmware_rev") or read_line(f"{path}/device/fwrev"),
        "made": read_line(f"{path}/device/date"),
        "life_time": read_line(f"{path}/device/life_time"),
        "pre_eol_info": read_line(f"{path}/device/pre_eol_info"),
        "speed": _card_speed(root, path),
        **hangs_on(root, path),
    }


def _card_speed(root: Root, path: str) -> dict[str, str]:
    """Return the state of a card's bus in debugfs; empty if debugfs is not mounted."""
    host = os.path.realpath(path).rpartition("/mmc_host/")[2].partition("/")[0]
    found = {}
    for line in read_text(root.at(f"sys/kernel/debug/{host}/ios"), 4096).splitlines():
        key, colon, value = line.partition(":")
        if colon and host.startswith("mmc"):
            found[key.strip()] = value.strip()
    return found


def i2c(root: Root) -> list[dict[str, Any]]:
    """Return the I2C buses by number, each with the chips that have a kernel driver or a name."""
    folder = root.at("sys/bus/i2c/devices")
    found = []
    for name in names(folder):
        bus = name.partition("i2c-")[2]
        if not bus.isdigit():
            continue
        chips = [
            {"address": chip.partition("-")[2], "name": read_line(f"{folder}/{chip}/name"),
             "driver": link(f"{folder}/{chip}/driver")}
            for chip in names(folder) if chip.startswith(f"{bus}-")
        ]  # fmt: skip
        found.append(
            {
                "number": int(bus),
                "name": read_line(f"{folder}/{name}/name"),
                "tree": tree_path(f"{folder}/{name}"),
                "node": os.path.exists(root.at(f"dev/{name}")),
                "chips": chips,
            }
        )
    return found


def spi(root: Root) -> list[dict[str, Any]]:
    """Return the devices on SPI buses."""
    folder = root.at("sys/bus/spi/devices")
    return [
        {
            "name": name,
            "kind": read_line(f"{folder}/{name}/modalias"),
            "driver": link(f"{folder}/{name}/driver"),
            "node": os.path.exists(root.at(f"dev/spidev{name[3:]}")),
            "tree": hangs_on(root, f"{folder}/{name}")["tree"],
        }
        for name in names(folder)
    ]


def gpio(root: Root) -> list[dict[str, Any]]:
    """Return the GPIO chips with their labels and numbers of lines."""
    chips = [name for name in names(root.at("dev")) if name.startswith("gpiochip")]
    return [{"name": name, **_chip(root.at(f"dev/{name}"))} for name in chips]


def _chip(path: str) -> dict[str, Any]:
    buffer = bytearray(_CHIPINFO.size)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(fd, _GPIO_GET_CHIPINFO, buffer)
        finally:
            os.close(fd)
    except OSError:
        return {"label": "", "lines": 0}
    return chip_info(bytes(buffer))


def chip_info(data: bytes) -> dict[str, Any]:
    """Return label and number of lines of a ``struct gpiochip_info``."""
    _, label, lines = _CHIPINFO.unpack(data)
    return {"label": label.partition(b"\0")[0].decode(errors="replace"), "lines": lines}


def watchdogs(root: Root) -> list[dict[str, Any]]:
    """Return the watchdogs; timeouts are in seconds."""
    folder = root.at("sys/class/watchdog")
    return [
        {
            "name": name,
            "identity": read_line(f"{folder}/{name}/identity"),
            "state": read_line(f"{folder}/{name}/state"),
            "timeout": number(f"{folder}/{name}/timeout"),
            "boot_status": number(f"{folder}/{name}/bootstatus"),
            "nowayout": number(f"{folder}/{name}/nowayout"),
            "driver": link(f"{folder}/{name}/device/driver"),
        }
        for name in names(folder)
    ]


def zones(root: Root) -> list[dict[str, Any]]:
    """Return the thermal zones; temperatures are in thousandths of a degree Celsius."""
    folder = root.at("sys/class/thermal")
    return [
        {"name": read_line(f"{folder}/{zone}/type"), "temperature": number(f"{folder}/{zone}/temp")}
        for zone in names(folder)
        if zone.startswith("thermal_zone")
    ]


def coolers(root: Root) -> list[dict[str, Any]]:
    """Return the cooling devices: fans, and processors that are throttled."""
    folder = root.at("sys/class/thermal")
    return [
        {
            "name": read_line(f"{folder}/{cooler}/type"),
            "state": number(f"{folder}/{cooler}/cur_state"),
            "most": number(f"{folder}/{cooler}/max_state"),
        }
        for cooler in names(folder)
        if cooler.startswith("cooling_device")
    ]


def monitors(root: Root) -> list[dict[str, Any]]:
    """Return the values of hwmon in its units (Documentation/hwmon/sysfs-interface)."""
    folder = root.at("sys/class/hwmon")
    return [
        {
            "name": read_line(f"{folder}/{name}/name"),
            "values": {
                value: read_line(f"{folder}/{name}/{value}")
                for value in names(f"{folder}/{name}")[:64]
                if value.endswith(("_input", "_alarm", "_label"))
            },
        }
        for name in names(folder)
    ]


def links(root: Root) -> list[dict[str, Any]]:
    """Return the network ports and radios; the report cuts addresses to the vendor's part."""
    folder = root.at("sys/class/net")
    return [
        _link(root, f"{folder}/{name}", name)
        for name in names(folder)
        if os.path.exists(f"{folder}/{name}/device")
    ]


def _link(root: Root, path: str, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "wireless": os.path.exists(f"{path}/phy80211") or os.path.exists(f"{path}/wireless"),
        "state": read_line(f"{path}/operstate"),
        "carrier": read_line(f"{path}/carrier") == "1",
        "speed": number(f"{path}/speed"),
        "mac": read_line(f"{path}/address"),
        **hangs_on(root, f"{path}/device"),
    }


def radios(root: Root) -> list[dict[str, Any]]:
    """Return which radios are switched off, by software or by a switch."""
    folder = root.at("sys/class/rfkill")
    return [
        {
            "kind": read_line(f"{folder}/{name}/type"),
            "soft": read_line(f"{folder}/{name}/soft") == "1",
            "hard": read_line(f"{folder}/{name}/hard") == "1",
        }
        for name in names(folder)
    ]


def usb(root: Root) -> list[dict[str, Any]]:
    """Return the USB devices, without serial numbers; speeds are in Mbit/s."""
    folder = root.at("sys/bus/usb/devices")
    entries = names(folder)
    found = []
    for name in entries:
        path = f"{folder}/{name}"
        if ":" in name:
            continue
        interfaces = [entry for entry in entries if entry.startswith(f"{name}:")]
        drivers = {link(f"{folder}/{interface}/driver") for interface in interfaces}
        found.append(
            {
                "name": name,
                "id": f"{read_line(f'{path}/idVendor')}:{read_line(f'{path}/idProduct')}",
                "maker": read_line(f"{path}/manufacturer"),
                "product": read_line(f"{path}/product"),
                "speed": read_line(f"{path}/speed"),
                "drivers": sorted(drivers - {""}),
            }
        )
    return found


def clocks(root: Root) -> list[dict[str, Any]]:
    """Return the real-time clocks."""
    folder = root.at("sys/class/rtc")
    return [
        {
            "name": name,
            "driver": read_line(f"{folder}/{name}/name"),
            "seconds": number(f"{folder}/{name}/since_epoch"),
            "at_boot": read_line(f"{folder}/{name}/hctosys") == "1",
        }
        for name in names(folder)
    ]
