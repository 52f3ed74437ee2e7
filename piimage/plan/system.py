"""The steps that make the system without its containers: kernel, initramfs, layers, firmware."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from piimage import resources
from piimage.board import Board
from piimage.boards import overlay_sources
from piimage.clock import EPOCH
from piimage.compose.described import deb_file, files_layer, folder_files, packages_layer
from piimage.compose.extract import Extracted
from piimage.compose.image import ImageKernel, image_layers, scans
from piimage.compose.initramfs import Initramfs
from piimage.compose.layers import Layer, ModulesLayer
from piimage.compose.overlays import CompiledOverlays
from piimage.compose.rules import File, Folder, Rules
from piimage.compose.secret import SecretLayer
from piimage.config.models import Appliance
from piimage.container.bundle import quote
from piimage.firmware.boot_loaders import boot_loader_of
from piimage.kernel.initramfs import InitramfsBase
from piimage.kernel.package import KernelParts, UnpackedKernel
from piimage.lock import Lock
from piimage.locking.requests import (
    BRIDGE_ROOT,
    IDMAP_ROOT,
    bridge_tree,
    idmap_tree,
    system_tree,
    wants_bridge,
    wants_idmap,
)
from piimage.oci.layout import Image
from piimage.plan.agent import python_layers
from piimage.plan.disks import disk_files
from piimage.plan.docker import docker_files
from piimage.plan.files import overlay_of, without
from piimage.plan.gpio import gpio_files
from piimage.plan.modules import plan_modules
from piimage.plan.network import network_files, wifi_layers
from piimage.plan.sensors import SPI_OVERLAY, sensor_files, spi_overlay
from piimage.signing import certificate_in
from piimage.sshkeys import keys_of

_DATA = "/data"
_TRY_FLAG = "try-flag.sh"
"""What the initramfs and the system share: how the boot loader is told to try the other slot."""
TRUSTED: Final = "etc/piimage/signing.pem"
"""The certificates of the keys that the Pi trusts."""


@dataclass(frozen=True)
class System:
    """A version of the system without its containers."""

    kernel: KernelParts
    layers: tuple[Layer, ...]
    initramfs_base: InitramfsBase
    firmware: Extracted | None
    overlays: CompiledOverlays

    def initramfs(self, containers: Layer) -> Initramfs:
        """Return the initramfs that boots this system with the layer `containers`."""
        return Initramfs(self.initramfs_base, self.layers, containers)


def plan_system(
    appliance: Appliance, board: Board, lock: Lock, images: Mapping[str, Image]
) -> System:
    """Return the steps, none of which is made yet; `images` are by reference."""
    kernel = _kernel(appliance, board, lock, images)
    modules = plan_modules(appliance, board, kernel, lock)
    appliance_folder = resources.path("appliance")
    scripts = appliance_folder / "initramfs"
    base = InitramfsBase(
        next(pkg.blob for pkg in lock.of_root("system") if pkg.name == "busybox-static"),
        modules,
        (scripts / "init").read_bytes(),
        _board_settings(appliance, board).encode(),
        _initramfs_parts(scripts / "lib", board)
        | {_TRY_FLAG: (appliance_folder / "rootfs/usr/lib/piimage" / _TRY_FLAG).read_bytes()},
    )
    # The system's own files replace those of `init:` images: the system is what boots.
    layers: list[Layer] = [la for name in appliance.init for la in image_layers(images[name])]
    layers += [*python_layers(appliance, lock), *_base_layers(appliance, lock)]
    layers += _optional_layers(appliance, lock)
    layers.append(ModulesLayer(modules))
    layers += wifi_layers(appliance, board, lock)
    layers += _config_layers(appliance, board, appliance_folder)
    sources = {name: path.read_bytes() for name, path in overlay_sources(board).items()}
    if (own := spi_overlay(appliance, board)) is not None:
        sources[SPI_OVERLAY] = own
    return System(kernel, tuple(layers), base, _firmware(board, lock), CompiledOverlays(sources))


def _initramfs_parts(folder: Path, board: Board) -> dict[str, bytes]:
    """Return what the initramfs's script sources, by name."""
    left_out = {"gpt.sh"} if board.layout.table == "mbr" else set()
    paths = (path for path in sorted(folder.iterdir()) if path.name not in left_out)
    return {path.name: path.read_bytes() for path in paths}


def _kernel(
    appliance: Appliance, board: Board, lock: Lock, images: Mapping[str, Image]
) -> KernelParts:
    own = appliance.kernel
    if own.image is None:
        packages = tuple(package.blob for package in lock.of_root("kernel"))
        return UnpackedKernel(board.trees, packages, form=board.kernel.form)
    tar = "" if own.tar == "none" else own.tar or "kernel.tar"
    return ImageKernel(
        board.trees, scans(images[own.image]), own.binary or "kernel", tar, form=board.kernel.form
    )


def _base_layers(appliance: Appliance, lock: Lock) -> Iterator[Layer]:
    tree = system_tree(appliance.runtime)
    yield packages_layer("the system", tree, lock.of_root("system"), lowest=True)


