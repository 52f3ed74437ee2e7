"""Brings a copy of /data back, for `piimage restore`.

Everything arrives beside /data's own folders first. Only when it is complete, the services that use
these folders stop, the folders change places, and the services start again. What was replaced is
removed at the very end, so an interruption at any point loses neither copy.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat

from piimage_agent import services
from piimage_agent.backup import OWN
from piimage_agent.frames import read_frame
from piimage_agent.refusal import Refused, digest_of, number_of, text_of
from piimage_agent.root import Root, make_folders, names, read_line, read_text, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MARGIN = 16 << 20  # of /data, reserved for the services
_PATH_LIMIT = 4096
_CONFIG_LIMIT = 1 << 20


class Incoming:
    """The entries of an archive as they arrive, in a folder of their own."""

    def __init__(self, root: Root, archive: str, size: int) -> None:
        self._root = root
        self._place = root.at("data/piimage/restore")
        self._new = f"{self._place}/new"
        self._file = -1
        self._left = 0
        self._hash = hashlib.sha256()
        self._meta: dict[str, Any] = {}
        _put_back(root)
        if read_line(f"{self._place}/archive") != archive:
            _remove_tree(self._place)
            make_folders(self._new)
            os.chmod(self._place, 0o700)
            write_file(f"{self._place}/archive", f"{archive}\n".encode())
        self._boot = read_line(root.at("proc/sys/kernel/random/boot_id"))
        self.count = self._noted()
        """Entries that are complete; the next one has this number."""
        if not self.count:
            _remove_tree(self._new)
            os.mkdir(self._new, 0o700)
        self._check_room(size)

    def _noted(self) -> int:
        """Return how many entries an earlier session completed since the boot.

        After a power cut nobody knows which of them are on the disk: all are sent again.
        """
        boot, _, count = read_line(f"{self._place}/done").partition(" ")
        return int(count) if boot == self._boot and count.isdigit() else 0

    def _note(self) -> None:
        """Count an entry; a session may end at any time, by a signal too."""
        self.count += 1
        with open(f"{self._place}/done.new", "w") as file:
            file.write(f"{self._boot} {self.count}\n")
        os.rename(f"{self._place}/done.new", f"{self._place}/done")

    def _check_room(self, size: int) -> None:
        found = os.statvfs(self._place)
        free = found.f_bavail * found.f_frsize
        if size + _MARGIN > free:
            raise Refused(
                "no-space",
                f"{size} bytes do not fit beside what they replace: /data has {free} bytes left",
                "remove what is no longer needed on /data, or use a larger card",
            )

    def begin(self, header: dict[str, Any]) -> None:
        """Begin an entry, which is complete at once unless it is a file with content."""
        if self._file >= 0:
            raise Refused("bad-archive", "an entry began within a file")
        path = self._inside(text_of(header, "path", _PATH_LIMIT))
        self._meta = {
            "path": path, "mode": number_of(header, "mode", 0, 0o7777),
            "owner": (number_of(header, "uid", 0, 1 << 31), number_of(header, "gid", 0, 1 << 31)),
            "mtime": number_of(header, "mtime", 0, 1 << 40),
        }  # fmt: skip
        kind = text_of(header, "kind", 10)
        if kind == "file":
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            self._file = os.open(path, flags, 0o600)
            self._left = number_of(header, "size", 0, 1 << 45)
            self._hash = hashlib.sha256()
        elif kind == "folder":
            if not os.path.isdir(path):
                os.mkdir(path, 0o700)
            self._finish_entry()
        elif kind == "link":
            if os.path.lexists(path):
                os.unlink(path)
            os.symlink(text_of(header, "target", _PATH_LIMIT), path)
            os.lchown(path, *self._meta["owner"])
            self._note()
        else:
            raise Refused("bad-archive", f"an entry is a {kind!r}")

    def _inside(self, path: str) -> str:
        """Return where an entry goes; it may not leave its place, and no link leads it out."""
        parts = path.split("/")
        if "" in parts or "." in parts or ".." in parts or "\0" in path or parts[0] in OWN:
            raise Refused("bad-archive", f"an entry may not have the path {path[:200]!r}")
        folder = self._new
        for part in parts[:-1]:
            folder = f"{folder}/{part}"
            if not stat.S_ISDIR(os.lstat(folder).st_mode):
                raise Refused("bad-archive", f"{path[:200]!r} lies in what is not a folder")
        return f"{folder}/{parts[-1]}"

    def add(self, data: bytes, digest: str) -> None:
        """Append to a file; the last piece comes with the digest of the whole."""
        if self._file < 0 or len(data) > self._left:
            raise Refused("bad-archive", "a file is larger than its entry says")
        self._left -= len(data)
        self._hash.update(data)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._file, rest) :]
        if not digest:
            return
        if self._left or self._hash.hexdigest() != digest:
            raise Refused("wrong-digest", "the bytes of a file have another digest", "retry")
        os.close(self._file)
        self._file = -1
        self._finish_entry()

    def _finish_entry(self) -> None:
        path, mtime = self._meta["path"], self._meta["mtime"]
        os.chown(path, *self._meta["owner"])
        os.chmod(path, self._meta["mode"])
        os.utime(path, (mtime, mtime))
        self._note()

    def require_whole(self) -> None:
        """Raise Refused ``bad-archive`` if the last file is not complete."""
        if self._file >= 0:
            raise Refused("bad-archive", "the archive ended within a file")

    def close(self) -> None:
        """Stop; the entries that are complete stay, so that the rest may follow."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def receive(incoming: Incoming, source: int) -> None:
    """Read entries up to ``done``; after a refusal, read and discard the rest. Raises Refused."""
    refused: Refused | OSError | None = None
    try:
        while True:
            header, body = read_frame(source)
            if header.get("op") == "done":
                break
            if refused is None:
                try:
                    _take(incoming, header, body)
                except (Refused, OSError) as error:
                    refused = error
        if refused is None:
            incoming.require_whole()
    finally:
        incoming.close()
    if refused is not None:
        raise refused


