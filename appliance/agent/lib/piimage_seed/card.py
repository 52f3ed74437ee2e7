"""The files on the card: those that are read, and those from which the Pi reads its settings."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress

from piimage_seed.tree import MOST_BYTES

PROVISION = "data/piimage/provision"
NOTE = "data/piimage/state/user-data"
"""The digests of files that were applied, until they are removed from the card."""
COMMAND_LINE = "cmdline.txt"
"""The file to which Imager adds words for the kernel; the slots of a card have their own."""
_COUNTRY = re.compile(rb"(?:^|\s)cfg80211\.ieee80211_regdom=([A-Z]{2})(?:\s|$)")


def read(path: str) -> bytes | None:
    """Return the first bytes of a file, one more than are allowed; None if there is no file."""
    try:
        with open(path, "rb") as file:
            return file.read(MOST_BYTES + 1)
    except (FileNotFoundError, IsADirectoryError):
        return None


def digest(data: bytes) -> str:
    """Return the digest by which a file is known again."""
    return hashlib.sha256(data).hexdigest()


def kernel_country(folder: str) -> str | None:
    """Return the country that Imager adds to a cmdline.txt; no kernel of this card reads it."""
    match = _COUNTRY.search(read(f"{folder}/{COMMAND_LINE}") or b"")
    return match[1].decode() if match else None


def fixed_address(root: str) -> bool:
    """Return whether the image has a fixed address for the wired network."""
    text = read(f"{root}/etc/piimage/network") or b""
    return re.search(rb"^ADDRESS='?[0-9a-fA-F:]", text, re.MULTILINE) is not None


def noted(root: str) -> set[str]:
    """Return the digests in the note of an earlier boot."""
    return set((read(f"{root}/{NOTE}") or b"").decode("ascii", "replace").split())


def write(path: str, text: str, mode: int) -> None:
    """Write a file completely or not at all, and on the medium when this returns."""
    folder, name = os.path.split(path)
    os.makedirs(folder, 0o755, exist_ok=True)
    draft = f"{folder}/.{name}.new"
    remove(draft)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with open(handle, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
        file.flush()
        os.fchmod(handle, mode)
        os.fsync(handle)
    os.replace(draft, path)
    _sync(folder)


def remove(path: str) -> None:
    """Remove a file if it exists."""
    with suppress(FileNotFoundError):
        os.unlink(path)
        _sync(os.path.dirname(path))


def _sync(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
