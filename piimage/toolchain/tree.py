"""Unpacks packages of the build machine's architecture into a folder, to run their programs.

The folder is a cache in the store, named by a digest of the packages. It is written without root:
owners and devices are left out, and no link of a package is followed on the host.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piimage.debian.deb import data_stream
from piimage.errors import InputError
from piimage.patterns import matcher
from piimage.run import Runner
from piimage.store import Blob, Store
from piimage.toolchain.sandbox import WORK
from piimage.trees import MERGED, Entry, Kind, Placement, folder, read_tar, symlink, tar_chunks

_FORMAT: Final = "3"  # increase it when the same packages unpack to a different tree
_DROPPED: Final = (
    "usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian",
    "usr/share/doc-base", "usr/share/bug", "var", "etc/init.d",
)  # fmt: skip
_LINKS: Final = {
    **MERGED,
    "usr/bin/awk": "mawk",  # as update-alternatives would link it
    # Where gcc looks for them. binutils-aarch64-linux-gnu has these links on other architectures;
    # on arm64 they are in another package, binutils, on which the compiler does not depend.
    "usr/aarch64-linux-gnu/bin/as": "../../bin/aarch64-linux-gnu-as",
    "usr/aarch64-linux-gnu/bin/ld": "../../bin/aarch64-linux-gnu-ld",
}
_FOLDERS: Final = ("dev", "etc", "proc", "tmp", WORK.strip("/"))
_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class Tool:
    """A locked package: its name and version, for messages, and its .deb."""

    name: str
    deb: Blob


def build_architecture(machine: str = "") -> str:
    """Return Debian's name for the build machine's architecture (`machine`: of ``uname -m``).

    Raises InputError ``toolchain.unknown-machine``.
    """
    found = machine or platform.machine()
    if found not in _MACHINES:
        raise InputError(
            "toolchain.unknown-machine",
            f"there is no toolchain for a build machine of the architecture {found}",
            hint=f"build on one of: {', '.join(sorted(set(_MACHINES.values())))}",
        )
    return _MACHINES[found]


@dataclass(frozen=True)
class Tools:
    """Packages of any architectures, which are unpacked in this order into one tree.

    If two packages have the same file (Debian's ``Multi-Arch: same``), the first file is kept.
    """

    packages: tuple[Tool, ...]

    @property
    def key(self) -> str:
        """The digest of all that determines the tree."""
        words = (_FORMAT, *(tool.deb.sha256 for tool in self.packages))
        return hashlib.sha256(" ".join(words).encode()).hexdigest()

    def entries(self, store: Store, runner: Runner) -> Iterator[Entry]:
        """Give the tree: each path once, none below a symbolic link."""
        placement = Placement()
        placement.assume({name: MERGED[name] for name in MERGED})
        yield from placement.place(symlink(path, target) for path, target in _LINKS.items())
        yield from placement.place(folder(path) for path in _FOLDERS)
        dropped = matcher(_DROPPED)
        for tool in self.packages:
            path = store.verified(tool.deb)
            with data_stream(runner, path, tool.name) as stream:
                for entry in read_tar(stream, tool.name):
                    if not dropped(placement.real(entry.path)) and _fits(entry, placement):
                        yield from placement.place([entry])

    def folder(self, store: Store, runner: Runner) -> Path:
        """Return the folder with the tree; unpack the packages if it is missing."""
        target = store.root / "trees" / self.key
        with store.lock(f"tree-{self.key[:2]}"):
            if not target.is_dir():
                _write(self.entries(store, runner), target)
            os.utime(target)  # the time of last use, for the cache's collection
        return target

    def tar(self, store: Store, runner: Runner) -> Iterator[bytes]:
        """Give the same tree as a tar."""
        return tar_chunks(self.entries(store, runner))


def _fits(entry: Entry, placement: Placement) -> bool:
    if entry.kind in (Kind.CHARACTER, Kind.BLOCK, Kind.FIFO):
        return False
    if entry.kind is Kind.HARD_LINK and not placement.has(entry.link):
        return False
    return entry.kind is Kind.DIRECTORY or not placement.has(entry.path)


def _write(entries: Iterator[Entry], target: Path) -> None:
    """Write the tree beside `target` and rename it, so that `target` is never incomplete."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=target.parent, prefix=".unpacking-"))
    try:
        for entry in entries:
            _write_entry(entry, beside)
        beside.chmod(0o755)
        beside.replace(target)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def _write_entry(entry: Entry, root: Path) -> None:
    # Placement resolved the paths: only their last part can be a link.
    path = root / entry.path
    match entry.kind:
        case Kind.DIRECTORY:
            path.mkdir(exist_ok=True)
        case Kind.SYMLINK:
            with contextlib.suppress(FileExistsError):
                path.symlink_to(entry.link)
        case Kind.HARD_LINK:
            path.hardlink_to(root / entry.link)
        case _:
            with path.open("wb") as file:
                for chunk in entry.content():
                    file.write(chunk)
            path.chmod(0o755 if entry.mode & 0o111 else 0o644)
