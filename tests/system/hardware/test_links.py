"""The walk through the device tree, held against the kernel's own.

A kernel in the emulator gets the board's tree (without what the machine does not model) and all
modules of the image, and tells which devices it linked to which suppliers (Documentation/
driver-api/device_link.rst), and which still wait for one.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from piimage import resources
from piimage.board import Board
from piimage.boards import load_board
from piimage.debian.request import Request
from piimage.firmware.devicetree import apply_overlays, compile_overlay
from piimage.firmware.fdt import Tree, read_tree
from piimage.hardware.drivers import Drivers
from piimage.hardware.suppliers import device_of, needs
from piimage.hardware.survey import Kernels
from piimage.kernel.initramfs import InitramfsBase
from piimage.kernel.modules import ModuleTree
from piimage.locking.inputs import Inputs
from piimage.locking.requests import release_suites
from piimage.run import Runner
from piimage.steps import Builder
from piimage.store import Blob

SECONDS: Final = 400
INIT: Final = b"""#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t debugfs debugfs /sys/kernel/debug
while read -r module; do insmod $module || echo "FAILED $module"; done < /etc/piimage/modules
sleep 12
node() { readlink -f "$1/of_node" | sed s,/sys/firmware/devicetree/base,,; }
for link in /sys/class/devlink/*; do
  [ "$(cat "$link/sync_state_only")" = 1 ] && continue
  echo "LINK $(node "$link/consumer") $(node "$link/supplier")"
done
for device in /sys/bus/platform/devices/*; do
  [ -e "$device/driver" ] && [ -e "$device/of_node" ] && echo "DRIVEN $(node "$device")"
done
sed 's/^/DEFERRED /' /sys/kernel/debug/devices_deferred
echo "END"
sleep 1000
"""


@dataclass(frozen=True)
class Report:
    """The kernel's report, by the first word of its lines.

    `whole` is the tree before it was fitted to the machine.
    """

    whole: Tree
    tree: Tree
    drivers: Drivers
    lines: tuple[str, ...]

    def of(self, word: str) -> Iterator[list[str]]:
        for line in self.lines:
            if line.startswith(f"{word} "):
                yield line.split()[1:]


@pytest.fixture(scope="module", params=["pi3", "pi4"])
def report(
    request: pytest.FixtureRequest,
    sources: Inputs,
    used: Kernels,
    tmp_path_factory: pytest.TempPathFactory,
) -> Report:
    board = load_board(request.param)
    folder = tmp_path_factory.mktemp(board.name)
    kernel = used[board.kernel]
    modules = ModuleTree(kernel.step, (*board.modules.boot, *board.modules.late), ())
    initramfs = InitramfsBase(busybox(sources), modules, INIT, b"")
    job = Builder(sources.store, sources.runner).build(kernel.step, initramfs)
    whole = kernel.tree(board.models[0])
    blob = fitted(board, whole, sources.runner)
    (folder / "tree.dtb").write_bytes(blob)
    lines = booted(board, job.file(kernel.step, "image"), job.file(initramfs), folder / "tree.dtb")
    given, tree = (read_tree(data, board.title) for data in (whole, blob))
    return Report(given, tree, kernel.drivers, lines)


def busybox(sources: Inputs) -> Blob:
    pinning = sources.pinning(release_suites())
    packages = pinning.lock([Request("busybox", ("busybox-static",))]).packages
    sources.fetcher().fetch(packages)
    return next(package.blob for package in packages if package.name == "busybox-static")


def fitted(board: Board, blob: bytes, runner: Runner) -> bytes:
    """The board's tree without what its machine does not model."""
    assert board.emulator is not None
    folder = resources.path("boards") / "emulator"
    fits = [(name, compile_overlay(runner, folder / f"{name}.dtso")) for name in board.emulator.fit]
    return apply_overlays(runner, blob, fits, origin=board.title)


def booted(board: Board, image: Path, initramfs: Path, tree: Path) -> tuple[str, ...]:
    assert board.emulator is not None
    machine = board.emulator
    words = "console=ttyAMA0,115200 quiet loglevel=3 cryptomgr.notests"
    argv = [
        "qemu-system-aarch64", "-nodefaults", "-machine", machine.machine,
        "-accel", machine.accelerator, "-smp", str(machine.cpus.default),
        "-m", str(machine.memory_mib.default), "-kernel", str(image),
        "-initrd", str(initramfs), "-dtb", str(tree), "-append", words,
        "-display", "none", "-monitor", "none", "-no-reboot", "-serial", "stdio",
    ]  # fmt: skip
    process = subprocess.Popen(
        ["timeout", str(SECONDS), *argv],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    lines: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.strip())
            if lines[-1] == "END":
                return tuple(lines)
    finally:
        process.terminate()
        process.wait()
    raise AssertionError("\n".join(lines[-50:]))


def test_the_kernel_links_no_device_to_one_that_the_walk_does_not_know(report: Report) -> None:
    links = [
        (consumer, supplier)
        for consumer, supplier in report.of("LINK")
        if not supplier.startswith("/sys/")  # the stand-in for a supply that the tree does not name
    ]
    assert len(links) >= 16
    assert [pair for pair in links if not known(report.tree, *pair)] == []


def known(tree: Tree, consumer: str, supplier: str) -> bool:
    device, needed = tree.node(consumer), tree.node(supplier)
    return device is not None and needed is not None and needed in needs(tree, device)


def test_every_device_that_has_a_driver_there_has_one_in_the_tables(report: Report) -> None:
    driven = [report.tree.node(path) for path, *_ in report.of("DRIVEN")]
    assert len(driven) >= 18
    assert [node.path for node in driven if node and not report.drivers.of_node(node)] == []


def test_no_device_waits_but_for_what_the_machine_does_not_have(report: Report) -> None:
    assert list(report.of("FAILED")) == []
    gone = {node.path for node in report.tree.nodes() if not node.enabled}
    excused = {
        node.name
        for node in report.whole.nodes()
        if device_of(node) is node and gone & {need.path for need in needs(report.whole, node)}
    }
    assert {name for name, *_ in report.of("DEFERRED")} <= excused
