"""Copies of a Pi's /data: a tar archive that `back_up` writes and `restore` brings back.

An archive has the folders, files and links below /data, but for piimage's own folders. Each file
came with its SHA-256 over the connection. A connection that was lost goes on after the last
complete entry.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from piimage import durable, host
from piimage.deploy import answers
from piimage.deploy.answers import BadAnswer
from piimage.deploy.link import Answer, Link
from piimage.deploy.pipe import MAX_BODY
from piimage.errors import ErrorGroup, InputError, PiimageError

FEATURE: Final = "backup-1"
"""The feature of agents that send and receive /data."""
OWN: Final = ("lost+found", "piimage", "ssh")
"""Names below /data that are not backed up and cannot be restored: they belong to the card."""
_BLOCK: Final = tarfile.BLOCKSIZE
_KINDS: Final = {
    "file": tarfile.REGTYPE,
    "folder": tarfile.DIRTYPE,
    "link": tarfile.SYMTYPE,
}
_APPLY_S: Final = 3600.0
_EVENT_S: Final = 120.0


@dataclass(frozen=True)
class BackedUp:
    """What a backup contains."""

    entries: int
    """Folders, files and links, without those of an earlier, interrupted backup."""
    left_out: int
    """Devices, sockets and pipes, and names that are not UTF-8."""
    shrunk: tuple[str, ...]
    """Files that became shorter while they were read; zeros fill their ends."""
    after: str
    """The entry after which an interrupted backup went on; empty if there was none."""


def back_up(link: Link, target: Path) -> BackedUp:
    """Write the data of a Pi to the archive `target`, which appears when it is complete.

    What arrived is kept in `target` with ``.part`` added; the next call goes on there. Raises
    InputError ``backup.exists``, PiimageError ``deploy.cannot``, and the errors of `Link`.
    """
    _require_feature(link)
    if os.path.lexists(target):
        raise InputError(
            "backup.exists", "the file exists already", place=str(target), hint="name another file"
        )
    part = target.with_name(f"{target.name}.part")
    with host.writing(part), os.fdopen(_open_private(part), "r+b") as file:
        after, end = _complete_entries(file)
        file.seek(end)
        file.truncate()
        link.tell("backup", after=after)
        receiver = _Receiver(link, file)
        answer = receiver.receive()
        file.write(bytes(2 * _BLOCK))  # the end of an archive (POSIX.1, pax)
        file.flush()
        os.fsync(file.fileno())
    durable.put(part, target)
    return BackedUp(
        link.checked(lambda: answers.number(answer, "sent")),
        link.checked(lambda: answers.number(answer, "left_out")),
        tuple(receiver.shrunk),
        after,
    )


def _open_private(part: Path) -> int:
    return os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, durable.PRIVATE)


def _complete_entries(file: IO[bytes]) -> tuple[str, int]:
    """Return the path of the last complete entry of an archive that was cut off, and its end."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    path, end = "", 0
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                if (behind := _end_of(member)) > size:
                    break
                path, end = member.name, behind
    except tarfile.TarError:
        pass  # empty, or cut off within a header: what is complete counts
    return path, end


