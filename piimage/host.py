"""Errors of the host, such as a full disk: one line with the path, the cause and the remedy.

They are not defects of piimage. `writing` knows which file is being written, which the system's
errors often do not tell; `explain` translates an exception that reached the top.
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
"""The values of errno for a file system without free space."""
_NOT_OF_CONTENT: Final = FULL | {errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EIO, errno.ESTALE}
"""The values of errno that the content of a file cannot cause."""
_MESSAGES: Final = {"No space left on device": errno.ENOSPC, "Disk quota exceeded": errno.EDQUOT,
                    "Read-only file system": errno.EROFS, "Too many open files": errno.EMFILE,
                    "File too large": errno.EFBIG, "Cannot allocate memory": errno.ENOMEM,
                    "Input/output error": errno.EIO}  # fmt: skip
"""glibc's messages, which helper programs print (they run with LC_ALL=C.UTF-8)."""


_KILLING: Final = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT,
                   signal.SIGXCPU, signal.SIGXFSZ)  # fmt: skip
"""Signals from outside; any other signal, such as SIGSEGV, is a fault of the program."""
_REMOTE: Final = ("ssh", "docker", "docker-buildx", "buildx")
"""Programs that print the messages of another machine."""


@dataclass(frozen=True)
class _Cause:
    """The error that stands for an errno."""

    code: str
    message: str
    hint: str


_DENIED: Final = _Cause(
    "host.denied", "this user may not read or write it",
    "change its owner or mode, or name another place (-o, PIIMAGE_STORE, TMPDIR)",
)  # fmt: skip
_PATH: Final = _Cause("host.path", "such a file or folder cannot exist", "name another path")
_OPEN: Final = _Cause(
    "host.open-files", "too many files are open", "allow more with `ulimit -n 4096` and try again"
)
_MEMORY: Final = _Cause(
    "host.memory", "there is not enough memory", "close other programs, or add swap space"
)
_CAUSES: Final = {
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EROFS: _Cause(
        "host.read-only", "the file system is read-only",
        "name a writable place (-o, PIIMAGE_STORE, TMPDIR)",
    ),
    errno.EMFILE: _OPEN,
    errno.ENFILE: _OPEN,
    errno.ENOMEM: _MEMORY,
    errno.EAGAIN: _Cause(
        "host.processes", "no further process can be started",
        "end other programs, or allow more processes with `ulimit -u`",
    ),
    errno.EIO: _Cause(
        "host.disk", "the disk cannot be read or written",
        "look at the kernel's messages (dmesg), and save the data on this disk",
    ),
    errno.EFBIG: _Cause(
        "host.too-large", "the file would exceed the maximum file size",
        "raise `ulimit -f`, or write to another file system",
    ),
    errno.ENOENT: _Cause(
        "host.gone", "it does not exist", "create it, or name another place",
    ),
    errno.ESTALE: _Cause(
        "host.gone", "the file server no longer has it", "mount the file system again"
    ),
    errno.ENOTDIR: _PATH,
    errno.EISDIR: _PATH,
    errno.EEXIST: _PATH,
    errno.ELOOP: _PATH,
    errno.ENAMETOOLONG: _PATH,
    errno.ENOEXEC: _Cause(
        "host.program", "the program is for another processor architecture",
        "install the package for this machine's architecture",
    ),
    errno.ETXTBSY: _Cause(
        "host.busy", "another program is using it", "end that program and try again"
    ),
    errno.EOPNOTSUPP: _Cause(
        "host.unable", "its file system does not support the operation",
        "name a folder on ext4, xfs or btrfs",
    ),
    errno.ENOTEMPTY: _PATH,
}  # fmt: skip


def explain(error: BaseException) -> PiimageError | None:
    """Return the host error that stands for `error`; None if `error` can only be a defect."""
    if isinstance(error, MemoryError):
        return _host_error(_MEMORY, None, None)
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return _host_error(_CAUSES[errno.EAGAIN], None, None)
    if not isinstance(error, OSError) or error.errno is None:
        return None
    if error.errno == errno.ENOENT and _path(error) is None:  # tempfile gives only a message
        hint = "set TMPDIR to a writable folder"
        return PiimageError("host.no-temporary", str(error.strerror), hint=hint)
    return _explain(error, _path(error))


def raise_host_error(error: BaseException, place: str) -> None:
    """Raise the host error that stands for `error`, unless the content of `place` caused it."""
    known = explain(error) if getattr(error, "errno", None) in _NOT_OF_CONTENT else None
    if known is not None:
        known.place = known.place or place
        raise known from error


