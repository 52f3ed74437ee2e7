"""Tiny cards: Debian's kernel and a shell, laid out as a board's card is."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from piimage.board import Board, PrefixLayout
from piimage.boards import overlay_sources
from piimage.card.fat import FatVolume
from piimage.card.image import CardPlan, write_card
from piimage.debian import mirror, release
from piimage.debian.fetch import Fetcher
from piimage.debian.index import Archive, Suite
from piimage.debian.package import Package
from piimage.debian.request import Request
from piimage.firmware import devicetree, writer
from piimage.kernel.initramfs import InitramfsBase
from piimage.kernel.modules import ModuleTree
from piimage.kernel.package import UnpackedKernel
from piimage.locking.packages import Pinning
from piimage.run import Runner
from piimage.steps import Builder
from piimage.store import Store
from tests.unit.firmware.cards import FIRMWARE

MIB = 1 << 20
INIT = b"""#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
echo "piimage: phase initramfs"
while read -r module; do insmod $module || echo "FAILED $module"; done < /etc/piimage/modules
for i in $(seq 100); do
	for DISK in mmcblk0 vda; do [ -b /dev/$DISK ] && break 2; done
	sleep 0.1
done
export DISK
echo "MODEL $(cat /proc/device-tree/model 2>/dev/null || echo none)"
echo "CMDLINE $(cat /proc/cmdline)"
echo "CHOSEN $(od -An -tx1 /proc/device-tree/chosen/bootloader/partition 2>/dev/null)"
echo "DISK $DISK $(cat /sys/block/$DISK/size) $(head -c 512 /dev/$DISK | tail -c 2 | od -An -tx1)"
echo "WATCHDOG $(ls /dev | grep watchdog0)"
echo "SPI $(ls /sys/bus/spi/devices)"
echo "I2C $(ls /sys/bus/i2c/devices)"
echo "piimage: phase shell"
exec sh
"""
# What the tests need beyond the board's own: the network in the initramfs.
NETWORK = ("dwc2", "phy-generic", "cdc_ether", "virtio_net", "spi-bcm2835", "i2c-bcm2835")


@dataclass(frozen=True)
class Parts:
    """What a card is made of, as files."""

    kernel: Path
    initramfs: Path
    device_trees: dict[str, Path]


def make_parts(store: Store, runner: Runner, board: Board, *more: str, init: bytes = INIT) -> Parts:
    """Make them; `more` are further device trees of the kernel, `init` is what runs."""
    packages = _packages(store, runner, board)
    busybox = next(package for package in packages if package.name == "busybox-static")
    kernel = UnpackedKernel(
        packages=tuple(p.blob for p in packages if p.name.startswith("linux-")),
        device_trees=(*board.trees, *more),
    )
    modules = ModuleTree(kernel, (*board.modules.boot, *NETWORK), ())
    initramfs = InitramfsBase(busybox.blob, modules, init, b"")
    job = Builder(store, runner).build(kernel, initramfs)
    trees = {name: job.file(kernel, name) for name in (*board.trees, *more)}
    return Parts(job.file(kernel, "image"), job.file(initramfs), trees)


def make_card(target: Path, board: Board, parts: Parts, runner: Runner, boot: writer.Boot) -> Path:
    """Write a card whose slots tell apart by the word slot=… of their command lines."""
    volumes: tuple[FatVolume, ...]
    root = {name: text.encode() for name, text in writer.root_files(board, boot).items()}
    # The firmware's files are stand-ins: the emulator runs none, and the reader looks for them.
    firmware = FIRMWARE[board.firmware.chain]
    if isinstance(board.layout, PrefixLayout):
        files = root | firmware
        for prefix in board.layout.slots:
            slot = _slot(board, parts, runner, boot, prefix[0])
            files |= {prefix + name: content for name, content in slot.items()}
            line = writer.cmdline(board, boot, 1, prefix=prefix)
            choice = {**writer.folder_files(board, boot, 1, prefix), "cmdline.txt": line}
            for name in (writer.TRY_CMDLINE, "cmdline.txt"):
                choice[name] = f"{choice[name].strip()} slot={prefix[0]}\n"
            files |= {f"{prefix}{name}": text.encode() for name, text in choice.items()}
        volumes = (FatVolume("firmware", "FIRMWARE", 1, 128 * MIB, files),)
    else:
        root["autoboot.txt"] = writer.autoboot(*board.layout.slots).encode()
        slots = ({**_slot(board, parts, runner, boot, name), **firmware} for name in "ab")
        volumes = (
            FatVolume("selector", "SELECTOR", 1, 16 * MIB, root, bits=16),
            *(FatVolume(f"slot {n}", "SLOT", n, 64 * MIB, s) for n, s in enumerate(slots, 2)),
        )
    write_card(runner, CardPlan("a test", 1, volumes), target)
    return target


def _slot(
    board: Board, parts: Parts, runner: Runner, boot: writer.Boot, name: str
) -> dict[str, Path | bytes]:
    overlays = {
        f"overlays/{overlay}.dtbo": devicetree.compile_overlay(runner, source)
        for overlay, source in overlay_sources(board).items()
    }
    return {
        "config.txt": writer.config(board, boot).encode(),
        "cmdline.txt": f"{writer.cmdline(board, boot, 1).strip()} slot={name}\n".encode(),
        writer.KERNEL: parts.kernel,
        writer.INITRAMFS: parts.initramfs,
        "overlays/README": b"Overlays of piimage\n",
        **parts.device_trees,
        **overlays,
    }


def _packages(store: Store, runner: Runner, board: Board) -> tuple[Package, ...]:
    mirrors = mirror.choose(None)
    archive = Archive(store, runner, mirrors, release.keyring(), time.time)
    fetcher = Fetcher(store, mirrors)
    suites = [Suite("trixie", ("main",))]
    if board.kernel.suite != "trixie":
        suites.append(Suite(board.kernel.suite, ("main",), automatic=False))
    wanted = tuple(f"{name}/{board.kernel.suite}" for name in board.kernel.packages)
    without = ("linux-base", "initramfs-tools", "dracut", "kmod", "linux-initramfs-tool")
    requests = [Request("kernel", wanted, without), Request("busybox", ("busybox-static",))]
    packages = Pinning(archive, fetcher, tuple(suites)).lock(requests).packages
    fetcher.fetch(packages)
    return packages
