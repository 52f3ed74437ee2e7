"""What a deploy sends: the containers of a version, and the system that they need."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Final

from piimage.board import PrefixLayout
from piimage.card.squashfs import Compression, write_squashfs
from piimage.container.spec import Container
from piimage.deploy.answers import Slot
from piimage.errors import InputError, PiimageError
from piimage.plan.agent import is_agent
from piimage.plan.slot import MANIFEST, SIGNATURE, Version, digest, slot_files, slot_firmware
from piimage.run import Runner
from piimage.steps import Job
from piimage.store import Blob, Store
from piimage.trees import Entry, Kind, file, folder, tar_chunks

MACHINE: Final = "aarch64"
"""The architecture of every board, as uname(2) names it."""

_COMPARED: Final = ("config.json", "layers", "container.env", "prestart", "poststart")
_PATH: Final = re.compile(
    r"(onboot|services|onshutdown)/[A-Za-z0-9_][A-Za-z0-9_.-]*/"
    r"(config\.json|layers|container\.env|prestart|poststart)"
    r"|finit\.d/[A-Za-z0-9_][A-Za-z0-9_.-]*\.conf"
    r"|volumes/[A-Za-z0-9_][A-Za-z0-9_.-]*/(layers|container\.env)"
    r"|apparmor/[A-Za-z0-9_][A-Za-z0-9_.-]*"
)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
# These files name the containers, so every version has its own.
_OF_VERSION: Final = frozenset({"initramfs.img", MANIFEST, SIGNATURE})


@dataclass(frozen=True)
class Release:
    """One version, ready to be sent."""

    board: str
    kernel: str
    system: Mapping[str, str]
    """Titles of the system's layers by digest, lowest first; "" for the agent, which may differ."""
    files: Mapping[str, str]
    """Digests of the slot's other files by path."""
    folders: Mapping[str, bytes]
    """The files of the containers layer by path."""
    definitions: tuple[Container, ...]
    """The containers to deploy: those of the file, or those that `select_services` selects."""
    containers: str
    """Digest of the containers layer."""
    layers: Mapping[str, Blob]
    """All layers of the containers, and the containers layer, by digest."""
    note: str
    by_prefix: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """`files` for each folder, if slots are folders: a few files name their folder."""

    @property
    def services(self) -> tuple[str, ...]:
        """The names of the services that the deploy brings."""
        return tuple(sorted(entry.name for entry in self.definitions if entry.kind == "services"))

    @property
    def with_devices(self) -> tuple[str, ...]:
        """The folders of the containers that need a device of the system."""
        return self._folders(lambda container: bool(container.devices))

    @property
    def with_secrets(self) -> tuple[str, ...]:
        """The folders of the containers that need a secret of the Pi."""
        return self._folders(lambda container: bool(container.config.secrets))

    @property
    def with_schedules(self) -> tuple[str, ...]:
        """The folders of the services that run at certain times."""
        return self._folders(lambda container: container.config.schedule is not None)

    def _folders(self, is_meant: Callable[[Container], bool]) -> tuple[str, ...]:
        return tuple(sorted(f"{c.kind}/{c.folder}" for c in self.definitions if is_meant(c)))

    @property
    def patience(self) -> int:
        """The longest time after the start of a service, in seconds, in which checks may fail."""
        checks = (entry.config.health for entry in self.definitions)
        return max((check.start for check in checks if check is not None), default=0)

    def needed(self) -> tuple[str, ...]:
        """Return the digests of all layers of the containers, each once."""
        lists = (data for path, data in self.folders.items() if path.endswith("/layers"))
        return tuple(dict.fromkeys(digest for data in lists for digest in data.decode().split()))

    def differences(self, slot: Slot) -> list[str]:
        """Return a description of each part of the system that differs from the slot."""
        parts = [] if self.kernel == slot.kernel else [f"the kernel ({slot.kernel})"]
        parts += [
            title for digest, title in self.system.items() if title and digest not in slot.system
        ]
        gone = set(slot.system) - set(self.system)
        if gone and len(slot.system) > len(self.system):
            parts.append("a system layer that only the Pi has")
        files = self.by_prefix.get(slot.prefix, self.files)
        paths = {*files, *slot.files} - _OF_VERSION
        differing = sorted(path for path in paths if files.get(path) != slot.files.get(path))
        return [*parts, *(path for path in differing if path != "kernel.img" or not parts)]


def release_of(version: Version, job: Job, note: str) -> Release:
    """Return the release of a version whose steps are made."""
    layout = version.board.layout
    prefixes = layout.slots if isinstance(layout, PrefixLayout) else ("",)
    files = {prefix: _files_in(prefix, version, job) for prefix in prefixes}
    titles = [(layer, "" if is_agent(layer) else layer.title) for layer in version.system.layers]
    system = {layer.squashfs(job).sha256: title for layer, title in titles}
    containers = version.containers.squashfs(job)
    blobs = [layer.squashfs(job) for layer in version.containers.parts]
    return Release(
        board=version.board.name,
        kernel=job.file(version.system.kernel, "release").read_text(),
        system=system,
        files=files[prefixes[0]],
        by_prefix=files,
        folders=_contents(version.containers.tree(job)),
        definitions=tuple(plan.container(job) for plan in version.containers.containers),
        containers=containers.sha256,
        layers={blob.sha256: blob for blob in (*blobs, containers)},
        note=note,
    )


