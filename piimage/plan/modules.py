"""The step of the kernel modules: which are loaded, in which order, and with which parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from piimage.board import Board
from piimage.config.models import Appliance
from piimage.config.module_folder import ModuleFolder, module_folders
from piimage.firmware.boot_loaders import boot_loader_of
from piimage.kernel.modules import ModuleTree
from piimage.kernel.package import KernelParts
from piimage.kernel.sensors import WantedChip
from piimage.lock import Lock
from piimage.locking.requests import wants_wifi
from piimage.modules.steps import module_step, required_kernel, symbols
from piimage.plan.bridge import bridge_modules
from piimage.plan.disks import disk_modules
from piimage.plan.docker import docker_modules
from piimage.plan.network import vlan_modules
from piimage.plan.sensors import bus_modules
from piimage.steps import Step


@dataclass(frozen=True)
class _Named:
    """A module of the file, with its parameters."""

    name: str
    params: Mapping[str, str]


def plan_modules(appliance: Appliance, board: Board, kernel: KernelParts, lock: Lock) -> ModuleTree:
    """Return the step that lays out the modules, those built out of tree included."""
    wifi = board.wifi.modules if board.wifi and wants_wifi(appliance) else ()
    folders = module_folders(appliance, board)
    named = tuple(_named(appliance, folders))
    extra = tuple((folder.file, module_step(folder, lock)) for folder in folders)
    # The module that sets the boot loader's flag of a try. The initramfs needs it to leave a slot
    # that is damaged.
    flag = boot_loader_of(board).try_flag.module
    trying = (flag,) if appliance.slots.updates and flag else ()
    verifying = trying if appliance.slots.verify else ()
    return ModuleTree(
        kernel,
        (*board.modules.boot, *verifying),
        (
            *board.modules.late,
            *wifi,
            *vlan_modules(appliance),
            *bus_modules(appliance),
            *bridge_modules(appliance),
            *disk_modules(appliance, board),
            *docker_modules(appliance),
            *(module.name for module in named),
            *trying,
        ),
        extra,
        _symbols(folders, lock),
        {module.name: module.params for module in named if module.params},
        # The file's own kernel may lack modules without which the card boots.
        board.modules.other_disks if appliance.kernel.image is None else (),
        board.modules.on_demand if appliance.kernel.image is None else (),
        tuple(WantedChip(f"sensors.{s.label}", s.alias) for s in appliance.sensors),
    )


def _named(appliance: Appliance, folders: tuple[ModuleFolder, ...]) -> Iterator[_Named]:
    built = iter(folders)
    for module in appliance.modules:
        if module.build is not None:
            folder = next(built).module
            yield _Named(folder.name, module.params)
            continue
        assert module.name is not None  # noqa: S101  # the model requires name or build
        yield _Named(module.name, module.params)


def _symbols(folders: tuple[ModuleFolder, ...], lock: Lock) -> Step | None:
    if not folders:
        return None
    return symbols(lock, required_kernel(lock, str(folders[0].path)))
