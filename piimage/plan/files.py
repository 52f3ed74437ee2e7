"""The files, folders and links of `files:`, with LinuxKit's rules for repeated paths and owners.

Source: LinuxKit's src/cmd/linuxkit/moby/build.go, `filesystem`; decision 121.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml

from piimage.compose.rules import File, Folder
from piimage.config.laid import leading, normal_path
from piimage.config.models import Appliance
from piimage.container.spec import container_ids
from piimage.errors import InputError
from piimage.locking.folders import entries

if TYPE_CHECKING:
    from piimage.config.models import File as FileEntry

# Folders of the system keep their mode when a file is laid into them; those not listed have 0755.
_MODES: Final = {"root": 0o700, "tmp": 0o1777, "var/tmp": 0o1777}
_SYSTEM: Final = frozenset(
    {"bin", "boot", "containers", "data", "dev", "etc", "home", "lib", "media", "mnt", "opt",
     "proc", "root", "run", "sbin", "srv", "sys", "tmp", "usr", "usr/bin", "usr/include", "usr/lib",
     "usr/local", "usr/sbin", "usr/share", "var", "var/cache", "var/lib", "var/log", "var/spool",
     "var/tmp"}
)  # fmt: skip


@dataclass(frozen=True)
class Overlay:
    """What `files:` lays over the system: files, folders and links, each path once."""

    files: tuple[File, ...]
    folders: tuple[Folder, ...]
    links: Mapping[str, str]

    @property
    def paths(self) -> frozenset[str]:
        """The paths of files and links."""
        return frozenset({*(file.path for file in self.files), *self.links})


def overlay_of(appliance: Appliance, own: Iterable[File]) -> Overlay:
    """Return what `files:` lays over the system's `own` files.

    If a path is repeated, the last entry counts. A parent folder without an entry gets the owner of
    the first file in it, and the file's mode plus search permission for everyone with any
    permission; folders of the system stay as they are.

    Raises InputError ``plan.unknown-owner``.
    """
    ids = container_ids([entry.name for entry in entries(appliance)])
    described = {normal_path(item.path): item for item in appliance.files if _exists(item)}
    files: list[File] = []
    folders: dict[str, Folder] = {}
    links: dict[str, str] = {}
    for path, item in described.items():
        owner = _id(item.uid, ids), _id(item.gid, ids)
        if item.directory:
            folders[path] = Folder(path, item.permissions, *owner)
        elif item.symlink:
            links[path] = item.symlink
        else:
            files.append(File(path, _content(item, appliance), item.permissions, *owner))
    known = {*_SYSTEM, *(folder for file in own for folder in leading(file.path))}
    for path, item in described.items():
        parent = Folder("", _searchable(item.permissions), _id(item.uid, ids), _id(item.gid, ids))
        for folder in leading(path):
            if folder not in described and folder not in known:
                folders.setdefault(folder, replace(parent, path=folder))
            elif folder in _MODES:
                folders.setdefault(folder, Folder(folder, _MODES[folder]))
    return Overlay(tuple(files), tuple(folders[path] for path in sorted(folders)), links)


def _exists(item: FileEntry) -> bool:
    return not (item.source and item.optional) or Path(item.source).is_file()


def _content(item: FileEntry, appliance: Appliance) -> bytes:
    if item.contents is not None:
        return item.contents.encode()
    if item.source is not None:
        return Path(item.source).read_bytes()
    return _metadata(appliance, item.metadata or "json").encode()


def _metadata(appliance: Appliance, form: str) -> str:
    """Return the configuration for LinuxKit's `metadata:`, in the form yaml or json."""
    if form == "json":
        return appliance.model_dump_json(by_alias=True, exclude_defaults=True)
    data = appliance.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def _searchable(mode: int) -> int:
    """Return `mode` plus search permission for owner, group or others with any permission."""
    for mask in (0o700, 0o070, 0o007):
        if mode & mask:
            mode |= mask & 0o111
    return mode


def _id(value: int | str, ids: Mapping[str, int]) -> int:
    if isinstance(value, int):
        return value
    if value in ("", "root"):
        return 0
    if value not in ids:
        raise InputError(
            "plan.unknown-owner",
            f"no container is named {value!r}",
            place="files",
            hint="write a number, or the name of a container of the file",
        )
    return ids[value]


def without(own: Sequence[File], overlay: Overlay) -> list[File]:
    """Return the system's `own` files that `overlay` does not replace."""
    return [file for file in own if file.path not in overlay.paths]