def _files_in(prefix: str, version: Version, job: Job) -> dict[str, str]:
    """Return the digests of the files of a slot, which has the folder `prefix` if not empty."""
    files = {**slot_firmware(version, job), **slot_files(version, job, prefix)}
    return {
        path: digest(content)
        for path, content in files.items()
        if not path.startswith("layers/") and path not in _OF_VERSION
    }


def _contents(tree: Iterable[Entry]) -> dict[str, bytes]:
    return {entry.path: b"".join(entry.content()) for entry in tree if entry.kind is Kind.FILE}


def digests_of(folders: Mapping[str, bytes]) -> dict[str, str]:
    """Return the digest of each file."""
    return {path: hashlib.sha256(data).hexdigest() for path, data in folders.items()}


def changed_containers(
    kind: str, new: Mapping[str, str], old: Mapping[str, str]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the changed, added and removed containers of a kind, by the digests of their files.

    The files are those that the agent compares (services.py).
    """
    before, after = _by_folder(kind, old), _by_folder(kind, new)
    changed = [name for name in after if name in before and after[name] != before[name]]
    added = [name for name in after if name not in before]
    removed = [name for name in before if name not in after]
    return tuple(changed), tuple(added), tuple(removed)


def _by_folder(kind: str, digests: Mapping[str, str]) -> dict[str, dict[str, str]]:
    folders: dict[str, dict[str, str]] = {}
    for path, file_digest in sorted(digests.items()):
        parts = path.split("/")
        if len(parts) == 3 and parts[0] == kind and parts[2] in _COMPARED:
            folders.setdefault(parts[1], {})[parts[2]] = file_digest
    return folders


def select_services(
    release: Release, names: Collection[str], running: Mapping[str, str], runner: Runner,
    store: Store,
) -> Release:  # fmt: skip
    """Return the release that changes only the services `names`; the others stay as `running`.

    `running` are the files of a Pi's containers layer. Raises PiimageError ``deploy.bad-folders``
    if they are no such files.
    """
    require_services(release.services, names)
    for path, text in running.items():
        lines = text.split() if path.endswith("/layers") else ()
        if not _PATH.fullmatch(path) or not all(_DIGEST.fullmatch(line) for line in lines):
            raise PiimageError(
                "deploy.bad-folders",
                f"a container of the Pi cannot be kept: {path[:80]!r}",
                hint="deploy the whole file, without --service",
            )  # fmt: skip
    kept = {
        path: _bytes(path, text)
        for path, text in running.items()
        if _shared(path) or not _belongs(path, names)
    }
    folders = {**kept, **{p: data for p, data in release.folders.items() if _belongs(p, names)}}
    layer = _containers_layer(folders, runner, store)
    definitions = tuple(
        entry for entry in release.definitions if entry.kind == "services" and entry.name in names
    )
    return replace(
        release, folders=folders, definitions=definitions, containers=layer.sha256,
        layers={**release.layers, layer.sha256: layer},
    )  # fmt: skip


def require_services(services: Collection[str], names: Collection[str]) -> None:
    """Raise InputError ``deploy.unknown-service`` if a name is not among the file's services."""
    for name in names:
        if name not in services:
            raise InputError(
                "deploy.unknown-service", f"the file has no service {name!r}", place="--service",
                hint=f"its services: {', '.join(services)}",
            )  # fmt: skip


def _belongs(path: str, names: Collection[str]) -> bool:
    parts = path.split("/")
    if parts[0] == "finit.d":
        return parts[1].removesuffix(".conf") in names
    return _shared(path) or (parts[0] == "services" and parts[1] in names)


def _shared(path: str) -> bool:
    """Return whether kept and new services may need the file: a volume's, or a profile."""
    return path.startswith(("volumes/", "apparmor/"))


def _bytes(path: str, text: str) -> bytes:
    """Return a file of the Pi's; a compiled profile has one character for each byte."""
    charset = "iso8859-1" if path.startswith("apparmor/") else "utf-8"
    return text.encode(charset, errors="replace")


def _containers_layer(folders: Mapping[str, bytes], runner: Runner, store: Store) -> Blob:
    with store.scratch() as scratch:
        target: Path = scratch / "layer"
        chunks = tar_chunks(_entries(folders))
        write_squashfs(runner, chunks, target, Compression(level=3))
        return store.add_file(target)


def _entries(folders: Mapping[str, bytes]) -> Iterator[Entry]:
    parents = {str(parent) for path in folders for parent in PurePosixPath(path).parents}
    always = {"onboot", "services", "onshutdown", "finit.d"}
    for name in sorted((parents | always) - {"."}):
        yield folder(name)
    for path, data in sorted(folders.items()):
        yield file(path, data)