def _take(incoming: Incoming, header: dict[str, Any], body: bytes) -> None:
    if header.get("op") == "entry":
        incoming.begin(header)
    elif header.get("op") == "data":
        incoming.add(body, digest_of(header["sha256"]) if "sha256" in header else "")
    else:
        raise Refused("bad-archive", "another frame than `entry` or `data` came")


def apply(root: Root, wait: float) -> dict[str, str]:
    """Put what arrived in the place of what there is; return the services that are not up."""
    fresh = names(root.at("data/piimage/restore/new"))
    users = _users(root, fresh)
    os.sync()
    for name in users:
        services.stop(root, name)
    _exchange(root, fresh)
    for name in users:
        services.initctl(root, "start", name)
    troubles = {name: services.wait_up(root, name, wait) for name in users}
    _remove_tree(root.at("data/piimage/restore"))
    return {name: trouble for name, trouble in troubles.items() if trouble}


def _exchange(root: Root, fresh: list[str]) -> None:
    """Exchange folders; each old one goes aside first, from where `_put_back` finds it."""
    place, data = root.at("data/piimage/restore"), root.at("data")
    make_folders(f"{place}/old")
    for name in fresh:
        if os.path.lexists(f"{data}/{name}"):
            os.rename(f"{data}/{name}", f"{place}/old/{name}")
        os.rename(f"{place}/new/{name}", f"{data}/{name}")
    os.sync()


def _put_back(root: Root) -> None:
    """Return what an interrupted exchange left aside."""
    old, data = root.at("data/piimage/restore/old"), root.at("data")
    for name in names(old):
        if not os.path.lexists(f"{data}/{name}"):
            os.rename(f"{old}/{name}", f"{data}/{name}")


def _users(root: Root, restored: list[str]) -> list[str]:
    """Return the running services with a bind from one of the folders."""
    containers = f"{root.run}/containers"
    return [
        name for name in services.services_in(containers)
        if services.state(root, name)["state"] not in ("stopped", "exited")
        and any(source in restored for source in _sources(f"{containers}/services/{name}"))
    ]  # fmt: skip


def _sources(folder: str) -> list[str]:
    """Return the names directly below /data that a service has binds from."""
    try:
        mounts = json.loads(read_text(f"{folder}/config.json", _CONFIG_LIMIT))["mounts"]
        paths = [str(mount.get("source", "")) for mount in mounts]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []
    return [path.split("/")[2] for path in paths if path.startswith("/data/")]


def _remove_tree(path: str) -> None:
    """Remove a folder and what is in it; links are not followed."""
    for name in names(path):
        inner = f"{path}/{name}"
        if stat.S_ISDIR(os.lstat(inner).st_mode):
            _remove_tree(inner)
        else:
            os.unlink(inner)
    if os.path.isdir(path):
        os.rmdir(path)
