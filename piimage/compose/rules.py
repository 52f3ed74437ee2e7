"""What a root file system keeps of its packages, and what their maintainer scripts would have done.

Rules are data beside the list of packages: no maintainer script ever runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from piimage.patterns import matcher
from piimage.store import Blob
from piimage.trees import Entry, file, folder, symlink


@dataclass(frozen=True)
class User:
    """A line of /etc/passwd and one of /etc/shadow; ``*`` is a password that nobody can type."""

    name: str
    uid: int
    gid: int
    gecos: str = ""
    home: str = "/nonexistent"
    shell: str = "/usr/sbin/nologin"
    password: str = "*"  # noqa: S105  # the field that no password matches
    shadow: bool = True
    """Whether it has a line in /etc/shadow; without one there is no password to match."""


@dataclass(frozen=True)
class Group:
    """A line of /etc/group."""

    name: str
    gid: int
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class Folder:
    """A folder that must be there, empty if no package fills it."""

    path: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class File:
    """A file whose content is known: a small one as bytes, another as a blob of the store."""

    path: str
    content: bytes | Blob
    mode: int = 0o644
    uid: int = 0
    gid: int = 0

    @property
    def private(self) -> bool:
        """Whether only its owner may read it."""
        return not self.mode & 0o077


@dataclass(frozen=True)
class Bundle:
    """One file that is several others joined, in the order of their paths (certificates)."""

    path: str
    pattern: str


@dataclass(frozen=True)
class Rules:
    """What is done to the packages of one root.

    A path that matches a `drop` and no `keep` does not reach the layer. In both, ``*`` stays within
    one folder and ``**`` does not; a folder that is dropped takes what is in it along.
    """

    drop: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[Folder, ...] = ()
    files: tuple[File, ...] = ()
    bundles: tuple[Bundle, ...] = ()
    users: tuple[User, ...] = ()
    groups: tuple[Group, ...] = ()

    def wants(self, path: str) -> bool:
        """Say whether a package's `path` reaches the layer."""
        dropped = matcher(self.drop)(f"{path}")
        return not dropped or bool(matcher(self.keep)(path))


def added(rules: Rules) -> Iterator[Entry]:
    """Give what `rules` put beside the packages, apart from files that blobs hold."""
    leads = [one for one in rules.folders if _leads(one.path, rules.links)]
    for one in leads:
        yield folder(one.path, one.mode, one.uid, one.gid)
    for path, target in sorted(rules.links.items()):
        yield symlink(path, target)
    for one in (one for one in rules.folders if one not in leads):
        yield folder(one.path, one.mode, one.uid, one.gid)
    yield from accounts(rules.users, rules.groups)


def _leads(path: str, links: Iterable[str]) -> bool:
    """Say whether a link lies below `path`: else it would be made on the way, as any folder."""
    return any(link.startswith(f"{path}/") for link in links)


def accounts(users: Iterable[User], groups: Iterable[Group]) -> Iterator[Entry]:
    """Give /etc/passwd, /etc/group and /etc/shadow."""
    users, groups = tuple(users), tuple(groups)
    if users:
        yield file("etc/passwd", _lines(_passwd(user) for user in users))
        shadow = (f"{user.name}:{user.password}:::::::" for user in users if user.shadow)
        yield file("etc/shadow", _lines(shadow), 0o600)
    if groups:
        yield file("etc/group", _lines(_group(group) for group in groups))


def _passwd(user: User) -> str:
    return f"{user.name}:x:{user.uid}:{user.gid}:{user.gecos}:{user.home}:{user.shell}"


def _group(group: Group) -> str:
    return f"{group.name}:x:{group.gid}:{','.join(group.members)}"


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
