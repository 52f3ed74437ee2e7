"""The suppliers of a device: the devices that it needs to start, by the rules of the kernel.

The kernel (fw_devlink) reads these relations from properties with known names, and does not start
a device before its suppliers. Source: ``of_supplier_bindings`` in drivers/of/property.c of Linux
6.12 and 7.3, and Devicetree Specification 0.4, 2.4, for interrupts. `_BY_DRIVERS` has properties
that are not in the kernel's list, but that drivers use.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from piimage.firmware.fdt import Node, Tree

# Lists of phandles; the second name is the supplier's property with its number of cells.
_LISTS: Final = {
    "clocks": "#clock-cells",
    "interconnects": "#interconnect-cells",
    "iommus": "#iommu-cells",
    "mboxes": "#mbox-cells",
    "io-channels": "#io-channel-cells",
    "io-backends": "#io-backend-cells",
    "dmas": "#dma-cells",
    "power-domains": "#power-domain-cells",
    "hwlocks": "#hwlock-cells",
    "nvmem-cells": "#nvmem-cell-cells",
    "phys": "#phy-cells",
    "pwms": "#pwm-cells",
    "resets": "#reset-cells",
    "msi-parent": "#msi-cells",
    "access-controllers": "#access-controller-cells",
    "gpio": "#gpio-cells",
    "gpios": "#gpio-cells",
    "interrupts-extended": "#interrupt-cells",
}
_PLAIN: Final = frozenset(
    (
        "interrupt-parent",
        "extcon",
        "wakeup-parent",
        "leds",
        "backlight",
        "panel",
        "power-supplies",
        *(f"pinctrl-{state}" for state in range(9)),
    )
)
_SUFFIXES: Final = {"-supply": "", "-gpio": "#gpio-cells", "-gpios": "#gpio-cells"}
# net/core and of_mdio; drivers/mmc/core/pwrseq; drivers of the Pi's firmware; i2c-mux-pinctrl;
# drivers/thermal/thermal_of.
_BY_DRIVERS: Final = {
    "phy-handle": "",
    "mmc-pwrseq": "",
    "firmware": "",
    "i2c-parent": "",
    "thermal-sensors": "#thermal-sensor-cells",
}


def device_of(node: Node) -> Node | None:
    """Return the node that a driver binds to: `node`, or its nearest ancestor that is a device.

    For example, a pin state or a PHY of an Ethernet controller is part of a device. None if the
    node belongs to the board itself.
    """
    return next((other for other in (node, *node.ancestors) if _is_device(other)), None)


def suppliers(tree: Tree, device: Node) -> tuple[Node, ...]:
    """Return the devices that the properties of `device` name as its suppliers.

    As in the kernel, disabled devices do not count, nor do the ancestors of `device`. Raises
    PiimageError ``firmware.bad-device-tree`` if a property refers to a missing node.
    """
    nodes = (node for part in _parts(device) for node in _named(tree, part) if node.enabled)
    devices = dict.fromkeys(d for node in nodes if (d := device_of(node)) is not None)
    return tuple(other for other in devices if other not in (device, *device.ancestors))


def needs(tree: Tree, device: Node) -> tuple[Node, ...]:
    """Return the devices that `device` needs: its bus, then its suppliers."""
    parent = device_of(device.parent) if device.parent is not None else None
    bus = (parent,) if parent is not None else ()
    return tuple(dict.fromkeys((*bus, *suppliers(tree, device))))


def path_to(tree: Tree, device: Node) -> tuple[Node, ...]:
    """Return all direct and indirect needs of `device`, and `device` as the last.

    Each device comes after its needs; in a loop of needs, the order is undefined.
    """
    order: dict[Node, None] = {}
    begun: set[Node] = set()
    waiting: list[tuple[Node, bool]] = [(device, False)]
    while waiting:
        node, done = waiting.pop()
        if done:
            order[node] = None
        elif node not in begun:
            begun.add(node)
            waiting.append((node, True))
            waiting += [(need, False) for need in reversed(needs(tree, node))]
    return tuple(order)


def _is_device(node: Node) -> bool:
    """Return whether the kernel makes a device for the node: by `compatible`, or as a PCI child."""
    if node.parent is None:
        return False
    return "compatible" in node.properties or node.parent.text("device_type") == "pci"


def _parts(device: Node) -> Iterator[Node]:
    """Yield the device's node, and its descendants that are not devices themselves."""
    yield device
    for child in device.children.values():
        if not _is_device(child) and child.enabled:
            yield from _parts(child)


def _named(tree: Tree, node: Node) -> Iterator[Node]:
    for name in node.properties:
        if name == "interrupts":
            yield from _interrupt_parent(tree, node)
        elif name == "interrupt-map":
            yield from _mapped(tree, node)
        elif "gpio-hog" not in node.properties or name not in ("gpio", "gpios"):
            cells = _cells_name(name)
            if cells is not None:
                yield from _listed(tree, node, name, cells)


def _cells_name(name: str) -> str | None:
    """Return the property of a supplier with the number of cells after its phandle.

    It is empty if there are no cells, and None if the property `name` does not name suppliers.
    """
    if name in _PLAIN:
        return ""
    known = {**_LISTS, **_BY_DRIVERS}
    if name in known:
        return known[name]
    endings = (cells for ending, cells in _SUFFIXES.items() if name.endswith(ending))
    return None if name.endswith(",nr-gpios") else next(endings, None)


def _listed(tree: Tree, node: Node, name: str, cells_name: str) -> Iterator[Node]:
    cells = node.cells(name)
    at = 0
    while at < len(cells):
        phandle, at = cells[at], at + 1
        if not phandle:  # an empty entry of the list
            continue
        supplier = tree.by_phandle(phandle, node)
        yield supplier
        at += supplier.number(cells_name, 0) if cells_name else 0


def _interrupt_parent(tree: Tree, node: Node) -> Iterator[Node]:
    """Yield the controller of a node's interrupts (specification, 2.4.1.1)."""
    seen: set[Node] = set()
    at: Node | None = node
    while at is not None and at not in seen:
        seen.add(at)
        phandle = at.number("interrupt-parent", 0)
        at = tree.by_phandle(phandle, at) if phandle else at.parent
        if at is not None and "#interrupt-cells" in at.properties:
            yield at
            return


def _mapped(tree: Tree, node: Node) -> Iterator[Node]:
    """Yield the controllers in an interrupt-map (specification, 2.4.3.1)."""
    cells = node.cells("interrupt-map")
    own = node.number("#address-cells", 2) + node.number("#interrupt-cells", 1)
    at = own
    while at < len(cells):
        parent = tree.by_phandle(cells[at], node)
        yield parent
        at += 1 + own
        at += parent.number("#address-cells", 0) + parent.number("#interrupt-cells", 1)
