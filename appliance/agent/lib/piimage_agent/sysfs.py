"""Reads values of sysfs and of the device tree; a missing value is empty, 0 or None."""

from __future__ import annotations

import os

from piimage_agent.root import Root, read_line, read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DEVICES = "sys/devices"
_TREE = "devicetree/base"


def number(path: str) -> int | None:
    """Return the decimal number in a file; None if there is none."""
    text = read_line(path)
    return int(text) if text.lstrip("-").isdigit() else None


def size(path: str) -> int:
    """Return a size that sysfs gives in sectors of 512 bytes, in bytes."""
    return (number(path) or 0) * 512


def link(path: str) -> str:
    """Return the name of a link's target, such as a driver or a subsystem."""
    try:
        return os.path.basename(os.readlink(path))
    except OSError:
        return ""


def tree_path(path: str) -> str:
    """Return the path of a device in the device tree."""
    try:
        return os.readlink(f"{path}/of_node").partition(_TREE)[2]
    except OSError:
        return ""


def hangs_on(root: Root, path: str) -> dict[str, Any]:
    """Return a device's path below /sys/devices, the drivers above it, the nearest tree node."""
    top = os.path.realpath(root.at(_DEVICES))
    place = os.path.realpath(path)
    if not place.startswith(f"{top}/"):
        return {"path": "", "drivers": [], "tree": ""}
    found: dict[str, Any] = {"path": place[len(top) + 1 :], "drivers": [], "tree": ""}
    while place != top:
        if driver := link(f"{place}/driver"):
            found["drivers"].append(driver)
        found["tree"] = found["tree"] or tree_path(place)
        place = os.path.dirname(place)
    return found


def cells(path: str) -> int | None:
    """Return a 32-bit number of the device tree (big-endian); None if there is none."""
    try:
        with open(path, "rb") as file:
            data = file.read(4)
    except OSError:
        return None
    return int.from_bytes(data, "big") if len(data) == 4 else None


def tree_texts(path: str) -> list[str]:
    """Return the texts of a property, each of which ends with a zero byte."""
    return [text for text in read_text(path, 1024).split("\0") if text]


def tree_text(path: str) -> str:
    """Return the first text of a property."""
    return next(iter(tree_texts(path)), "").strip()
