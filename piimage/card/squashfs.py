"""Squashfs from a tar stream, without root: a layer is one such file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piimage.clock import EPOCH
from piimage.run import Runner

_MEMORY: Final = "64M"  # of mksquashfs's own caches; its threads come on top


@dataclass(frozen=True)
class Compression:
    """zstd at `level` (1 to 22) over blocks of `block` bytes.

    Larger blocks pack better and make a small read dearer; the kernel's page cache keeps what was
    unpacked, so 128 KiB is a fair middle for programs that are read once.
    """

    level: int = 15
    block: int = 1 << 17

    def __post_init__(self) -> None:
        if not 1 <= self.level <= 22:
            raise ValueError(f"zstd has no level {self.level}")
        if self.block not in {1 << power for power in range(12, 21)}:
            raise ValueError(f"squashfs has no blocks of {self.block} bytes")


def write_squashfs(
    runner: Runner,
    tar_chunks: Iterable[bytes],
    target: Path,
    compression: Compression,
    processors: int = 2,
) -> None:
    """Write the tar that `tar_chunks` gives as a squashfs to the new file `target`.

    Owners, modes, devices, links and extended attributes are the tar's; every time stamp is EPOCH,
    so that the same tar gives the same bytes, whatever `processors` is. The tar must not hold its
    own root (``./``): the root is root's, mode 0755. Raises PiimageError ``run.failed`` when the
    stream is no tar; nothing is left at `target` then.
    """
    target.unlink(missing_ok=True)  # mksquashfs would append to what is there
    try:
        runner.feed(_command(target, compression, processors), tar_chunks)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _as_root() -> list[str]:
    """Return what lets mksquashfs believe that it is root, in a user namespace of its own.

    Of a tar, mksquashfs 4.5 gives the root folder to whoever runs it, whatever -root-uid says;
    nothing else of the result depends on the user.
    """
    return [] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--"]


def _command(target: Path, compression: Compression, processors: int) -> list[str | Path]:
    times = [word for name in ("all", "mkfs", "root") for word in (f"-{name}-time", str(EPOCH))]
    root = ["-root-mode", "0755", "-root-uid", "0", "-root-gid", "0"]
    packing = ["-comp", "zstd", "-Xcompression-level", str(compression.level)]
    bounds = ["-b", str(compression.block), "-processors", str(processors), "-mem", _MEMORY]
    quiet = ["-quiet", "-no-progress"]
    return [
        *_as_root(),
        "mksquashfs",
        "-",
        target,
        "-tar",
        "-noappend",
        "-xattrs",
        "-no-exports",  # 4.5 has no table for NFS of a tar, 4.6 has one
        *packing,
        *bounds,
        *times,
        *root,
        *quiet,
    ]
