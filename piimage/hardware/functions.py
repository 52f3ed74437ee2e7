"""The check that the image of a board has the drivers for the functions of a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from piimage.board import Board, Function
from piimage.firmware.fdt import Node, Tree
from piimage.hardware.drivers import Driver, Drivers
from piimage.hardware.suppliers import path_to, suppliers
from piimage.kernel.modules import Supply


class State(Enum):
    """The state of a driver in an image, from the best to the worst."""

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
        """Whether the driver is loaded once the system is up."""
        return self in (State.BUILT_IN, State.BOOT, State.LATE, State.WIFI)

    @property
    def early(self) -> bool:
        """Whether the driver is loaded when the initramfs searches the root."""
        return self in (State.BUILT_IN, State.BOOT)


@dataclass(frozen=True)
class Image:
    """The modules that an image loads, in order, with their dependencies."""

    boot: tuple[str, ...]
    late: tuple[str, ...]
    wifi: tuple[str, ...]
    other_disks: tuple[str, ...] = ()

    @classmethod
    def of(cls, board: Board, supply: Supply) -> Image:
        """Return the modules of the image of `board`.

        Raises InputError ``kernel.unknown-module``.
        """
        wifi = board.wifi.modules if board.wifi is not None else ()
        lists = (board.modules.boot, board.modules.late, wifi, board.modules.other_disks)
        return cls(*(tuple(supply.load_order(names)) for names in lists))

    def booted_from_another_disk(self) -> Image:
        """Return the modules that are loaded if the initramfs loads `other_disks` too."""
        return replace(self, boot=tuple(dict.fromkeys((*self.boot, *self.other_disks))))

    def state(self, drivers: Iterable[Driver]) -> tuple[State, str]:
        """Return the best state of `drivers`, and the module of that driver, if it has one."""
        states = [(self._state(driver), driver.module) for driver in drivers]
        order = list(State)
        return min(
            states, key=lambda pair: (order.index(pair[0]), pair[1]), default=(State.NO_DRIVER, "")
        )

    def _state(self, driver: Driver) -> State:
        if driver.built_in:
            return State.BUILT_IN
        stages = ((State.BOOT, self.boot), (State.LATE, self.late), (State.WIFI, self.wifi))
        return next((stage for stage, names in stages if driver.module in names), State.NOT_LOADED)


@dataclass(frozen=True)
class Need:
    """A node, device or module that a function needs, and the state of its driver."""

    name: str
    state: State
    module: str


@dataclass(frozen=True)
class Late:
    """A device with a built-in driver, and its supplier, whose driver is loaded late.

    The kernel defers such a device, but when no driver has registered for 10 s
    (deferred_probe_timeout, drivers/base/dd.c), it starts the device without the supplier.
    """

    device: str
    supplier: str
    module: str


@dataclass(frozen=True)
class Examiner:
    """Examines one model: its device tree, the kernel's drivers, and the image's modules."""

    tree: Tree
    drivers: Drivers
    image: Image

    def needs(self, function: Function) -> tuple[Need, ...]:
        """Return the needs of `function`, suppliers before the devices that need them."""
        needs = {need.name: need for name in function.nodes for need in self._of_node(name)}
        for alias in function.devices:
            needs[alias] = self._need(alias, self.drivers.of_alias(alias))
        for name in function.modules:
            needs[name] = self._need(name, self.drivers.named(name))
        return tuple(needs.values())

    def late_suppliers(self, function: Function) -> tuple[Late, ...]:
        """Return the built-in devices of `function` that wait for a module of the system."""
        late: list[Late] = []
        for device in self._devices(function):
            if self._state(device)[0] is not State.BUILT_IN:
                continue
            for supplier in suppliers(self.tree, device):
                state, module = self._state(supplier)
                if not state.early and state is not State.NO_DRIVER:
                    late.append(Late(device.path, supplier.path, module))
        return tuple(dict.fromkeys(late))

    def out_of_order(self, function: Function) -> tuple[tuple[str, str], ...]:
        """Return modules that are loaded before the module of a supplier (module, supplier).

        This is slower, but not a fault: the kernel defers the device until its supplier is ready.
        """
        image = self.image
        loaded = dict.fromkeys((*image.boot, *image.late, *image.wifi))
        order = {name: index for index, name in enumerate(loaded)}
        pairs = [
            (module, needed)
            for device in self._devices(function)
            for supplier in suppliers(self.tree, device)
            if (module := self._state(device)[1]) in order
            and (needed := self._state(supplier)[1]) in order
            and order[module] < order[needed]
        ]
        return tuple(dict.fromkeys(pairs))

    def _devices(self, function: Function) -> Sequence[Node]:
        nodes = [node for name in function.nodes if (node := self.tree.find(name)) is not None]
        return tuple(dict.fromkeys(device for node in nodes for device in path_to(self.tree, node)))

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

    def _need(self, name: str, drivers: Iterable[Driver]) -> Need:
        return Need(name, *self.image.state(drivers))
