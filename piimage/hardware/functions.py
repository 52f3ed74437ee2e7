"""Whether the image of a board has the drivers for what a model can do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from piimage.boards import Board, Function
from piimage.firmware.fdt import Node, Tree
from piimage.hardware.drivers import Driver, Drivers
from piimage.hardware.suppliers import path_to, suppliers
from piimage.kernel.modules import Supply


class State(Enum):
    """Where the driver for something is; the later, the worse."""

    BUILT_IN = "built in"
    BOOT = "boot"
    LATE = "late"
    WIFI = "wifi"
    NOT_LOADED = "not loaded"
    NO_DRIVER = "no driver"
    OFF = "off"
    NO_NODE = "no node"

    @property
    def works(self) -> bool:
        """Whether the driver is there once the system is up."""
        return self in (State.BUILT_IN, State.BOOT, State.LATE, State.WIFI)

    @property
    def early(self) -> bool:
        """Whether the driver is there when the root is looked for."""
        return self in (State.BUILT_IN, State.BOOT)


@dataclass(frozen=True)
class Image:
    """What an image loads, in order, all that modules depend on included."""

    boot: tuple[str, ...]
    late: tuple[str, ...]
    wifi: tuple[str, ...]
    other_disks: tuple[str, ...] = ()

    @classmethod
    def of(cls, board: Board, supply: Supply) -> Image:
        """Return what the image of `board` loads; raises InputError ``kernel.unknown-module``."""
        wifi = board.wifi.modules if board.wifi is not None else ()
        lists = (board.modules.boot, board.modules.late, wifi, board.modules.other_disks)
        return cls(*(tuple(supply.load_order(names)) for names in lists))

    def booted_from_another_disk(self) -> Image:
        """Return what it loads when the initramfs loads `other_disks` too."""
        return replace(self, boot=tuple(dict.fromkeys((*self.boot, *self.other_disks))))

    def state(self, drivers: Iterable[Driver]) -> tuple[State, str]:
        """Return where the best of `drivers` is, and the name of its module, if it has one."""
        found = [(self._state(driver), driver.module) for driver in drivers]
        order = list(State)
        return min(
            found, key=lambda one: (order.index(one[0]), one[1]), default=(State.NO_DRIVER, "")
        )

    def _state(self, driver: Driver) -> State:
        if driver.built_in:
            return State.BUILT_IN
        stages = ((State.BOOT, self.boot), (State.LATE, self.late), (State.WIFI, self.wifi))
        return next((stage for stage, names in stages if driver.module in names), State.NOT_LOADED)


@dataclass(frozen=True)
class Need:
    """One thing that a function needs: a node, a device or a module, and where its driver is."""

    what: str
    state: State
    module: str


@dataclass(frozen=True)
class Late:
    """A device whose driver is there from the start, and a supplier whose driver comes late.

    The kernel puts such a device off, but not for ever: when nothing has registered for 10 s
    (deferred_probe_timeout, drivers/base/dd.c), it starts without the supplier.
    """

    device: str
    supplier: str
    module: str


@dataclass(frozen=True)
class Examiner:
    """Looks at one model: its device tree, the kernel's drivers, and what the image loads."""

    tree: Tree
    drivers: Drivers
    image: Image

    def needs(self, function: Function) -> tuple[Need, ...]:
        """Return everything that `function` needs, each after what it needs itself."""
        found = {need.what: need for name in function.nodes for need in self._of_node(name)}
        for alias in function.devices:
            found[alias] = self._need(alias, self.drivers.of_alias(alias))
        for name in function.modules:
            found[name] = self._need(name, self.drivers.named(name))
        return tuple(found.values())

    def late_suppliers(self, function: Function) -> tuple[Late, ...]:
        """Return which built-in devices of `function` wait for a module of the running system."""
        found: list[Late] = []
        for device in self._devices(function):
            if self._state(device)[0] is not State.BUILT_IN:
                continue
            for supplier in suppliers(self.tree, device):
                state, module = self._state(supplier)
                if not state.early and state is not State.NO_DRIVER:
                    found.append(Late(device.path, supplier.path, module))
        return tuple(dict.fromkeys(found))

    def out_of_order(self, function: Function) -> tuple[tuple[str, str], ...]:
        """Return modules that are loaded before one that they need (module, needed).

        The kernel puts such a device off until its supplier is there: slower, and no fault.
        """
        image = self.image
        loaded = dict.fromkeys((*image.boot, *image.late, *image.wifi))
        order = {name: place for place, name in enumerate(loaded)}
        found = [
            (module, needed)
            for device in self._devices(function)
            for supplier in suppliers(self.tree, device)
            if (module := self._state(device)[1]) in order
            and (needed := self._state(supplier)[1]) in order
            and order[module] < order[needed]
        ]
        return tuple(dict.fromkeys(found))

    def _devices(self, function: Function) -> Sequence[Node]:
        nodes = [node for name in function.nodes if (node := self.tree.find(name)) is not None]
        return tuple(dict.fromkeys(one for node in nodes for one in path_to(self.tree, node)))

    def _of_node(self, name: str) -> Iterator[Need]:
        node = self.tree.find(name)
        if node is None or not node.enabled:
            yield Need(name, State.OFF if node is not None else State.NO_NODE, "")
            return
        for device in path_to(self.tree, node):
            if device.compatible:
                yield Need(device.path, *self._state(device))

    def _state(self, device: Node) -> tuple[State, str]:
        return self.image.state(self.drivers.of_node(device))

    def _need(self, what: str, drivers: Iterable[Driver]) -> Need:
        return Need(what, *self.image.state(drivers))