@contextmanager
def writing(target: Path, size: int | None = None, draft: Path | None = None) -> Iterator[None]:
    """Turn the exceptions of writing `target` into one error of the host.

    `size` is the final size, if known, and `draft` the file that is renamed to `target`. Raises
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
            path = str(target)  # the user does not know of the draft
        known = _explain(error, path, size, _allocated(draft))
        if known is None:
            raise
        raise known from error


def explain_exit(
    argv: Sequence[str], status: int, text: str, cwd: Path | None
) -> PiimageError | None:
    """Return the host error that made the program `argv` fail; None if it was another error.

    `status` is negative for a signal, as with subprocess; `text` is the output of the program.
    """
    if -status in _KILLING:
        name = signal.Signals(-status).name
        memory = "; dmesg tells whether memory ran out" if -status == signal.SIGKILL else ""
        return PiimageError(
            "run.killed", f"{argv[0]} was killed by {name}{memory}", hint="run the command again"
        )
    if Path(argv[0]).name in _REMOTE:
        return None
    output = text.lower()
    number = next((n for message, n in _MESSAGES.items() if message.lower() in output), None)
    if number is None:
        return None
    error = _explain(OSError(number, os.strerror(number)), _fullest(argv, cwd))
    if error is not None:
        error.message = f"{argv[0]}: {error.message}"
    return error


def free_space(path: Path | str) -> tuple[Path, int, int]:
    """Return the mount point of the file system of `path`, its free bytes, and its free inodes."""
    place = Path(os.path.abspath(path))  # noqa: PTH100  # resolve() fails if a folder is gone
    while not os.path.exists(place):  # noqa: PTH110  # no exception for a long name
        place = place.parent
    status = os.statvfs(place)
    device = place.stat().st_dev
    while place != place.parent and place.parent.stat().st_dev == device:
        place = place.parent
    inodes = status.f_favail if status.f_files else 1
    return place, status.f_bavail * status.f_frsize, inodes


def _explain(
    error: OSError, path: str | None, size: int | None = None, allocated: int = 0
) -> PiimageError | None:
    if error.errno in FULL:
        return _full(error, path, size, allocated)
    cause = _CAUSES.get(error.errno or 0)
    return _host_error(cause, path, error.strerror) if cause is not None else None


def _host_error(cause: _Cause, path: str | None, strerror: str | None) -> PiimageError:
    detail = f" ({strerror})" if strerror else ""
    return PiimageError(cause.code, f"{cause.message}{detail}", place=path, hint=cause.hint)


def _full(error: OSError, path: str | None, size: int | None, allocated: int) -> PiimageError:
    reason = "this user's quota is used up" if error.errno == errno.EDQUOT else "no space is left"
    if path is None:
        return PiimageError("host.full", reason, hint=_full_hint(None))
    mount, free, inodes = free_space(path)
    where = f"the file system at {mount}"
    available = allocated + free
    if inodes == 0 and free > 0:
        message = f"no further file can be created on {where}: 0 inodes are free"
    elif size is not None and size > available:
        missing = size - available
        message = f"{reason}: it needs {size} bytes, {missing} more than {where} has free"
    else:
        message = f"{reason}: it needs more than the {available} bytes that {where} has free"
    return PiimageError("host.full", message, place=path, hint=_full_hint(mount))


def _full_hint(mount: Path | None) -> str:
    where = f" on {mount}" if mount else ""
    return (
        f"free space{where} (`piimage cache gc` frees some in the store), "
        "or name another place (-o, PIIMAGE_STORE, TMPDIR)"
    )


def _is_beside(path: str, target: Path) -> bool:
    return Path(path).absolute().parent in (target.absolute(), target.absolute().parent)


def _allocated(draft: Path | None) -> int:
    try:
        return draft.stat().st_blocks * 512 if draft else 0  # without the holes, which need space
    except OSError:
        return 0


def _path(error: OSError) -> str | None:
    name = error.filename2 if error.filename2 is not None else error.filename
    return os.fsdecode(name) if isinstance(name, str | bytes | os.PathLike) else None


def _fullest(argv: Sequence[str], cwd: Path | None) -> str:
    """Return the path in a command's arguments whose file system has the least free space.

    Of several it is the last, which is the output of most programs. It may be gone already.
    """
    folder = os.path.abspath(cwd or "")  # noqa: PTH100  # Path.absolute() keeps ".."
    words = (word.rpartition("=")[2].partition("@@")[0] for word in argv[1:])
    paths = [os.path.join(folder, word) for word in words if word and not word.startswith("-")]  # noqa: PTH118
    paths = [path for path in paths if os.path.lexists(path) or _was_a_path(path, folder)]
    return min(reversed(paths), key=lambda path: free_space(path)[1:], default=folder)


def _was_a_path(path: str, folder: str) -> bool:
    parent = os.path.dirname(path)  # noqa: PTH120  # an argument may be of any length
    return parent != folder and os.path.isdir(parent)  # noqa: PTH112


def is_working_folder_gone() -> bool:
    """Return whether the working folder was removed."""
    try:
        return not Path.cwd().exists()
    except OSError:
        return True


def no_working_folder() -> PiimageError:
    """Return the error for a working folder that was removed."""
    return PiimageError(
        "host.no-folder", "the working folder was removed", hint="cd to an existing folder"
    )
