"""Device trees: compiled, laid over each other, and given properties, by the tools of dtc."""

from __future__ import annotations

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
        base = _apply(runner, base, name, overlay, origin)
    return base


def _apply(runner: Runner, base: bytes, name: str, overlay: bytes, origin: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="piimage-") as scratch:
        base_file, overlay_file, out = (Path(scratch) / part for part in ("base", "overlay", "out"))
        base_file.write_bytes(base)
        overlay_file.write_bytes(overlay)
        try:
            runner.run(["fdtoverlay", "-i", base_file, "-o", out, overlay_file])
            return out.read_bytes()
        except (PiimageError, FileNotFoundError) as error:
            if isinstance(error, PiimageError) and error.code != "run.failed":
                raise
            raise PiimageError(
                "firmware.overlay-refused",
                f"the overlay {name} does not apply to the device tree",
                place=origin,
                hint="it is for another device tree (Debian's have mainline labels, not those of "
                "Raspberry Pi OS), or the tree was built without symbols",
            ) from None


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
