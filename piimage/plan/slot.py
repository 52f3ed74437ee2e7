"""The files of a slot and the partitions of the card, once everything is made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from piimage.boards import Board, PrefixLayout, SelectorLayout
from piimage.card import ids
from piimage.card.ext4 import DataFile, Ext4Volume
from piimage.card.fat import FatVolume
from piimage.card.hostkey import read_host_key
from piimage.card.image import CardPlan, Volume
from piimage.compose.containers import ContainersLayer
from piimage.compose.layers import Layer
from piimage.compose.secret import SecretLayer, has_secrets
from piimage.config.models import Appliance
from piimage.durable import PRIVATE, PUBLIC
from piimage.firmware import writer
from piimage.locking.requests import wants_wifi
from piimage.plan.system import System
from piimage.steps import Job, Step
from piimage.store import Blob

MANIFEST = "appliance.json"
_MIB = 1 << 20
_README = b"Device tree overlays of this version; config.txt names those that are applied.\n"

Content = bytes | Blob


@dataclass(frozen=True)
class Version:
    """One complete version of an appliance: what a slot holds."""

    name: str
    """What the file is called: its versions share it."""
    appliance: Appliance
    board: Board
    system: System
    containers: ContainersLayer

    @property
    def disk_id(self) -> int:
        """The id of its card, in the MBR and on the command line; all versions have the same."""
        return ids.number(f"{self.board.name} {self.name}", "disk")

    @property
    def file_mode(self) -> int:
        """The mode of whatever is made of it: its owner's alone where it holds secrets."""
        private = self.appliance.ssh.host_key is not None or has_secrets(self.layers)
        return PRIVATE if private else PUBLIC

    @property
    def initramfs(self) -> Step:
        """The initramfs that names this version's layers."""
        return self.system.initramfs(self.containers)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Every layer once: the system's, the containers', and the one that lists those."""
        found = [*self.system.layers]
        found += [*self.containers.parts, self.containers]
        return tuple({layer.key: layer for layer in found}.values())

    def steps(self) -> tuple[Step, ...]:
        """Return what has to be made."""
        system = self.system
        extra = [step for step in (system.firmware,) if step is not None]
        return (system.kernel, system.overlays, self.initramfs, *self.layers, *extra)


def boot_of(appliance: Appliance) -> writer.Boot:
    """Return what the file adds to the board's boot."""
    boot = appliance.boot
    kernel = tuple((appliance.kernel.cmdline or "").split())
    config = tuple((key, value) for key, values in boot.config.items() for value in values)
    silent = not appliance.console
    return writer.Boot(config, boot.overlays, (*boot.cmdline, *kernel), silent)


def slot_files(version: Version, job: Job, prefix: str = "") -> dict[str, Content]:
    """Return the files of one slot, by path within it; `prefix` is its folder where it has one."""
    board, system, boot = version.board, version.system, boot_of(version.appliance)
    files: dict[str, Content] = {
        writer.KERNEL: job.blob(system.kernel, "image"),
        writer.INITRAMFS: job.blob(version.initramfs),
        "config.txt": writer.config(board, boot).encode(),
        "cmdline.txt": writer.cmdline(board, boot, version.disk_id, prefix=prefix).encode(),
    }
    files |= {name: job.blob(system.kernel, name) for name in board.trees}
    overlays = job.made[system.overlays.key]
    files |= {f"overlays/{name}.dtbo": blob for name, blob in overlays.items()}
    # The firmware uses a prefix's overlays only where it finds this file.
    files["overlays/README"] = _README
    for layer in version.layers:
        files[_layer_path(layer, job)] = job.blob(layer, "squashfs")
    files[MANIFEST] = _manifest(version, job, files)
    return files


def withheld(version: Version, job: Job) -> frozenset[str]:
    """Return the files of a slot from whose digests a secret could be guessed.

    That is the layer of each secret, and what has that layer's digest in it.
    """
    secret = [layer for layer in version.layers if isinstance(layer, SecretLayer)]
    if not secret:
        return frozenset()
    return frozenset({writer.INITRAMFS, MANIFEST, *(_layer_path(one, job) for one in secret)})


def _layer_path(layer: Layer, job: Job) -> str:
    return f"layers/{job.blob(layer, 'squashfs').sha256}.squashfs"


def firmware_files(version: Version, job: Job) -> dict[str, Content]:
    """Return the boot firmware's files by name."""
    if version.system.firmware is None:
        return {}
    outputs = job.made[version.system.firmware.key]
    return {PurePosixPath(path).name: blob for path, blob in outputs.items()}


