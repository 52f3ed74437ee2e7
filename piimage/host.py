"""The host's own errors, such as a full disk: one line with the path, what is missing, what to do.

They are no defects of piimage. `writing` knows what is being written where, which the system's
errors often do not say; `explained` takes what reached the top.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piimage.errors import PiimageError

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What errno is when there is no room."""
_NO_BYTES: Final = FULL | {errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EIO, errno.ESTALE}
"""What no content of a file leads to."""
_SAID: Final = {"No space left on device": errno.ENOSPC, "Disk quota exceeded": errno.EDQUOT,
                "Read-only file system": errno.EROFS, "Too many open files": errno.EMFILE,
                "File too large": errno.EFBIG, "Cannot allocate memory": errno.ENOMEM,
                "Input/output error": errno.EIO}  # fmt: skip
"""What helper programs write, in glibc's words (they run with LC_ALL=C.UTF-8)."""


_KILLING: Final = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT,
                   signal.SIGXCPU, signal.SIGXFSZ)  # fmt: skip
"""What comes from outside; any other signal, such as SIGSEGV, is the program's own fault."""
_ELSEWHERE: Final = ("ssh", "docker", "docker-buildx", "buildx")
"""Programs that tell what another machine said."""


@dataclass(frozen=True)
class _Trouble:
    """What an errno means here, and what to do about it."""

    code: str
    what: str
    hint: str


_DENIED: Final = _Trouble(
    "host.denied", "this user may not read or write it",
    "change its owner or mode, or name another place (-o, PIIMAGE_STORE, TMPDIR)",
)  # fmt: skip
_PATH: Final = _Trouble("host.path", "there can be no such file or folder", "name another path")
_OPEN: Final = _Trouble(
    "host.open-files", "too many files are open", "allow more with `ulimit -n 4096`, and try again"
)
_MEMORY: Final = _Trouble(
    "host.memory", "the memory does not suffice", "close other programs, or add swap space"
)
_MEANINGS: Final = {
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EROFS: _Trouble(
        "host.read-only", "the file system is read-only",
        "name a place that can be written to (-o, PIIMAGE_STORE, TMPDIR)",
    ),
    errno.EMFILE: _OPEN,
    errno.ENFILE: _OPEN,
    errno.ENOMEM: _MEMORY,
    errno.EAGAIN: _Trouble(
        "host.processes", "no further process can be started",
        "end other programs, or allow more with `ulimit -u`",
    ),
    errno.EIO: _Trouble(
        "host.disk", "the disk cannot be read or written there",
        "look at the kernel's messages (dmesg), and save what is on it",
    ),
    errno.EFBIG: _Trouble(
        "host.too-large", "the file would be larger than is allowed",
        "look at `ulimit -f`, or write to another file system",
    ),
    errno.ENOENT: _Trouble(
        "host.gone", "it is not there", "make it, or name another place; perhaps it was removed",
    ),
    errno.ESTALE: _Trouble("host.gone", "the server no longer has it", "mount it anew"),
    errno.ENOTDIR: _PATH,
    errno.EISDIR: _PATH,
    errno.EEXIST: _PATH,
    errno.ELOOP: _PATH,
    errno.ENAMETOOLONG: _PATH,
    errno.ENOEXEC: _Trouble(
        "host.program", "the program is for another machine", "install the package for this one"
    ),
    errno.ETXTBSY: _Trouble("host.busy", "another program uses it", "end that, and try again"),
    errno.EOPNOTSUPP: _Trouble(
        "host.unable", "its file system cannot do that", "name a folder on ext4, xfs or btrfs"
    ),
    errno.ENOTEMPTY: _PATH,
}  # fmt: skip


def explained(error: BaseException) -> PiimageError | None:
    """Return what `error` means if the host caused it; None if it can only be a defect."""
    if isinstance(error, MemoryError):
        return _told(_MEMORY, None, None)
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return _told(_MEANINGS[errno.EAGAIN], None, None)
    if not isinstance(error, OSError) or error.errno is None:
        return None
    if error.errno == errno.ENOENT and _path(error) is None:  # tempfile has only words for it
        hint = "set TMPDIR to a folder that can be written to"
        return PiimageError("host.no-temporary", str(error.strerror), hint=hint)
    return _meaning(error, _path(error))


def refuse(error: BaseException, place: str) -> None:
    """Raise what `error` means if the host caused it, and not the bytes that `place` has."""
    known = explained(error) if getattr(error, "errno", None) in _NO_BYTES else None
    if known is not None:
        known.place = known.place or place
        raise known from error


@contextmanager
def writing(target: Path, size: int | None = None, draft: Path | None = None) -> Iterator[None]:
    """Turn what stops `target` from being written into one error.

    `size` is what it will have, if that is known, and `draft` the file that becomes it. Raises
    PiimageError ``host.full`` and the like.
    """
    try:
        yield
    except PiimageError as error:
        if error.code == "host.full" and error.place and _is_beside(error.place, target):
            error.place = str(target)
        raise
    except OSError as error:
        path = _path(error)
        if path is None or _is_beside(path, target):
            path = str(target)  # whoever reads it has never heard of the draft
        known = _meaning(error, path, size, _written(draft))
        if known is None:
            raise
        raise known from error


