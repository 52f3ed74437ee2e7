"""Device trees: compiling, applying overlays and setting properties, with the tools of dtc."""

from __future__ import annotations

import itertools
import struct
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from piimage.errors import PiimageError
from piimage.run import Runner

_MAGIC: Final = 0xD00DFEED


def is_blob(data: bytes) -> bool:
    """Return whether `data` has the header of a complete blob (specification 0.4, section 5.2)."""
    if len(data) < 40:
        return False
    magic, size = struct.unpack_from(">II", data)
    return bool(magic == _MAGIC and 40 <= size <= len(data))


def compile_overlay(runner: Runner, source: Path) -> bytes:
    """Return the blob of the overlay `source`; raises PiimageError ``firmware.bad-overlay``."""
    try:
        return runner.run(["dtc", "-@", "-I", "dts", "-O", "dtb", source]).stdout
    except PiimageError as error:
        if error.code != "run.failed":
            raise
        raise PiimageError(
            "firmware.bad-overlay",
            f"the overlay does not compile: {error.message}",
            place=str(source),
            hint="correct the source",
        ) from None


def apply_overlays(
    runner: Runner, base: bytes, overlays: Sequence[tuple[str, bytes]], *, origin: str
) -> bytes:
    """Return `base` with `overlays` (name and blob) applied in order.

    Raises PiimageError ``firmware.overlay-refused`` for the first overlay that does not apply, and
    ``firmware.bad-device-tree`` if `base` or an overlay is not a device tree.
    """
    if not is_blob(base):
        raise _not_a_blob("the device tree", origin)
    for name, overlay in overlays:
        if not is_blob(overlay):
            raise _not_a_blob(f"the overlay {name}", origin)
    if not overlays:
        return base
    with tempfile.TemporaryDirectory(prefix="piimage-") as scratch:
        folder = Path(scratch)
        (folder / "base").write_bytes(base)
        for number, (_, overlay) in enumerate(overlays):
            (folder / str(number)).write_bytes(overlay)
        if (result := _apply(runner, folder, len(overlays))) is not None:
            return result
        # Overlays build on each other: the faulty one is the first that fails with those before.
        applies = (_apply(runner, folder, n) is not None for n in range(1, len(overlays)))
        faulty = sum(itertools.takewhile(bool, applies))
    raise PiimageError(
        "firmware.overlay-refused",
        f"the overlay {overlays[faulty][0]} does not apply to the device tree",
        place=origin,
        hint="use an overlay for mainline labels, which Debian's device trees have (those of "
        "Raspberry Pi OS differ); or the device tree has no symbols",
    )


def _apply(runner: Runner, folder: Path, count: int) -> bytes | None:
    """Return the tree `base` in `folder` with the first `count` overlays, if they apply."""
    overlays = [folder / str(number) for number in range(count)]
    try:
        runner.run(["fdtoverlay", "-i", folder / "base", "-o", folder / "out", *overlays])
        return (folder / "out").read_bytes()
    except FileNotFoundError:
        return None
    except PiimageError as error:
        if error.code != "run.failed":
            raise
        return None


def with_cells(
    runner: Runner, blob: bytes, node: str, properties: Mapping[str, int], *, origin: str
) -> bytes:
    """Return `blob` with 32-bit `properties` in `node`, which is created if it is missing."""
    if not is_blob(blob):
        raise _not_a_blob("the device tree", origin)
    with tempfile.TemporaryDirectory(prefix="piimage-") as scratch:
        file = Path(scratch) / "tree"
        file.write_bytes(blob)
        try:
            for name, value in properties.items():
                runner.run(["fdtput", "-p", "-t", "u", file, node, name, str(value)])
        except PiimageError as error:
            if error.code != "run.failed":
                raise
            raise _not_a_blob("the device tree", origin) from None
        return file.read_bytes()


def _not_a_blob(name: str, origin: str) -> PiimageError:
    return PiimageError(
        "firmware.bad-device-tree",
        f"{name} is damaged, or is not a device tree blob",
        place=origin,
        hint="build the image again",
    )