def _manifest(version: Version, job: Job, files: Mapping[str, Content]) -> bytes:
    """Return appliance.json: which layers the version consists of, and the digest of each file."""
    document = {
        "version": 1,
        "board": version.board.name,
        "kernel": job.file(version.system.kernel, "release").read_text(),
        "system": [job.blob(layer, "squashfs").sha256 for layer in version.system.layers],
        "containers": job.blob(version.containers, "squashfs").sha256,
        "services": {
            f"{one.kind}/{one.folder}": [job.blob(la, "squashfs").sha256 for la in one.layers]
            for one in version.containers.containers
        },
        "provision": {
            "wifi": wants_wifi(version.appliance),
            "settings": sorted(_settings(version)),
        },
        "files": {name: digest(content) for name, content in sorted(files.items())},
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def _settings(version: Version) -> set[str]:
    """Return the settings of a card that some container asks for."""
    configs = (json.loads(one.config) for one in version.containers.containers)
    return {name for config in configs for name in config.get("settings", ())}


def digest(content: Content) -> str:
    """Return the SHA-256 of a file's content."""
    if isinstance(content, Blob):
        return content.sha256
    return hashlib.sha256(content).hexdigest()


def card_plan(version: Version, job: Job) -> CardPlan:
    """Return the partitions of the card with the version in slot A."""
    fats = _described(version, job)
    identity = _identity(fats)
    volumes: list[Volume] = [
        FatVolume(
            name,
            label,
            ids.number(identity, name),
            size,
            {path: _source(content, job) for path, content in files.items()},
            bits,
        )
        for name, label, size, files, bits in fats
    ]
    return CardPlan(identity, version.disk_id, (*volumes, _data(version, identity)))


def published_identity(version: Version, job: Job) -> str:
    """Return what is equal for equal cards, but for their secrets, which cannot be guessed by it.

    Without secrets it is the identity of the card's plan.
    """
    hidden = withheld(version, job)
    return _identity(
        (name, label, size, {p: c for p, c in files.items() if not _is_one(p, hidden)}, bits)
        for name, label, size, files, bits in _described(version, job)
    )


def _is_one(path: str, hidden: frozenset[str]) -> bool:
    """Say whether `path` is one of `hidden`, below whatever prefix."""
    return any(path == one or path.endswith(f"/{one}") for one in hidden)


Described = tuple[str, str, int, Mapping[str, Content], int]


def _described(version: Version, job: Job) -> list[Described]:
    layout = version.board.layout
    if isinstance(layout, SelectorLayout):
        return _selector_volumes(version, job, layout)
    return _prefix_volumes(version, job, layout)


def _selector_volumes(version: Version, job: Job, layout: SelectorLayout) -> list[Described]:
    boot = boot_of(version.appliance)
    selector = {n: t.encode() for n, t in writer.root_files(version.board, boot).items()}
    slot = {**firmware_files(version, job), **slot_files(version, job)}
    size = version.appliance.slots.size or layout.slot_mib * _MIB
    return [
        ("selector", "SELECTOR", layout.selector_mib * _MIB, selector, 16),
        ("slot A", "SLOT-A", size, slot, 32),
        ("slot B", "SLOT-B", size, {}, 32),
    ]


def _prefix_volumes(version: Version, job: Job, layout: PrefixLayout) -> list[Described]:
    boot = boot_of(version.appliance)
    prefix = layout.slots[0]
    files: dict[str, Content] = {
        n: t.encode() for n, t in writer.root_files(version.board, boot).items()
    }
    files |= firmware_files(version, job)
    files |= {prefix + n: c for n, c in slot_files(version, job, prefix).items()}
    size = version.appliance.slots.size
    total = 2 * size if size is not None else layout.firmware_mib * _MIB
    return [("the boot partition", "PIIMAGE", total, files, 32)]


def _data(version: Version, identity: str) -> Ext4Volume:
    size = version.appliance.data.size
    return Ext4Volume(
        "data",
        "data",
        ids.unique_id(identity, "data"),
        ids.unique_id(identity, "data folders"),
        # The rest of the card is only known on the Pi, which grows it.
        version.board.layout.data_mib * _MIB if size == "rest" else size,
        dict(_data_files(version.appliance)),
    )


def _data_files(appliance: Appliance) -> Iterable[tuple[str, DataFile]]:
    yield "piimage", DataFile(None, 0o755)
    yield "piimage/state", DataFile(None, 0o755)
    if appliance.ssh.host_key is not None:
        yield "ssh", DataFile(None, 0o700)
        key = read_host_key(Path(appliance.ssh.host_key))
        yield "ssh/dropbear_ed25519_host_key", DataFile(key.private, 0o600)


def _identity(volumes: Iterable[Described]) -> str:
    lines = "\n".join(_described_lines(volumes))
    return hashlib.sha256(lines.encode()).hexdigest()


def _described_lines(volumes: Iterable[Described]) -> Iterator[str]:
    for name, _, size, files, _ in volumes:
        yield f"{name} {size}"
        for path, content in sorted(files.items()):
            yield f"{path} {digest(content)}"


def _source(content: Content, job: Job) -> Path | bytes:
    return job.store.verified(content) if isinstance(content, Blob) else content
