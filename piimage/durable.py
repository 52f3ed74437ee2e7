"""Files that appear complete or not at all, are private until then, and survive a power cut.

The order makes them durable: write, fsync, rename, fsync of the folder. Without the first fsync, a
power cut can leave the new name with wrong bytes; without the second, it can leave the old file.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from piimage import host

PUBLIC: Final = 0o644
PRIVATE: Final = 0o600
"""The mode of files that hold secrets."""


@contextmanager
def beside(
    target: Path, mode: int = PUBLIC, *, size: int | None = None, scratch: Path | None = None
) -> Iterator[Path]:
    """Yield an empty file that is renamed to `target`, with `mode`, if the block succeeds.

    The file is in the folder of `target`, or in `scratch` on the same file system. The block must
    write into it, not replace it. `size` is the final size, if known, for the message of a full
    disk. Raises the errors of the host (``host.full`` and the like).
    """
    with host.writing(target, size):
        handle, name = tempfile.mkstemp(dir=scratch or target.parent, prefix=f".{target.name}-")
        draft = Path(name)
        try:
            with host.writing(target, size, draft):
                yield draft
                os.fchmod(handle, mode)
                os.fsync(handle)
            put(draft, target)
        finally:
            os.close(handle)
            draft.unlink(missing_ok=True)


def put(draft: Path, target: Path) -> None:
    """Rename the finished and synced file `draft` to `target`, durably."""
    draft.replace(target)
    sync_folder(target.parent)


def write_chunks(target: Path, chunks: Iterable[bytes], mode: int = PUBLIC) -> Path:
    """Write `chunks` to `target`; return it."""
    size = sum(map(len, chunks)) if isinstance(chunks, list) else None
    with beside(target, mode, size=size) as draft, draft.open("wb") as file:
        file.writelines(chunks)
    return target


@contextmanager
def output_folder(folder: Path) -> Iterator[None]:
    """Make `folder`, and prove that it is writable, before the work of the block begins.

    If the block fails, new folders that are empty are removed. Raises the errors of the host.
    """
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        with host.writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        yield
    except BaseException:
        for path in created:
            with suppress(OSError):
                path.rmdir()
        raise


@contextmanager
def temporary_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Yield a new private folder in `parent`, and remove it afterwards.

    The removal needs file descriptors. If the process has none left, other threads may release
    some soon, so the removal is retried for some seconds.
    """
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=prefix))
    try:
        yield folder
    finally:
        for pause in (0.1, 0.4, 1.5, 4):
            try:
                shutil.rmtree(folder)
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE):
                    raise
                time.sleep(pause)
            else:
                break


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Make `folder` and its missing parents, durably."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode, exist_ok=True)
    sync_folder(folder.parent)