def _end_of(member: tarfile.TarInfo) -> int:
    """Return the offset behind a member's last block."""
    size = member.size if member.isreg() else 0
    return member.offset_data + -(-size // _BLOCK) * _BLOCK


class _Receiver:
    """Writes the entries that an agent sends."""

    def __init__(self, link: Link, file: IO[bytes]) -> None:
        self.shrunk: list[str] = []
        self._link = link
        self._file = file

    def receive(self) -> Answer:
        """Write entries until the agent's response, and return that."""
        while True:
            answer, _ = self._link.event(_EVENT_S)
            if "event" not in answer:
                return answer
            member = self._link.checked(lambda: _member(answer))  # noqa: B023  # called at once
            self._file.write(member.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict"))
            if member.isreg():
                self._receive_file(member)

    def _receive_file(self, member: tarfile.TarInfo) -> None:
        digest, left = hashlib.sha256(), member.size
        while True:
            piece, data = self._link.event(_EVENT_S)
            if piece.get("event") != "bytes" or len(data) > left:
                raise self._link.bad("the bytes of a file do not have the announced size")
            digest.update(data)
            self._file.write(data)
            left -= len(data)
            if "sha256" in piece:
                break
        if left or piece["sha256"] != digest.hexdigest():
            raise self._link.bad(f"the bytes of {member.name} are not those that were read")
        self._file.write(bytes(-member.size % _BLOCK))
        if piece.get("shrunk") is True:
            self.shrunk.append(member.name)


def _member(answer: Answer) -> tarfile.TarInfo:
    member = tarfile.TarInfo(answers.text(answer, "path"))
    kind = answers.text(answer, "kind")
    if kind not in _KINDS or member.name.startswith("/") or ".." in member.name.split("/"):
        raise BadAnswer("an entry has an invalid kind or path")
    member.type = _KINDS[kind]
    member.mode = answers.number(answer, "mode", 0, 0o7777)
    member.uid = answers.number(answer, "uid", 0, 1 << 32)
    member.gid = answers.number(answer, "gid", 0, 1 << 32)
    member.mtime = answers.number(answer, "mtime", 0, 1 << 40)
    member.linkname = answers.text(answer, "target")
    member.size = answers.number(answer, "size", 0, 1 << 45) if kind == "file" else 0
    return member


# --- the way back


@dataclass(frozen=True)
class Archive:
    """An archive that can be restored."""

    path: Path
    members: tuple[tarfile.TarInfo, ...]
    """In an order in which folders come before what they contain."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names directly below /data that it replaces, in order."""
        return tuple(sorted({member.name.partition("/")[0] for member in self.members}))

    @property
    def size(self) -> int:
        """The bytes of its files."""
        return sum(member.size for member in self.members)


@contextmanager
def opened(path: Path) -> Iterator[tarfile.TarFile]:
    """Yield an archive, compressed or not; raises InputError ``backup.not-an-archive``."""
    try:
        with tarfile.open(path) as archive:
            yield archive
    except (tarfile.TarError, EOFError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            "backup.not-an-archive", f"it cannot be read as a tar archive ({reason})",
            place=str(path), hint="name a file that `piimage backup` wrote",
        ) from error  # fmt: skip


def read_archive(path: Path) -> Archive:
    """Return the content of an archive, all of it judged.

    Archives that tar wrote in /data are read as well. Raises InputError ``backup.not-an-archive``,
    and ``backup.bad-entry`` for each entry that cannot be restored.
    """
    with opened(path) as file:
        members = [member for member in file if _normalize(member)]
    errors = [
        InputError("backup.bad-entry", f"{member.name}: {reason}", place=str(path))
        for member in members
        if (reason := _objection(member))
    ]
    if errors:
        raise ErrorGroup(errors)
    return Archive(path, tuple(_with_folders(members)))


def _normalize(member: tarfile.TarInfo) -> bool:
    """Take the ``./`` from a name; return whether anything remains, such as not of ``./``."""
    member.name = member.name.removeprefix("./").rstrip("/")
    return member.name not in ("", ".")


def _objection(member: tarfile.TarInfo) -> str:
    parts = member.name.split("/")
    if parts[0] in OWN:
        return "this folder is piimage's own, and is not restored"
    if {"", ".", ".."} & set(parts) or "\0" in member.name:
        return "the path leads out of /data"
    if not (member.isreg() or member.isdir() or member.issym()):
        return "only folders, files and symbolic links can be restored"
    return ""


def _with_folders(members: Sequence[tarfile.TarInfo]) -> Iterator[tarfile.TarInfo]:
    """Give the members, and before them the folders above them that the archive does not have."""
    known: set[str] = set()
    for member in members:
        for above in reversed(Path(member.name).parents[:-1]):
            if str(above) not in known:
                folder = tarfile.TarInfo(str(above))
                folder.type, folder.mode = tarfile.DIRTYPE, 0o755
                known.add(str(above))
                yield folder
        known.add(member.name)
        yield member


def restore(link: Link, archive: Archive, wait: int, show: Callable[[str], None]) -> dict[str, str]:
    """Replace the data of a Pi by that of an archive; return the services that are not up, and why.

    Raises PiimageError ``deploy.cannot``, ``deploy.refused``, and the errors of `Link`.
    """
    _require_feature(link)
    digest = _digest(archive.path)
    answer = link.ask("restore", archive=digest, size=archive.size, wait=wait)
    begin = link.checked(lambda: answers.number(answer, "next", 0, len(archive.members)))
    if begin:
        show(f"going on after {archive.members[begin - 1].name}")
    with opened(archive.path) as file:
        for member in archive.members[begin:]:
            _send_member(link, file, member)
    link.say("done")
    final = link.answer(_APPLY_S)
    return link.checked(lambda: answers.mapping(final, "troubles"))


def _send_member(link: Link, file: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    kind = "file" if member.isreg() else "link" if member.issym() else "folder"
    link.say(
        "entry", path=member.name, kind=kind, mode=member.mode & 0o7777, uid=member.uid,
        gid=member.gid, mtime=max(0, int(member.mtime)), target=member.linkname, size=member.size,
    )  # fmt: skip
    if kind != "file":
        return
    content = file.extractfile(member)
    assert content is not None  # noqa: S101  # a regular file has content
    digest = hashlib.sha256()
    while data := content.read(MAX_BODY):
        digest.update(data)
        link.say("data", data)
    link.say("data", b"", sha256=digest.hexdigest())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require_feature(link: Link) -> None:
    if FEATURE not in link.features:
        raise PiimageError(
            "deploy.cannot", "this agent can neither send nor receive /data", place=link.host.name,
            hint="build the file again and flash the card: the agent is part of the system",
        )  # fmt: skip
