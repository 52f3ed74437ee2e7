"""The Pi's file system for the agent, and writes that survive a power cut."""

from __future__ import annotations

import fcntl
import os
import stat

from piimage_agent.refusal import Refused

_TEXT_LIMIT = 1 << 20


class Root:
    """Paths below one folder: ``/`` on a Pi, a scratch folder in tests."""

    def __init__(self, path: str = "/") -> None:
        self.path = path.rstrip("/")
        self.run = self.at("run/piimage")
        self.store = self.at("data/piimage")
        self.layers = self.at("data/piimage/layers")
        self.generations = self.at("data/piimage/generations")
        self.runs = self.at("run/piimage/agent")

    def at(self, path: str) -> str:
        """Return the full path of `path`, which is relative to the root."""
        return f"{self.path}/{path}"

    def facts(self) -> dict[str, str]:
        """Return the facts of the initramfs: run/piimage/boot, lines of KEY='VALUE'."""
        return assignments(read_text(f"{self.run}/boot"))

    def slot(self) -> str:
        """Return the folder of the slot that was booted."""
        slot = self.facts().get("PIIMAGE_SLOT", "")
        return slot if not self.path or slot.startswith(self.path) else self.path + slot

    def lock(self) -> int:
        """Return a descriptor that holds the lock for changes.

        Raises Refused ``busy``.
        """
        os.makedirs(self.runs, mode=0o700, exist_ok=True)
        fd = os.open(f"{self.runs}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise Refused(
                "busy", "another deploy is running on this Pi", "wait until it has ended"
            ) from None
        return fd


def assignments(text: str) -> dict[str, str]:
    """Return the KEY='VALUE' lines of `text`; nothing is executed or expanded."""
    found = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            found[key] = value.strip().strip("'\"")
    return found


def read_text(path: str, limit: int = _TEXT_LIMIT) -> str:
    """Return at most `limit` bytes of a file as text; empty if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(limit).decode(errors="replace")
    except OSError:
        return ""


def read_line(path: str) -> str:
    """Return a small file's first line; empty if it cannot be read."""
    return read_text(path, 4096).partition("\n")[0].strip()


def write_file(path: str, data: bytes) -> None:
    """Write a file that is complete or absent after a power cut."""
    write_by_way_of(f"{path}.new", path, data, 0o644)


def write_by_way_of(beside: str, path: str, data: bytes, mode: int) -> None:
    """Write the file `beside` in the same folder, and give it the name `path` when it is synced."""
    remove(beside)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(beside, flags, mode)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]
        os.fsync(fd)
    except OSError:
        os.unlink(beside)
        raise
    finally:
        os.close(fd)
    os.rename(beside, path)
    sync_folder(os.path.dirname(path))


def exchange_file(path: str, data: bytes) -> None:
    """Write a file as `write_file`, but without needing room once both of its versions exist.

    The version before the last one is overwritten in place and takes the name of the last one,
    which waits as `path`.spare for the next time. All versions have to have one length.
    """
    spare, old = f"{path}.spare", f"{path}.old"
    if os.path.exists(old) and not os.path.exists(spare):
        os.rename(old, spare)  # the power went in between
    remove(old)
    fd = os.open(spare, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        at = 0
        while at < len(data):
            at += os.pwrite(fd, data[at:], at)
        os.ftruncate(fd, len(data))
        os.fsync(fd)
    finally:
        os.close(fd)
    if is_file(path):
        os.link(path, old)
        os.rename(spare, path)
        os.rename(old, spare)
    else:
        os.rename(spare, path)
    sync_folder(os.path.dirname(path))


def sync_folder(path: str) -> None:
    """Make the names in a folder durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folders(path: str) -> None:
    """Make a folder and its parents, and make them durable."""
    if os.path.isdir(path):
        return
    make_folders(os.path.dirname(path))
    os.mkdir(path, 0o755)
    sync_folder(os.path.dirname(path))


def remove(path: str) -> None:
    """Remove a file if it exists."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def remove_folder(path: str) -> None:
    """Remove a folder that has only files."""
    for name in names(path):
        remove(f"{path}/{name}")
    os.rmdir(path)


def names(path: str) -> list[str]:
    """Return the sorted names in a folder; empty if it does not exist."""
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def is_file(path: str) -> bool:
    """Return whether `path` is a regular file and not a link."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False
