"""The steps of the system below the containers: kernel, initramfs, layers, files of the slot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from piimage import resources
from piimage.boards import Board, overlay_sources
from piimage.clock import EPOCH
from piimage.compose.described import files_layer, folder_files, package, packages_layer
from piimage.compose.extract import Extracted
from piimage.compose.image import ImageKernel, image_layers, scans
from piimage.compose.layers import Layer, ModulesLayer
from piimage.compose.overlays import CompiledOverlays
from piimage.compose.rules import File, Folder, Rules
from piimage.compose.secret import SecretLayer
from piimage.config.models import Appliance
from piimage.container.bundle import quote
from piimage.kernel.initramfs import Initramfs, InitramfsBase
from piimage.kernel.package import KernelParts, UnpackedKernel
from piimage.lock import Lock
from piimage.locking.requests import system_tree
from piimage.oci.layout import Image
from piimage.plan.agent import agent_layers
from piimage.plan.files import stated, without
from piimage.plan.modules import plan_modules
from piimage.plan.network import network_files, wifi_layers
from piimage.sshkeys import keys_of
from piimage.steps import Step

_DATA = "/data"


@dataclass(frozen=True)
class System:
    """What a version consists of, beside its containers."""

    kernel: KernelParts
    layers: tuple[Layer, ...]
    initramfs_base: InitramfsBase
    firmware: Extracted | None
    overlays: CompiledOverlays

    def initramfs(self, containers: Step) -> Initramfs:
        """Return the initramfs that boots this system with `containers`."""
        return Initramfs(self.initramfs_base, self.layers, containers)


def plan_system(
    appliance: Appliance, board: Board, lock: Lock, images: Mapping[str, Image]
) -> System:
    """Return the steps; nothing is made yet. `images` are by reference."""
    kernel = _kernel(appliance, board, lock, images)
    modules = plan_modules(appliance, board, kernel, lock)
    appliance_folder = resources.path("appliance")
    base = InitramfsBase(
        next(one.blob for one in lock.of_root("system") if one.name == "busybox-static"),
        modules,
        (appliance_folder / "initramfs" / "init").read_bytes(),
        _board_settings(appliance, board).encode(),
    )
    # The system's own files win over those of `init:` images: it is the system that boots.
    layers: list[Layer] = [one for name in appliance.init for one in image_layers(images[name])]
    layers += [*agent_layers(appliance, lock), *_base_layers(lock)]
    layers.append(ModulesLayer(modules))
    layers += wifi_layers(appliance, board, lock)
    layers += _config_layers(appliance, appliance_folder)
    sources = {name: path.read_bytes() for name, path in overlay_sources(board).items()}
    return System(kernel, tuple(layers), base, _firmware(board, lock), CompiledOverlays(sources))


def _kernel(
    appliance: Appliance, board: Board, lock: Lock, images: Mapping[str, Image]
) -> KernelParts:
    own = appliance.kernel
    if own.image is None:
        packages = tuple(one.blob for one in lock.of_root("kernel"))
        return UnpackedKernel(board.trees, packages, form=board.kernel.form)
    tar = "" if own.tar == "none" else own.tar or "kernel.tar"
    return ImageKernel(
        board.trees, scans(images[own.image]), own.binary or "kernel", tar, form=board.kernel.form
    )


def _base_layers(lock: Lock) -> Iterator[Layer]:
    tree = system_tree()
    yield packages_layer("the system", tree, lock.of_root("system"), lowest=True)


def _firmware(board: Board, lock: Lock) -> Extracted | None:
    if not board.firmware.files:
        return None
    named = [one for one in lock.of_root("firmware") if one.name in board.firmware.packages]
    patterns = tuple(f"{board.firmware.root}/{name}" for name in board.firmware.files)
    return Extracted("the boot firmware", tuple(package(one) for one in named), patterns)


def _config_layers(appliance: Appliance, folder: Path) -> Iterator[Layer]:
    """Give the layer of what piimage and the file lay over the packages.

    What of the file's only its owner may read may be a secret, and lies in one of its own.
    """
    own = [*folder_files(folder / "rootfs", ""), *_generated(appliance)]
    over = stated(appliance, own)
    folders = list(over.folders)
    if appliance.data.mount != _DATA:  # its place in the read-only root
        folders.insert(0, Folder(appliance.data.mount.strip("/"), 0o755))
    files = (*without(own, over), *(one for one in over.files if not one.private))
    layer = files_layer("the appliance", [system_tree()], folder, files)
    assert layer is not None  # noqa: S101  # there are always files
    rules = replace(layer.rules, folders=tuple(folders), links=over.links)
    yield type(layer)(layer.name, rules)
    if private := tuple(one for one in over.files if one.private):
        # Its folders are those of the layer below: what lies above counts.
        yield SecretLayer("the private files", Rules(files=private, folders=tuple(folders)))


def _generated(appliance: Appliance) -> Iterator[File]:
    yield File("etc/hostname", f"{appliance.hostname}\n".encode())
    yield File("etc/piimage/clock", f"{EPOCH}\n".encode())
    settings = f"CONSOLE_LOGS={int(appliance.log.console)}\nTIMEZONE='{appliance.timezone}'\n"
    if appliance.data.mount != _DATA:
        settings += f"DATA_MOUNT={quote(appliance.data.mount)}\n"
    yield File("etc/piimage/settings", settings.encode())
    yield from network_files(appliance)
    if appliance.sysctl:
        lines = "".join(f"{key} = {value}\n" for key, value in appliance.sysctl.items())
        yield File("etc/sysctl.d/60-piimage.conf", lines.encode())
    keys = [key.line for text in appliance.ssh.authorized_keys for key in keys_of(text)]
    if keys:
        yield File("etc/piimage/authorized_keys", "".join(f"{k}\n" for k in keys).encode(), 0o600)


def _board_settings(appliance: Appliance, board: Board) -> str:
    """Return what the initramfs has to know; appliance/README.md lists the keys."""
    selector = board.layout.kind == "selector"
    values = {
        "SELECTOR": int(selector),
        "BOOT": board.layout.slots[0] if selector else 1,
        "DATA": board.layout.data,
        "GROW": int(appliance.data.size == "rest"),
        "WATCHDOG": board.watchdog or "",
    }
    return "".join(f"{key}='{value}'\n" for key, value in values.items())
