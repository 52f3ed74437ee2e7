"""Root without its right to pass over the modes of files (capabilities(7), capget(2))."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_VERSION: Final = 0x20080522  # _LINUX_CAPABILITY_VERSION_3: two words for each set
_DAC_OVERRIDE: Final = 1
_DAC_READ_SEARCH: Final = 2


@contextmanager
def modes_count() -> Iterator[None]:
    """Let the modes of files count for this thread, whoever runs the tests."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION, 0)
    before = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then their high words
    assert libc.capget(header, before) == 0
    without = (ctypes.c_uint32 * 6)(*before)
    without[0] &= ~(1 << _DAC_OVERRIDE | 1 << _DAC_READ_SEARCH)
    assert libc.capset(header, without) == 0
    try:
        yield
    finally:
        assert libc.capset(header, before) == 0
