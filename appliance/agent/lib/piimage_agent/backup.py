"""Copies of /data for `piimage backup`: folders, files and links in a fixed order.

piimage's own folders are left out: layers and versions come with a card and with deploys, settings
and the host key with `piimage flash`. So are devices, sockets and pipes, which programs make anew,
and Docker's images and containers, which have devices and attributes that tar would not restore.
"""

from __future__ import annotations

import hashlib
import os
import stat

from piimage_agent.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Send = Callable[[dict[str, Any], bytes], None]

OWN = ("lost+found", "piimage", "ssh")
"""The names below /data that are not the services': the host key of SSH is the card's own."""
_OF_DOCKER = {"containers", "image", "volumes"}
"""What the folder of a Docker engine has; of those, its volumes are somebody's data."""
_CHUNK = 1 << 18


def send_entries(root: Root, after: str, send: Send) -> dict[str, int]:
    """Send what comes after the path `after` in the order of `_walk`; return the counts.

    An entry is an event ``entry`` with the fields of `_entry`. A file's bytes follow in events
    ``bytes``; the last one has the SHA-256 of them all.
    """
    data, begin, sent, left_out = root.at("data"), after.split("/"), 0, 0
    for path in _walk(data, ""):
        if after and path.split("/") <= begin:
            continue
        entry = _entry(f"{data}/{path}", path)
        if entry is None:
            left_out += 1
        elif entry["kind"] == "file":
            sent += _send_file(f"{data}/{path}", entry, send)
        else:
            send(entry, b"")
            sent += 1
    return {"sent": sent, "left_out": left_out}


def _walk(data: str, folder: str) -> Iterator[str]:
    """Give the paths below a folder, each folder before what it contains, sorted by name."""
    try:
        names = sorted(os.listdir(f"{data}/{folder}"))
    except OSError:
        return  # removed meanwhile
    if folder and _OF_DOCKER.issubset(names):
        names = ["volumes"]
    for name in names:
        if not folder and name in OWN:
            continue
        path = f"{folder}/{name}" if folder else name
        yield path
        if stat.S_ISDIR(_mode(f"{data}/{path}")):
            yield from _walk(data, path)


def _mode(path: str) -> int:
    try:
        return os.lstat(path).st_mode
    except OSError:
        return 0


def _entry(path: str, name: str) -> dict[str, Any] | None:
    """Return an entry for the tool; None for what is not backed up."""
    try:
        found = os.lstat(path)
        target = os.readlink(path) if stat.S_ISLNK(found.st_mode) else ""
        name.encode()
        target.encode()
    except (OSError, UnicodeEncodeError):
        return None
    kind = {stat.S_IFDIR: "folder", stat.S_IFREG: "file", stat.S_IFLNK: "link"}.get(
        stat.S_IFMT(found.st_mode)
    )
    if kind is None:
        return None
    return {
        "event": "entry", "path": name, "kind": kind, "mode": stat.S_IMODE(found.st_mode),
        "uid": found.st_uid, "gid": found.st_gid, "mtime": int(found.st_mtime), "target": target,
    }  # fmt: skip


def _send_file(path: str, entry: dict[str, Any], send: Send) -> int:
    """Send a file with the size that it has now; return 1, or 0 if it is gone.

    If it shrinks meanwhile, zeros take the place of what is missing, and the entry's end says so.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        size = os.fstat(fd).st_size
        send({**entry, "size": size}, b"")
        digest, shrunk = hashlib.sha256(), False
        while size:
            data = os.read(fd, min(size, _CHUNK))
            shrunk = shrunk or not data
            data = data or bytes(min(size, _CHUNK))
            digest.update(data)
            size -= len(data)
            send({"event": "bytes"}, data)
        send({"event": "bytes", "sha256": digest.hexdigest(), "shrunk": shrunk}, b"")
    finally:
        os.close(fd)
    return 1
