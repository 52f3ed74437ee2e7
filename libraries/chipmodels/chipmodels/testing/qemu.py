"""QEMU, which emulates a whole machine of the host's architecture, with Debian's kernel.

It starts on every processor and needs neither root nor /dev/kvm, but takes several times as long as
user-mode Linux. Its root is the host's, over 9p.
"""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from chipmodels.testing import initramfs
from chipmodels.testing.engine import Boot, GuestUnavailable
from chipmodels.testing.kernels import newest, unpacked
from chipmodels.testing.modules import Modules

_BOOT = Path("/boot")
_MODULES = Path("/lib/modules")
# Modules for the root, the line and the fixtures; the fixture i2c_stub checks for its own.
_FIRST = ("virtio_pci", "virtio_console", "9pnet_virtio", "9p")
_NEEDED = (*_FIRST, "overlay", "i2c-dev", "cuse")
_MOUNT = "-t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose root"
# An emulated kernel needs no mitigations, and its clocks need no calibration.
_KERNEL = ("quiet", "loglevel=3", "panic=-1", "mitigations=off", "nokaslr", "random.trust_cpu=on")


@dataclass(frozen=True)
class Board:
    """The machine of an architecture: program, options, console, and packages of Debian."""

    program: str
    machine: tuple[str, ...]
    kernel: tuple[str, ...]
    packages: tuple[str, str]


_BOARDS = {
    "x86_64": Board(
        "qemu-system-x86_64",
        ("-machine", "pc", "-cpu", "max"),
        ("console=ttyS0", "no_timer_check", "tsc=reliable"),
        ("qemu-system-x86", "linux-image-amd64"),
    ),
    "aarch64": Board(
        "qemu-system-aarch64",
        ("-machine", "virt", "-cpu", "max,pauth-impdef=on"),
        ("console=ttyAMA0",),
        ("qemu-system-arm", "linux-image-arm64"),
    ),
}


@dataclass(frozen=True)
class Qemu:
    """QEMU, a kernel and its modules, and a static busybox; an `Engine`."""

    board: Board
    program: Path
    kernel: Path
    modules: Path
    busybox: Path
    name: str = "qemu"
    line: str = "/dev/vport0p1"

    @property
    def title(self) -> str:
        """The name for people, with the version of its kernel."""
        return f"QEMU with Linux {self.modules.name}"

    def disk(self, index: int) -> str:
        """Return the name of a virtio-blk disk."""
        return f"vd{chr(ord('a') + index)}"

    def command(self, boot: Boot) -> list[str]:
        """Return the command of the emulator, which ends with this process. Raises OSError."""
        first = boot.folder / "initramfs"
        first.write_bytes(initramfs.archive(self._first(boot)))
        kernel = boot.folder / "kernel"
        image = self.kernel.read_bytes()
        kernel.write_bytes(unpacked(image) or image)
        root = "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap"
        return [
            sys.executable, "-ISc", _END_WITH_PARENT,
            str(self.program), *self.board.machine, "-accel", "tcg,tb-size=512",
            "-smp", "1", "-m", str(boot.memory_mib),
            "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
            "-kernel", str(kernel), "-initrd", str(first),
            "-append", " ".join((*_KERNEL, *self.board.kernel, *boot.parameters)),
            "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
            # It must be the first virtio device: its number is in the name of its node.
            "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=line,fd={boot.line}", "-device", "virtserialport,chardev=line",
            "-fsdev", root, "-device", "virtio-9p-pci,fsdev=root,mount_tag=root",
            *_drives(boot.disks),
        ]  # fmt: skip

    def _first(self, boot: Boot) -> Iterator[initramfs.File]:
        modules = Modules(self.modules)
        wanted = (*_FIRST, *(("virtio_blk",) if boot.disks else ()))
        files = dict.fromkeys(file for name in wanted for file in modules.files(name))
        return initramfs.contents(self.busybox, files, _MOUNT, boot.init)

    def environment(self) -> dict[str, str]:
        """Return no variables."""
        return {}


def _drives(disks: Sequence[Path]) -> Iterator[str]:
    for index, disk in enumerate(disks):
        file = str(disk).replace(",", ",,")
        yield from ("-drive", f"if=none,id=disk{index},format=raw,file={file}")
        yield from ("-device", f"virtio-blk-pci,drive=disk{index}")


# PR_SET_PDEATHSIG of linux/prctl.h: no emulator outlives a pytest that was killed.
_END_WITH_PARENT = """
import ctypes, os, sys
parent = os.getppid()
ctypes.CDLL(None).prctl(1, 9)
os.execv(sys.argv[1], sys.argv[1:]) if os.getppid() == parent else None
"""


def find(machine: str = platform.machine(), boot: Path = _BOOT, modules: Path = _MODULES) -> Qemu:
    """Return the installed QEMU and the newest suitable kernel. Raises `GuestUnavailable`."""
    board = _BOARDS.get(machine)
    if board is None:
        raise GuestUnavailable(f"QEMU: no machine is configured for {machine}")
    install = f"install it: apt-get install {' '.join(board.packages)} busybox-static (Debian)"
    program = shutil.which(board.program)
    if program is None:
        raise GuestUnavailable(f"{board.program} is not installed; {install}")
    busybox = next(filter(None, map(shutil.which, ("busybox", "/bin/busybox"))), None)
    if busybox is None or not _is_static(Path(busybox)):
        raise GuestUnavailable(f"QEMU: there is no static busybox; {install}")
    try:
        kernel = newest(boot, modules, _NEEDED)
    except GuestUnavailable as error:
        raise GuestUnavailable(f"QEMU: {error}; {install}") from None
    return Qemu(board, Path(program), kernel.image, kernel.modules, Path(busybox))


def _is_static(program: Path) -> bool:
    """Return whether an ELF program needs no loader: it has no program header PT_INTERP.

    Source: System V ABI, chapter 5; the fields of ELF64.
    """
    data = program.read_bytes()[:4096]
    if data[:5] != b"\x7fELF\x02":
        return False
    start, size, count = (int.from_bytes(data[a:b], "little") for a, b in
                          ((0x20, 0x28), (0x36, 0x38), (0x38, 0x3A)))  # fmt: skip
    headers = (data[start + size * index :][:4] for index in range(count))
    return all(int.from_bytes(header, "little") != 3 for header in headers)
