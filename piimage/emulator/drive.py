"""The card of an emulated board: a layer over the image, which is itself never written."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from piimage.errors import InputError
from piimage.run import Runner


@dataclass(frozen=True)
class Drive:
    """A drive of QEMU in the file `path`; what is written to one that is not `kept` is lost."""

    path: Path
    kept: bool

    def option(self, interface: str) -> str:
        """Return the value of QEMU's ``-drive``, by the name of an interface or of the drive."""
        # A comma separates options; QEMU reads two as one.
        name = str(self.path).replace(",", ",,")
        cache = "writeback" if self.kept else "unsafe"
        return f"if={interface},format=qcow2,cache={cache},discard=unmap,file={name}"


def card_size(image_size: int, wanted: int | None) -> int:
    """Return the size of the card in bytes: a power of two, as SD cards of QEMU must be.

    Raises InputError ``emulator.disk-size`` when `wanted` is smaller than the image.
    """
    if wanted is not None and wanted < image_size:
        raise InputError(
            "emulator.disk-size",
            f"a card of {wanted} bytes does not hold the image of {image_size}",
            place="--disk",
            hint="give a larger size, or leave it out",
        )
    return 1 << (max(image_size, wanted or 0, 1 << 20) - 1).bit_length()


def make_drive(
    runner: Runner, image: Path, folder: Path, *, size: int | None = None, kept: Path | None = None
) -> Drive:
    """Return a drive with the content of `image` and `size` bytes or a little more.

    Its file is in `folder`, or `kept`, which is taken as it is if it is there already. Raises
    InputError ``emulator.disk-size``.
    """
    path = kept or folder / "card.qcow2"
    if kept is None or not kept.exists():
        total = card_size(image.stat().st_size, size)
        base = str(image.resolve())
        # What the machine writes, its SSH host key for one, is its user's alone.
        path.touch(mode=0o600)
        runner.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, path, str(total)]
        )
    return Drive(path, kept is not None)


@contextlib.contextmanager
def flattened(runner: Runner, drive: Drive) -> Iterator[Path]:
    """Give the present content of `drive`, whose machine is off, as a raw image."""
    with tempfile.TemporaryDirectory(prefix="piimage-") as folder:
        path = Path(folder) / "card.img"
        runner.run(["qemu-img", "convert", "-q", "-f", "qcow2", "-O", "raw", drive.path, path])
        yield path
