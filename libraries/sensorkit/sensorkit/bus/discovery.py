"""Finds the device node in /dev of a bus in the device tree.

Bus numbers depend on the probe order and the board; names in the device tree do not. Every adapter
names its node in its ``uevent`` (OF_FULLNAME, OF_ALIAS_n; drivers/of/device.c), which a container
can read although ``/sys/firmware`` is masked there. Labels, such as ``i2c_arm``, are in
``/proc/device-tree/__symbols__`` and work if that can be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sensorkit.errors import BusError


@dataclass(frozen=True)
class SystemPaths:
    """Where the kernel shows devices. Tests use other folders."""

    sys: Path = Path("/sys")
    dev: Path = Path("/dev")
    device_tree: Path = Path("/proc/device-tree")


@dataclass(frozen=True)
class Adapter:
    """A bus of the kernel: its number and its names."""

    number: int
    names: frozenset[str]


def i2c_node(reference: str, paths: SystemPaths) -> Path:
    """Return the device node of an I2C bus.

    `reference` is an alias or label (``i2c1``), a node's name or path
    (``/soc/i2c@7e804000``), or a device node itself (``/dev/i2c-1``). Raises `BusError`, whose
    message names the existing buses.
    """
    if reference.startswith("/dev/"):
        return paths.dev / reference.removeprefix("/dev/")
    adapters = list(_adapters(paths.sys / "class/i2c-dev", "i2c-", paths.sys / "bus/i2c/devices"))
    return paths.dev / f"i2c-{_find(reference, adapters, paths, 'I2C').number}"


def spi_node(reference: str, paths: SystemPaths) -> Path:
    """Return the device node of an SPI chip select.

    `reference` is a controller as in `i2c_node`, a dot and a chip select (``spi0.1``), or a device
    node (``/dev/spidev0.1``). Raises `BusError`.
    """
    if reference.startswith("/dev/"):
        return paths.dev / reference.removeprefix("/dev/")
    controller, dot, chip_select = reference.rpartition(".")
    if not dot or not chip_select.isdigit():
        raise BusError(f"'{reference}' names no chip select; write it as in spi0.0")
    masters = paths.sys / "class/spi_master"
    adapter = _find(controller, list(_adapters(masters, "spi", masters)), paths, "SPI")
    return paths.dev / f"spidev{adapter.number}.{chip_select}"


def _find(reference: str, adapters: Iterable[Adapter], paths: SystemPaths, kind: str) -> Adapter:
    wanted = {reference, *_labelled(reference, paths.device_tree)}
    for adapter in adapters:
        if wanted & adapter.names:
            return adapter
    known = ", ".join(sorted({min(a.names, key=len) for a in adapters if a.names}))
    existing = f"these exist: {known}" if known else "none exists"
    raise BusError(f"there is no {kind} bus '{reference}' ({existing})")


def _adapters(folder: Path, prefix: str, devices: Path) -> Iterable[Adapter]:
    for entry in sorted(folder.glob(f"{prefix}*")) or sorted(devices.glob(f"{prefix}[0-9]*")):
        number = entry.name.removeprefix(prefix)
        if number.isdigit():
            yield Adapter(int(number), frozenset(_names(devices / entry.name)))


def _names(device: Path) -> Iterable[str]:
    """Yield the names of a bus: aliases, node path and node name."""
    event = _key_values(_text(device / "uevent"))
    for key, value in event.items():
        if key.startswith("OF_ALIAS_"):
            yield value
    full = event.get("OF_FULLNAME") or _linked_node(device)
    # The adapter's name, "bcm2835 (i2c@7e804000)", contains the node's if the rest is hidden.
    in_name = re.search(r"\(([\w-]+@[0-9a-f]+)\)", _text(device / "name"))
    if full:
        yield full
        yield full.rpartition("/")[2]
    elif in_name:
        yield in_name[1]


def _linked_node(device: Path) -> str:
    try:
        target = (device / "of_node").readlink().as_posix()
    except OSError:
        return ""
    return target.partition("devicetree/base")[2]


def _labelled(label: str, device_tree: Path) -> Iterable[str]:
    """Yield the node path of a label or an alias, if the device tree can be read."""
    for folder in ("__symbols__", "aliases"):
        path = _text(device_tree / folder / label) if re.fullmatch(r"[\w-]+", label) else ""
        if path:
            yield path.rstrip("\0")


def _key_values(text: str) -> Mapping[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
