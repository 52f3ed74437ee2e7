"""Device trees: compiled, laid over each other, and given properties, by the tools of dtc."""

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
    """Say whether `data` begins as a whole device tree blob (specification 0.4, section 5.2)."""
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
    """Return `base` with `overlays` (name and blob) laid over it in order.

    Raises PiimageError ``firmware.overlay-refused`` for the first that does not apply, and
    ``firmware.bad-device-tree`` when `base` or an overlay is no device tree.
    """
    if not is_blob(base):
        raise _no_blob("the device tree", origin)
    for name, overlay in overlays:
        if not is_blob(overlay):
            raise _no_blob(f"the overlay {name}", origin)
    if not overlays:
        return base
    with tempfile.TemporaryDirectory(prefix="piimage-") as scratch:
        folder = Path(scratch)
        (folder / "base").write_bytes(base)
        for number, (_, overlay) in enumerate(overlays):
            (folder / str(number)).write_bytes(overlay)
        if (result := _laid_over(runner, folder, len(overlays))) is not None:
            return result
        # Which is it? They build on each other: the first that does not go with those before it.
        applies = (_laid_over(runner, folder, n) is not None for n in range(1, len(overlays)))
        guilty = sum(itertools.takewhile(bool, applies))
    raise PiimageError(
        "firmware.overlay-refused",
        f"the overlay {overlays[guilty][0]} does not apply to the device tree",
        place=origin,
        hint="it is for another device tree (Debian's have mainline labels, not those of "
        "Raspberry Pi OS), or the tree was built without symbols",
    )


def _laid_over(runner: Runner, folder: Path, count: int) -> bytes | None:
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
    """Return `blob` with 32-bit `properties` in `node`, which is made if need be."""
    if not is_blob(blob):
        raise _no_blob("the device tree", origin)
    with tempfile.TemporaryDirectory(prefix="piimage-") as scratch:
        file = Path(scratch) / "tree"
        file.write_bytes(blob)
        try:
            for name, value in properties.items():
                runner.run(["fdtput", "-p", "-t", "u", file, node, name, str(value)])
        except PiimageError as error:
            if error.code != "run.failed":
                raise
            raise _no_blob("the device tree", origin) from None
        return file.read_bytes()


def _no_blob(what: str, origin: str) -> PiimageError:
    return PiimageError(
        "firmware.bad-device-tree",
        f"{what} is damaged or no device tree at all",
        place=origin,
        hint="build the image again",
    )
