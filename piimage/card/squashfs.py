"""Squashfs from a tar stream, without root: a layer is one such file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piimage.clock import EPOCH
from piimage.run import Runner

_MEMORY: Final = "64M"  # for the caches of mksquashfs; its threads need more


@dataclass(frozen=True)
class Compression:
    """zstd at `level` (1 to 22) over blocks of `block` bytes.

    Larger blocks compress better but make small reads slower. The kernel's page cache keeps
    unpacked data, so 128 KiB is a good compromise for programs that are read once.
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
    """Write the tar in `tar_chunks` as a squashfs to the new file `target`.

    Owners, modes, devices, links and extended attributes are those of the tar. Every time stamp is
    EPOCH: the same tar gives the same bytes, whatever `processors` is. The tar must not contain
    its root (``./``): the root folder gets owner root and mode 0755. Raises PiimageError
    ``run.failed`` if the stream is not a tar; `target` does not exist then.
    """
    target.unlink(missing_ok=True)  # mksquashfs appends to an existing file
    try:
        command = [*_as_root(runner), *_command(target, compression, processors)]
        runner.feed(command, tar_chunks)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _as_root(runner: Runner) -> list[str]:
    """Return the command prefix that runs mksquashfs as root of its own user namespace.

    Before 4.6, mksquashfs makes its user the owner of a tar's root folder, whatever -root-uid is;
    nothing else of the output depends on the user. Newer ones need no namespace, which Docker's
    default profile and Ubuntu do not allow to ordinary users.
    """
    if os.geteuid() == 0 or _version(runner) >= (4, 6):
        return []
    return ["unshare", "--map-root-user", "--"]


def _version(runner: Runner) -> tuple[int, int]:
    """Return major and minor version of mksquashfs; (0, 0) if it does not tell."""
    text = runner.run(["mksquashfs", "-version"], accept=(0, 1)).text
    match = re.match(r"mksquashfs version (\d{1,4})\.(\d{1,4})", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _command(target: Path, compression: Compression, processors: int) -> list[str | Path]:
    times = [word for name in ("all", "mkfs", "root") for word in (f"-{name}-time", str(EPOCH))]
    root = ["-root-mode", "0755", "-root-uid", "0", "-root-gid", "0"]
    packing = ["-comp", "zstd", "-Xcompression-level", str(compression.level)]
    bounds = ["-b", str(compression.block), "-processors", str(processors), "-mem", _MEMORY]
    quiet = ["-quiet", "-no-progress"]
    return [
        "mksquashfs",
        "-",
        target,
        "-tar",
        "-noappend",
        "-xattrs",
        "-no-exports",  # the same for all: for a tar, 4.6 writes an NFS table and 4.5 does not
        *packing,
        *bounds,
        *times,
        *root,
        *quiet,
    ]
