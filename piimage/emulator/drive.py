"""The card of an emulated board: an overlay on the image, which is never written to."""

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
    """A drive of QEMU in the file `path`; the guest's changes are lost unless it is `kept`."""

    path: Path
    kept: bool

    def option(self, interface: str) -> str:
        """Return the value of QEMU's ``-drive`` for an interface, such as ``sd`` or ``none``."""
        # A comma separates options; QEMU reads a doubled comma as a literal one.
        name = str(self.path).replace(",", ",,")
        cache = "writeback" if self.kept else "unsafe"
        return f"if={interface},format=qcow2,cache={cache},discard=unmap,file={name}"


def card_size(image_size: int, requested: int | None) -> int:
    """Return the size of the card in bytes: a power of two, as QEMU requires for SD cards.

    Raises InputError ``emulator.disk-size`` if `requested` is smaller than the image.
    """
    if requested is not None and requested < image_size:
        raise InputError(
            "emulator.disk-size",
            f"a card of {requested} bytes is too small for the image of {image_size}",
            place="--disk",
            hint="give a larger size, or omit the option",
        )
    return 1 << (max(image_size, requested or 0, 1 << 20) - 1).bit_length()


def make_drive(
    runner: Runner, image: Path, folder: Path, *, size: int | None = None, kept: Path | None = None
) -> Drive:
    """Return a drive with the content of `image` and at least `size` bytes.

    The drive's file is in `folder`, or it is `kept`; an existing `kept` is used unchanged. Raises
    InputError ``emulator.disk-size``.
    """
    path = kept or folder / "card.qcow2"
    if kept is None or not kept.exists():
        total = card_size(image.stat().st_size, size)
        base = str(image.resolve())
        # Only the user may read the guest's changes: they include its SSH host key.
        path.touch(mode=0o600)
        runner.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, path, str(total)]
        )
    return Drive(path, kept is not None)


@contextlib.contextmanager
def flattened(runner: Runner, drive: Drive) -> Iterator[Path]:
    """Yield the current content of `drive`, whose machine is off, as a raw image."""
    with tempfile.TemporaryDirectory(prefix="piimage-") as folder:
        path = Path(folder) / "card.img"
        runner.run(["qemu-img", "convert", "-q", "-f", "qcow2", "-O", "raw", drive.path, path])
        yield path
