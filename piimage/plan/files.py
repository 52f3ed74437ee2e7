"""What `files:` lays over the system: LinuxKit's meanings of one path said twice, owners, folders.

Source: LinuxKit's src/cmd/linuxkit/moby/build.go, `filesystem`; decision 121.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml

from piimage.compose.rules import File, Folder
from piimage.config.laid import leading, spelled
from piimage.config.models import Appliance
from piimage.container.spec import container_ids
from piimage.errors import InputError
from piimage.locking.folders import entries

if TYPE_CHECKING:
    from piimage.config.models import File as Described

# Folders of the system, which a file below them leaves as they are; all others have 0755.
_MODES: Final = {"root": 0o700, "tmp": 0o1777, "var/tmp": 0o1777}
_SYSTEM: Final = frozenset(
    {"bin", "boot", "containers", "data", "dev", "etc", "home", "lib", "media", "mnt", "opt",
     "proc", "root", "run", "sbin", "srv", "sys", "tmp", "usr", "usr/bin", "usr/include", "usr/lib",
     "usr/local", "usr/sbin", "usr/share", "var", "var/cache", "var/lib", "var/log", "var/spool",
     "var/tmp"}
)  # fmt: skip


@dataclass(frozen=True)
class Stated:
    """The files, folders and links of the `files:` section, each path once."""

    files: tuple[File, ...]
    folders: tuple[Folder, ...]
    links: Mapping[str, str]

    @property
    def paths(self) -> frozenset[str]:
        """Where something else than a folder lies."""
        return frozenset({*(one.path for one in self.files), *self.links})


def stated(appliance: Appliance, own: Iterable[File]) -> Stated:
    """Return what `files:` says, over the system's `own` files.

    The later entry of one path counts. A folder that only leads to a file gets the owner of the
    first file below it, and its mode with leave to search where there is leave to do anything;
    folders of the system stay as they are.

    Raises InputError ``plan.unknown-owner``.
    """
    ids = container_ids([entry.name for entry in entries(appliance)])
    said = {spelled(one.path): one for one in appliance.files if _is_there(one)}
    files: list[File] = []
    folders: dict[str, Folder] = {}
    links: dict[str, str] = {}
    for path, one in said.items():
        owner = _id(one.uid, ids), _id(one.gid, ids)
        if one.directory:
            folders[path] = Folder(path, one.permissions, *owner)
        elif one.symlink:
            links[path] = one.symlink
        else:
            files.append(File(path, _content(one, appliance), one.permissions, *owner))
    known = {*_SYSTEM, *(folder for file in own for folder in leading(file.path))}
    for path, one in said.items():
        lead = Folder("", _searchable(one.permissions), _id(one.uid, ids), _id(one.gid, ids))
        for folder in leading(path):
            if folder not in said and folder not in known:
                folders.setdefault(folder, replace(lead, path=folder))
            elif folder in _MODES:
                folders.setdefault(folder, Folder(folder, _MODES[folder]))
    return Stated(tuple(files), tuple(folders[path] for path in sorted(folders)), links)


def _is_there(one: Described) -> bool:
    return not (one.source and one.optional) or Path(one.source).is_file()


def _content(one: Described, appliance: Appliance) -> bytes:
    if one.contents is not None:
        return one.contents.encode()
    if one.source is not None:
        return Path(one.source).read_bytes()
    return _described(appliance, one.metadata or "json").encode()


def _described(appliance: Appliance, form: str) -> str:
    """Return the file's configuration, as LinuxKit's `metadata:` wants it: yaml or json."""
    if form == "json":
        return appliance.model_dump_json(by_alias=True, exclude_defaults=True)
    data = appliance.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def _searchable(mode: int) -> int:
    """Return `mode` for a folder: who may do anything with it may search it as well."""
    for who in (0o700, 0o070, 0o007):
        if mode & who:
            mode |= who & 0o111
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


def without(own: Sequence[File], over: Stated) -> list[File]:
    """Return those of the system's `own` files that nothing of `over` takes the place of."""
    return [one for one in own if one.path not in over.paths]