def said_by(argv: Sequence[str], status: int, text: str, cwd: Path | None) -> PiimageError | None:
    """Return the error of the host that ended a helper program, if it was one.

    `status` is negative for a signal, as subprocess has it; `text` is what the program wrote.
    """
    if -status in _KILLING:
        name = signal.Signals(-status).name
        memory = "; perhaps memory ran out (dmesg says so)" if -status == signal.SIGKILL else ""
        return PiimageError(
            "run.killed", f"{argv[0]} was ended by {name}{memory}", hint="run the command again"
        )
    if Path(argv[0]).name in _ELSEWHERE:
        return None
    said = text.lower()
    number = next((number for words, number in _SAID.items() if words.lower() in said), None)
    if number is None:
        return None
    found = _meaning(OSError(number, os.strerror(number)), _tightest(argv, cwd))
    if found is not None:
        found.message = f"{argv[0]}: {found.message}"
    return found


def room(path: Path | str) -> tuple[Path, int, int]:
    """Return the mount point of the file system of `path`, its free bytes, and its free inodes."""
    place = Path(os.path.abspath(path))  # noqa: PTH100  # resolve() fails where a folder is gone
    while not os.path.exists(place):  # noqa: PTH110  # no exception for a long name
        place = place.parent
    found = os.statvfs(place)
    device = place.stat().st_dev
    while place != place.parent and place.parent.stat().st_dev == device:
        place = place.parent
    inodes = found.f_favail if found.f_files else 1
    return place, found.f_bavail * found.f_frsize, inodes


def _meaning(
    error: OSError, path: str | None, size: int | None = None, written: int = 0
) -> PiimageError | None:
    if error.errno in FULL:
        return _full(error, path, size, written)
    known = _MEANINGS.get(error.errno or 0)
    return _told(known, path, error.strerror) if known is not None else None


def _told(trouble: _Trouble, path: str | None, words: str | None) -> PiimageError:
    said = f" ({words})" if words else ""
    return PiimageError(trouble.code, f"{trouble.what}{said}", place=path, hint=trouble.hint)


def _full(error: OSError, path: str | None, size: int | None, written: int) -> PiimageError:
    whose = "this user's quota is used up" if error.errno == errno.EDQUOT else "no room is left"
    if path is None:
        return PiimageError("host.full", whose, hint=_hint(None))
    mount, free, inodes = room(path)
    where = f"on the file system at {mount}"
    have = written + free
    if inodes == 0 and free > 0:
        what = f"no further file can be made {where}: 0 inodes are free"
    elif size is not None and size > have:
        what = f"{whose}: it takes {size} bytes, {size - have} more than there are {where}"
    else:
        what = f"{whose}: it takes more than the {have} bytes that there are {where}"
    return PiimageError("host.full", what, place=path, hint=_hint(mount))


def _hint(mount: Path | None) -> str:
    where = f" on {mount}" if mount else ""
    return (
        f"free some{where} (`piimage cache gc` does in the store), "
        "or name another place (-o, PIIMAGE_STORE, TMPDIR)"
    )


def _is_beside(path: str, target: Path) -> bool:
    return Path(path).absolute().parent in (target.absolute(), target.absolute().parent)


def _written(draft: Path | None) -> int:
    try:
        return draft.stat().st_blocks * 512 if draft else 0  # holes are still to be written
    except OSError:
        return 0


def _path(error: OSError) -> str | None:
    name = error.filename2 if error.filename2 is not None else error.filename
    return os.fsdecode(name) if isinstance(name, str | bytes | os.PathLike) else None


def _tightest(argv: Sequence[str], cwd: Path | None) -> str:
    """Return the path among the words of a command whose file system has the least room.

    Of several the last, where most programs have what they write; it may be gone already.
    """
    folder = os.path.abspath(cwd or "")  # noqa: PTH100  # Path.absolute() keeps ".."
    words = (word.rpartition("=")[2].partition("@@")[0] for word in argv[1:])
    paths = [os.path.join(folder, word) for word in words if word and not word.startswith("-")]  # noqa: PTH118
    found = [path for path in paths if os.path.lexists(path) or _could_be(path, folder)]
    return min(reversed(found), key=lambda path: room(path)[1:], default=folder)


def _could_be(path: str, folder: str) -> bool:
    above = os.path.dirname(path)  # noqa: PTH120  # texts of any length are asked for
    return above != folder and os.path.isdir(above)  # noqa: PTH112


def is_homeless() -> bool:
    """Say whether the working folder was removed."""
    try:
        return not Path.cwd().exists()
    except OSError:
        return True


def homeless() -> PiimageError:
    """Return the error for that."""
    return PiimageError(
        "host.no-folder", "the working folder was removed", hint="cd to one that is there"
    )
