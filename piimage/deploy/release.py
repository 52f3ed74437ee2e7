"""What is deployed: the containers of a version, and what its slot would have to be."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

from piimage.boards import PrefixLayout
from piimage.card.squashfs import Compression, write_squashfs
from piimage.compose.containers import decided
from piimage.deploy.answers import Slot
from piimage.errors import InputError, PiimageError
from piimage.oci.spec import Container
from piimage.plan.agent import is_agent
from piimage.plan.slot import MANIFEST, Version, digest, slot_files
from piimage.run import Runner
from piimage.steps import Job
from piimage.store import Blob, Store
from piimage.trees import Entry, Kind, file, folder, tar_chunks

MACHINE: Final = "aarch64"
"""The architecture of every board, as uname(2) says it."""

_COMPARED: Final = ("config.json", "layers", "container.env", "prestart", "poststart")
_PATH: Final = re.compile(
    r"(onboot|services|onshutdown)/[A-Za-z0-9_][A-Za-z0-9_.-]*/"
    r"(config\.json|layers|container\.env|prestart|poststart)"
    r"|finit\.d/[A-Za-z0-9_][A-Za-z0-9_.-]*\.conf"
    r"|volumes/[A-Za-z0-9_][A-Za-z0-9_.-]*/(layers|container\.env)"
)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
# Each version has its own: they name the containers.
_OWN: Final = frozenset({"initramfs.img", MANIFEST})


@dataclass(frozen=True)
class Release:
    """One version, ready to travel."""

    board: str
    kernel: str
    system: Mapping[str, str]
    """Titles of the system's layers by digest, lowest first; "" for the agent's: it may differ."""
    files: Mapping[str, str]
    """Digests of the slot's other files by path."""
    folders: Mapping[str, bytes]
    """The files of the containers layer by path."""
    definitions: tuple[Container, ...]
    """The containers that the deploy brings: the file's, but for those that `only` leaves out."""
    containers: str
    """Digest of the containers layer."""
    layers: Mapping[str, Blob]
    """Every layer of the containers that this host has, and the containers layer."""
    note: str

    @property
    def services(self) -> tuple[str, ...]:
        """The names of the services that the deploy brings."""
        return tuple(sorted(one.name for one in self.definitions if one.kind == "services"))

    @property
    def with_devices(self) -> tuple[str, ...]:
        """The folders of the containers that ask the system for a device before they start."""
        return tuple(sorted(f"{one.kind}/{one.folder}" for one in self.definitions if one.devices))

    @property
    def patience(self) -> int:
        """The longest time after the start of a service, in seconds, in which checks may fail."""
        checks = (one.config.health for one in self.definitions)
        return max((check.start for check in checks if check is not None), default=0)

    def needed(self) -> tuple[str, ...]:
        """Return the digests of all layers that its containers consist of, each once."""
        lists = (data for path, data in self.folders.items() if path.endswith("/layers"))
        return tuple(dict.fromkeys(one for data in lists for one in data.decode().split()))

    def differences(self, slot: Slot) -> list[str]:
        """Return the parts of the system, in words, that are not those of the slot."""
        found = [] if self.kernel == slot.kernel else [f"the kernel ({slot.kernel})"]
        found += [title for one, title in self.system.items() if title and one not in slot.system]
        gone = set(slot.system) - set(self.system)
        if gone and len(slot.system) > len(self.system):
            found.append("a system layer that it has and the file has not")
        paths = {*self.files, *slot.files} - _OWN
        differing = sorted(path for path in paths if self.files.get(path) != slot.files.get(path))
        return [*found, *(path for path in differing if path != "kernel.img" or not found)]


def release_of(version: Version, job: Job, note: str) -> Release:
    """Return the release of a version that was made."""
    layout = version.board.layout
    files = slot_files(version, job, layout.slots[0] if isinstance(layout, PrefixLayout) else "")
    titles = [(one, "" if is_agent(one) else one.title) for one in version.system.layers]
    system = {job.blob(one, "squashfs").sha256: title for one, title in titles}
    containers = job.blob(version.containers, "squashfs")
    blobs = [job.blob(layer, "squashfs") for layer in version.containers.parts]
    return Release(
        board=version.board.name,
        kernel=job.file(version.system.kernel, "release").read_text(),
        system=system,
        files={
            path: digest(content)
            for path, content in files.items()
            if not path.startswith("layers/") and path not in _OWN
        },
        folders=_contents(version.containers.tree(job)),
        definitions=tuple(decided(plan, job) for plan in version.containers.containers),
        containers=containers.sha256,
        layers={one.sha256: one for one in (*blobs, containers)},
        note=note,
    )


