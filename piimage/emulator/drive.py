"""The card of an emulated board: an overlay on the image, which is never written to."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piimage.board import DiskKind
from piimage.card import iso9660
from piimage.errors import InputError, raise_all
from piimage.run import Runner

_PROBED: Final = 64 << 10  # bytes by which a CD is recognised


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


def usual_kind(image: Path) -> DiskKind:
    """Return the kind of disk that the readable file `image` is: the image of a CD, or a card."""
    with image.open("rb") as file:
        return DiskKind.CD if iso9660.is_cd(file.read(_PROBED)) else DiskKind.CARD


def make_drive(
    runner: Runner,
    image: Path,
    folder: Path,
    *,
    size: int | None = None,
    kept: Path | None = None,
    kind: DiskKind = DiskKind.CARD,
) -> Drive:
    """Return a drive with the content of `image` and at least `size` bytes.

    The drive's file is in `folder`, or it is `kept`; an existing `kept` is used unchanged. A CD has
    the size of `image`. Raises InputError ``emulator.disk-size``, ``emulator.cd``.
    """
    if kind is DiskKind.CD:
        raise_all(_faults_of_cd(size, kept))
        return Drive(_overlay(runner, image, folder / "cd.qcow2", image.stat().st_size), kept=False)
    path = kept or folder / "card.qcow2"
    if kept is None or not kept.exists():
        _overlay(runner, image, path, card_size(image.stat().st_size, size))
    return Drive(path, kept is not None)


def _faults_of_cd(size: int | None, kept: Path | None) -> Iterator[InputError]:
    """Yield an error for each option that needs a disk to which the guest can write."""
    for option, value in (("--disk", size), ("--disk-file", kept)):
        if value is not None:
            yield InputError(
                "emulator.cd",
                f"{option} is for a disk to which the guest can write, and it cannot write to a CD",
                place=option,
                hint="omit the option, or boot the card: build with --format card",
            )


def _overlay(runner: Runner, image: Path, path: Path, size: int) -> Path:
    """Make `path` a disk of `size` bytes with the content of `image`; return it."""
    base = str(image.resolve())
    # Only the user may read the guest's changes: they include its SSH host key.
    path.touch(mode=0o600)
    runner.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, path, str(size)]
    )
    return path


@contextlib.contextmanager
def flattened(runner: Runner, drive: Drive) -> Iterator[Path]:
    """Yield the current content of `drive`, whose machine is off, as a raw image."""
    with tempfile.TemporaryDirectory(prefix="piimage-") as folder:
        path = Path(folder) / "card.img"
        runner.run(["qemu-img", "convert", "-q", "-f", "qcow2", "-O", "raw", drive.path, path])
        yield path
