"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from piimage import host


@contextmanager
def beside(target: Path, size: int | None = None) -> Iterator[Path]:
    """Give an empty file in the folder of `target` that becomes `target` if the block succeeds.

    `size` is what it will have, if that is known: said where there is no room for it. Raises the
    errors of the host (``host.full`` and the like).
    """
    with host.writing(target, size):
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
        draft = Path(name)
        try:
            os.fchmod(handle, 0o644)
            with host.writing(target, size, draft):
                yield draft
                os.fsync(handle)
            draft.replace(target)
        finally:
            os.close(handle)
            draft.unlink(missing_ok=True)


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


def write_chunks(target: Path, chunks: Iterable[bytes]) -> Path:
    """Write `chunks` to `target`; return it."""
    size = sum(map(len, chunks)) if isinstance(chunks, list) else None
    with beside(target, size) as draft, draft.open("wb") as file:
        file.writelines(chunks)
        file.flush()
        os.fsync(file.fileno())
    return target
