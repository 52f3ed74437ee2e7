"""Locks of files, which end with the process that holds them at the latest: flock(2)."""

_EXCLUSIVE, _AT_ONCE = 2, 4

try:
    from fcntl import flock as _flock
except ImportError:  # MicroPython has no fcntl
    import ffi  # type: ignore[import-not-found]  # MicroPython's

    _call = ffi.open("libc.so.6").func("i", "flock", "ii")

    def _flock(file: int, operation: int) -> None:  # type: ignore[misc]  # as fcntl's, for numbers
        if _call(file, operation):
            raise OSError("the file is locked")


class Lock:
    """The lock of a file."""

    def __init__(self, path: str) -> None:
        """Open the file `path`, which is made if it does not exist."""
        self._file = open(path, "ab")  # noqa: SIM115  # it is the lock

    def take(self) -> None:
        """Take the lock; wait for it while another process holds it."""
        _flock(self._file.fileno(), _EXCLUSIVE)

    def try_to_take(self) -> bool:
        """Take the lock, unless another process holds it."""
        try:
            _flock(self._file.fileno(), _EXCLUSIVE | _AT_ONCE)
        except OSError:
            return False
        return True

    def release(self) -> None:
        """Close the file, so that others can take the lock."""
        self._file.close()