def _optional_layers(appliance: Appliance, lock: Lock) -> Iterator[Layer]:
    """Yield the layers of programs that the system needs for some containers only."""
    used = {package.key for package in lock.of_root("system")}
    wanted = (
        ("the bridge", wants_bridge(appliance), BRIDGE_ROOT, bridge_tree),
        ("the owners of files", wants_idmap(appliance), IDMAP_ROOT, idmap_tree),
    )
    for name, is_wanted, root, tree in wanted:
        if is_wanted:
            own = [package for package in lock.of_root(root) if package.key not in used]
            used |= {package.key for package in own}
            yield packages_layer(name, tree(), own, lowest=False)


def _firmware(board: Board, lock: Lock) -> Extracted | None:
    if not board.firmware.files:
        return None
    packages = [pkg for pkg in lock.of_root("firmware") if pkg.name in board.firmware.packages]
    patterns = tuple(f"{board.firmware.root}/{name}" for name in board.firmware.files)
    return Extracted("the boot firmware", tuple(map(deb_file, packages)), patterns)


# The program that tells a person at a screen how the Pi is, as a service of process 1.
_SCREEN: Final = (
    b"service [2345] name:piimage-screen restart:always restart_sec:5 log:null "
    b"/usr/lib/piimage/screen -- The screen\n"
)


# What calls the update server, as a service of process 1.
_CALLER: Final = (
    b"service [2345] name:piimage-updates restart:always restart_sec:5 log:null "
    b"/usr/lib/piimage/updates -- The caller of the update server\n"
)


def _update_files(appliance: Appliance) -> Iterator[File]:
    """Yield the files for the update server, if the appliance has one."""
    updates = appliance.updates
    if updates is None:
        return
    values = {
        "SERVER": updates.server, "TENANT": updates.tenant, "CONTROLLER": updates.controller or "",
        "RATE": str(updates.rate or 0), "CONFIRM": updates.confirm,
    }  # fmt: skip
    lines = "".join(f"{key}={quote(value)}\n" for key, value in values.items())
    yield File("etc/piimage/updates", lines.encode())
    yield File("etc/finit.d/updates.conf", _CALLER)
    if updates.ca is not None:
        yield File("etc/piimage/updates.pem", Path(updates.ca).read_bytes())


def _config_layers(appliance: Appliance, board: Board, folder: Path) -> Iterator[Layer]:
    """Yield the layer of the files that piimage and the YAML file lay over the packages.

    Files that only their owner may read can be secrets: they lie in a layer of their own.
    """
    own = [*folder_files(folder / "rootfs", ""), *_generated(appliance, board)]
    overlay = overlay_of(appliance, own)
    folders = list(overlay.folders)
    if appliance.data.mount != _DATA:  # a mount point in the read-only root
        folders.insert(0, Folder(appliance.data.mount.strip("/"), 0o755))
    files = (*without(own, overlay), *(file for file in overlay.files if not file.private))
    layer = files_layer("the appliance", [system_tree(appliance.runtime)], folder, files)
    assert layer is not None  # noqa: S101  # there are always files
    rules = replace(layer.rules, folders=tuple(folders), links=overlay.links)
    yield replace(layer, rules=rules)
    if private := tuple(file for file in overlay.files if file.private):
        # The upper layer determines a folder's owner and mode, so it has the same folders.
        yield SecretLayer("the private files", Rules(files=private, folders=tuple(folders)))


def _generated(appliance: Appliance, board: Board) -> Iterator[File]:
    yield File("etc/hostname", f"{appliance.hostname}\n".encode())
    yield File("etc/piimage/clock", f"{EPOCH}\n".encode())
    settings = f"CONSOLE_LOGS={int(appliance.log.console)}\nTIMEZONE='{appliance.timezone}'\n"
    if appliance.data.mount != _DATA:
        settings += f"DATA_MOUNT={quote(appliance.data.mount)}\n"
    yield File("etc/piimage/settings", settings.encode())
    if appliance.console == "hdmi":
        yield File("etc/finit.d/screen.conf", _SCREEN)
    yield from network_files(appliance)
    yield from sensor_files(appliance)
    yield from gpio_files(appliance, board)
    yield from disk_files(appliance)
    yield from docker_files(appliance)
    if appliance.sysctl:
        lines = "".join(f"{key} = {value}\n" for key, value in appliance.sysctl.items())
        yield File("etc/sysctl.d/60-piimage.conf", lines.encode())
    keys = [key.line for text in appliance.ssh.authorized_keys for key in keys_of(text)]
    if appliance.signing is not None:
        trusted = (certificate_in(Path(name)) for name in appliance.signing.certificates)
        yield File(TRUSTED, b"".join(trusted))
    yield from _update_files(appliance)
    if keys:
        yield File("etc/piimage/authorized_keys", "".join(f"{k}\n" for k in keys).encode(), 0o600)


def _board_settings(appliance: Appliance, board: Board) -> str:
    """Return the settings of the initramfs; appliance/README.md lists the keys."""
    selector, flag = board.layout.kind == "selector", boot_loader_of(board).try_flag
    values = {
        "BOARD": board.name,
        "SELECTOR": int(selector),
        "TRY": flag.kind,
        "BOOT": board.layout.slots[0] if selector else 1,
        "DATA": board.layout.data,
        **({"TABLE": board.layout.table} if board.layout.table != "mbr" else {}),
        "GROW": int(appliance.data.size == "rest"),
        "WATCHDOG": board.watchdog or "",
        **({"VERIFY": 1} if appliance.slots.verify else {}),
    }
    return "".join(f"{key}='{value}'\n" for key, value in values.items())
