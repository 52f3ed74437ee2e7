"""The lock file: every input of a build, pinned; readable, and the same text for the same pins."""

from piimage.lock.drift import changes, outgrown, outgrown_error
from piimage.lock.model import (
    Lock,
    LockedEnvironment,
    LockedImage,
    LockedRoot,
    LockedSuite,
    LockedWheel,
)
from piimage.lock.reader import parse_lock, read_lock
from piimage.lock.writer import render_lock

__all__ = [
    "Lock",
    "LockedEnvironment",
    "LockedImage",
    "LockedRoot",
    "LockedSuite",
    "LockedWheel",
    "changes",
    "outgrown",
    "outgrown_error",
    "parse_lock",
    "read_lock",
    "render_lock",
]
