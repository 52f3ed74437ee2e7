"""Files that appear whole or not at all, that only their owner reads until then, and that last.

The order makes them last: write, fsync, rename, fsync of the folder. Without the first fsync a
power cut can leave the name with other bytes, without the second the old file.
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
"""The mode of what holds secrets."""


@contextmanager
def beside(
    target: Path, mode: int = PUBLIC, *, size: int | None = None, scratch: Path | None = None
) -> Iterator[Path]:
    """Give an empty file that becomes `target`, with `mode`, if the block succeeds.

    It lies in the folder of `target`, or in `scratch` on the same file system. The block writes
    into it and does not put another file in its place. `size` is what it will have, if that is
    known: said where there is no room for it. Raises the errors of the host (``host.full`` and
    the like).
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
    """Give the finished and synced file `draft` the name `target`, for good."""
    draft.replace(target)
    sync_folder(target.parent)


def write_chunks(target: Path, chunks: Iterable[bytes], mode: int = PUBLIC) -> Path:
    """Write `chunks` to `target`; return it."""
    size = sum(map(len, chunks)) if isinstance(chunks, list) else None
    with beside(target, mode, size=size) as draft, draft.open("wb") as file:
        file.writelines(chunks)
    return target


def create(target: Path, data: bytes) -> None:
    """Write `data` to the new file `target`, completely or not at all; the umask gives its mode.

    Raises OSError, and FileExistsError if there is such a file: it is never replaced.
    """
    draft = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, target)  # unlike a rename, a link never replaces a file
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(target.parent)


@contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    """Have `folder` for the block: made, and shown to take files, before the work begins.

    If the block fails, what was made and is empty goes again. Raises the errors of the host.
    """
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        with host.writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        yield
    except BaseException:
        for one in made:
            with suppress(OSError):
                one.rmdir()
        raise


@contextmanager
def folder_in(parent: Path, prefix: str) -> Iterator[Path]:
    """Give a new folder in `parent` that only its owner enters, and that is gone afterwards.

    Removing it takes open files. Where a process has none left, other threads may hold them and
    end soon for the same want: it is tried again for some seconds.
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
    """Make the names in `folder` last."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Make `folder` and those above it, where they are missing, and make them last."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode, exist_ok=True)
    sync_folder(folder.parent)
