"""Rules of a root file system: which files of the packages it keeps, and which it adds.

The rules stand in for maintainer scripts, none of which ever runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from piimage.config.rootfs import Group, User
from piimage.patterns import matcher
from piimage.store import Blob
from piimage.trees import Entry, file, folder, symlink


@dataclass(frozen=True)
class Folder:
    """A folder that exists even if no package puts anything into it."""

    path: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class File:
    """A file; its content is bytes if it is small, else a blob of the store."""

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
    """A file that joins all files matching `pattern`, in the packages' order (certificates)."""

    path: str
    pattern: str


@dataclass(frozen=True)
class Rules:
    """Which files of the packages of one root a layer keeps, and which entries it adds.

    A path that matches `drop` and not `keep` is left out of the layer. In both, ``*`` matches
    within one folder and ``**`` across folders; if a folder is dropped, so is its content.
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
        """Tell whether the layer keeps `path` of a package."""
        return not matcher(self.drop)(path) or matcher(self.keep)(path)


def added(rules: Rules) -> Iterator[Entry]:
    """Yield the entries that `rules` add to the packages, except for `files`."""
    # A parent of a link comes before the link, which would else create it with default owner.
    parents = [folder for folder in rules.folders if _is_parent(folder.path, rules.links)]
    others = [folder for folder in rules.folders if folder not in parents]
    yield from map(_folder_entry, parents)
    for path, target in sorted(rules.links.items()):
        yield symlink(path, target)
    yield from map(_folder_entry, others)
    yield from accounts(rules.users, rules.groups)


def _folder_entry(item: Folder) -> Entry:
    return folder(item.path, item.mode, item.uid, item.gid)


def _is_parent(path: str, links: Iterable[str]) -> bool:
    return any(link.startswith(f"{path}/") for link in links)


def accounts(users: Iterable[User], groups: Iterable[Group]) -> Iterator[Entry]:
    """Yield /etc/passwd, /etc/shadow and /etc/group."""
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
