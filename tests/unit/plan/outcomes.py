"""All that a file leads to, looked at where it leaves piimage.

That is: the files of each container's folder, the layers' steps (a step's key hashes all that it
depends on), what the firmware reads, the partitions, the requests to the archive, and what `piimage
test` does.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from piimage.boards import load_board
from piimage.card.ext4 import Ext4Volume
from piimage.card.fat import FatVolume
from piimage.card.fat_folders import FolderedVolume
from piimage.compose.containers import ContainerPlan
from piimage.config.load import load_all
from piimage.config.models import Appliance
from piimage.config.testing import TestPlan as Plan
from piimage.container.bundle import containers_tree
from piimage.container.rootfs import Root
from piimage.container.spec import Container
from piimage.errors import PiimageError
from piimage.firmware import writer
from piimage.locking.folders import entries, folder_of
from piimage.locking.images import references_of
from piimage.locking.requests import requests
from piimage.oci.layout import Image
from piimage.plan.containers import plan_containers
from piimage.plan.slot import Version, boot_of, card_plan, order_of
from piimage.plan.system import plan_system
from piimage.store import Store
from piimage.testing import checks
from piimage.testing.verify import plan_of
from tests.unit.yamls import dumped

from .locks import lock_of
from .test_containers import filled
from .test_slot import made

Data = Mapping[str, Any]


_board = functools.cache(load_board)  # hundreds of outcomes have the same few boards


def outcome(data: Data, folder: Path) -> str:
    """Everything that a file leads to, or the error that it is."""
    file = folder / "a.yml"
    file.write_text(dumped(dict(data)))
    try:
        return "\n".join(map(str, _results(load_all([file]), folder)))
    except PiimageError as error:
        return f"error: {error}"


def _results(appliance: Appliance, folder: Path) -> Iterator[object]:
    board, store = _board(appliance.board), Store(folder / "store")
    lock = lock_of(appliance, board)
    images: dict[str, Image] = {
        name: filled(folder / name, name) for name in references_of(appliance)
    }
    version = Version(
        "a", appliance, board, plan_system(appliance, board, lock, images),
        plan_containers(appliance, lock, images), order_of(appliance, lock),
    )  # fmt: skip
    yield version.order
    yield from sorted(layer.key for layer in version.layers if layer is not version.containers)
    system = version.system
    yield system.kernel.key, system.initramfs_base.key, system.overlays.key
    found = [_container(plan) for plan in version.containers.containers]
    for entry in containers_tree(found, version.containers.ids):
        yield entry.path, entry.mode, b"".join(entry.content())
    yield [(plan.folder, plan.readonly) for plan in version.containers.volumes]
    yield sorted(version.containers.network.items())
    boot = boot_of(appliance, board)
    yield writer.config(board, boot), writer.cmdline(board, boot, 1)
    for volume in card_plan(version, made(version, store)).volumes:
        assert isinstance(volume, FatVolume | FolderedVolume | Ext4Volume)
        yield volume.size, sorted(path for path in volume.files if not path.startswith("layers/"))
    folders = [folder for entry in entries(appliance) if (folder := folder_of(entry))]
    yield requests(appliance, board, folders)
    yield from _tests(plan_of(appliance))


def _container(plan: ContainerPlan) -> Container:
    return Container(
        name=plan.name, kind=plan.kind, folder=plan.folder,
        config=plan.config, execution=plan.execution, root=Root([]),
        layers=tuple(layer.key for layer in plan.layers), place=plan.place, profile=plan.profile,
        apparmor=plan.apparmor.name if plan.apparmor else None, address=plan.address,
    )  # fmt: skip


class Answering:
    """A shell that stands for the Pi's: it notes what it is told, and answers the same to all."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def run(self, argv: object, timeout: float) -> object:
        self.told.append((argv, round(timeout)))
        return SimpleNamespace(
            status=0, stdout=b"", stderr=b"  HTTP/1.1 200 OK\n", text="answer\n"
        )  # fmt: skip


def _tests(plan: Plan) -> Iterator[object]:
    yield plan.timeout
    for check in plan.checks:
        shell = Answering()
        done = checks.make_check(check, shell, list)  # type: ignore[arg-type]
        yield done.name, done.failure, shell.told
