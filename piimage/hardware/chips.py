"""The chips that the drivers of a kernel measure, for a person who looks for a name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from piimage.board import Board
from piimage.config.sensors import W1_FAMILIES
from piimage.hardware.drivers import open_supply
from piimage.kernel.package import UnpackedKernel
from piimage.kernel.sensors import BUSES, W1, sensor_chips
from piimage.lock import Lock
from piimage.locking.fetching import make
from piimage.locking.inputs import Inputs
from piimage.locking.requests import kernel_request, suites


@dataclass(frozen=True)
class KnownChip:
    """A chip by its name for `chip:`, the bus that it needs, and the module that drives it."""

    name: str
    bus: str
    module: str


def current_kernel(board: Board, inputs: Inputs) -> Lock:
    """Return a lock of Debian's present kernel for `board`."""
    return inputs.pinning(suites(board)).lock([kernel_request(board)])


def known_chips(board: Board, lock: Lock, inputs: Inputs) -> tuple[str, Sequence[KnownChip]]:
    """Return the release of the locked kernel, and its chips in the order of their names."""
    blobs = tuple(package.blob for package in lock.of_root("kernel"))
    kernel = UnpackedKernel(board.trees, blobs, form=board.kernel.form)
    job = make([kernel], lock, inputs)
    with open_supply(job, kernel) as supply:
        modules, release = sensor_chips(supply), supply.release
    named = [
        KnownChip(name, bus, module)
        for alias, module in modules.items()
        for bus, _, name in [alias.partition(":")]
        if bus in BUSES
    ]
    w1 = [
        KnownChip(name, "w1", modules[alias])
        for name, family in W1_FAMILIES.items()
        if (alias := f"{W1}{family.upper()}") in modules
    ]
    return release, sorted((*named, *w1), key=lambda chip: (chip.name, chip.bus))