def _contents(tree: Iterable[Entry]) -> dict[str, bytes]:
    return {one.path: b"".join(one.content()) for one in tree if one.kind is Kind.FILE}


def digests_of(folders: Mapping[str, bytes]) -> dict[str, str]:
    """Return the digest of each file."""
    return {path: hashlib.sha256(data).hexdigest() for path, data in folders.items()}


def changed_containers(
    kind: str, new: Mapping[str, str], old: Mapping[str, str]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return which containers of a kind differ, are new, and are gone, by digests of their files.

    What counts is what appliance/rootfs/usr/lib/piimage/switch looks at.
    """
    was, now = _by_folder(kind, old), _by_folder(kind, new)
    differ = [name for name in now if name in was and now[name] != was[name]]
    fresh = [name for name in now if name not in was]
    gone = [name for name in was if name not in now]
    return tuple(differ), tuple(fresh), tuple(gone)


def _by_folder(kind: str, digests: Mapping[str, str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for path, one in sorted(digests.items()):
        parts = path.split("/")
        if len(parts) == 3 and parts[0] == kind and parts[2] in _COMPARED:
            found.setdefault(parts[1], {})[parts[2]] = one
    return found


def only(
    release: Release, names: Collection[str], running: Mapping[str, str], runner: Runner,
    store: Store,
) -> Release:  # fmt: skip
    """Return the release in which all but the services `names` stay as they are `running`.

    `running` are the files of a Pi's containers layer; raises PiimageError ``deploy.bad-folders``
    when they are not such files.
    """
    require_services(release.services, names)
    for path, text in running.items():
        lines = text.split() if path.endswith("/layers") else ()
        if not _PATH.fullmatch(path) or not all(_DIGEST.fullmatch(one) for one in lines):
            raise PiimageError(
                "deploy.bad-folders",
                f"it has a container that cannot be taken over: {path[:80]!r}",
                hint="deploy the whole file, without --service",
            )  # fmt: skip
    kept = {p: text.encode() for p, text in running.items() if _shared(p) or not _belongs(p, names)}
    folders = {**kept, **{p: data for p, data in release.folders.items() if _belongs(p, names)}}
    layer = _containers_layer(folders, runner, store)
    definitions = tuple(
        one for one in release.definitions if one.kind == "services" and one.name in names
    )
    return replace(
        release, folders=folders, definitions=definitions, containers=layer.sha256,
        layers={**release.layers, layer.sha256: layer},
    )  # fmt: skip


def require_services(known: Collection[str], names: Collection[str]) -> None:
    """Raise InputError ``deploy.unknown-service`` unless all `names` are `known`, the file's."""
    for name in names:
        if name not in known:
            raise InputError(
                "deploy.unknown-service", f"the file has no service {name!r}", place="--service",
                hint=f"there are: {', '.join(known)}",
            )  # fmt: skip


def _belongs(path: str, names: Collection[str]) -> bool:
    parts = path.split("/")
    if parts[0] == "finit.d":
        return parts[1].removesuffix(".conf") in names
    return _shared(path) or (parts[0] == "services" and parts[1] in names)


def _shared(path: str) -> bool:
    """Tell volumes: both the services that stay and those that come may bind theirs."""
    return path.startswith("volumes/")


def _containers_layer(folders: Mapping[str, bytes], runner: Runner, store: Store) -> Blob:
    with store.scratch() as scratch:
        target: Path = scratch / "layer"
        chunks = tar_chunks(_entries(folders))
        write_squashfs(runner, chunks, target, Compression(level=3))
        return store.add_file(target)


def _entries(folders: Mapping[str, bytes]) -> Iterator[Entry]:
    above = {str(parent) for path in folders for parent in PurePosixPath(path).parents}
    always = {"onboot", "services", "onshutdown", "finit.d"}
    for name in sorted((above | always) - {"."}):
        yield folder(name)
    for path, data in sorted(folders.items()):
        yield file(path, data)
