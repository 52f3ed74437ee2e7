"""The files of a slot and the partitions of the card, from the steps that are made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from piimage import swu
from piimage.board import Board, PrefixLayout, SelectorLayout
from piimage.card import ids
from piimage.card.ext4 import DataFile, Ext4Volume
from piimage.card.fat import FatVolume
from piimage.card.fat_folders import FolderedVolume, FolderSlot
from piimage.card.hostkey import read_host_key
from piimage.card.image import CardPlan, Volume
from piimage.card.partitions import Partition, lay_out
from piimage.compose.containers import ContainersLayer
from piimage.compose.layers import Layer
from piimage.compose.secret import SecretLayer, has_secrets
from piimage.config.models import Appliance
from piimage.durable import PRIVATE, PUBLIC
from piimage.firmware import writer
from piimage.firmware.boot_loaders import boot_loader_of
from piimage.lock import Lock
from piimage.locking.requests import wants_wifi
from piimage.plan.gpio import firmware_outputs
from piimage.plan.sensors import SPI_OVERLAY, spi_overlay
from piimage.plan.system import System
from piimage.signing import Signer
from piimage.steps import Job, Step
from piimage.store import Blob

MANIFEST = "appliance.json"
SIGNATURE = f"{MANIFEST}.cms"
UPDATE_TOKENS = ("UPDATES_GATEWAY_TOKEN", "UPDATES_TARGET_TOKEN")
"""The card's settings with which it identifies itself at an update server."""
_MIB = 1 << 20

Content = bytes | Blob
Order = tuple[int, int]
"""The place of a version among others: its number, and when Debian's newest index in its lock was
made (seconds since 1970). The first one that differs decides."""


@dataclass(frozen=True)
class Version:
    """One complete version of an appliance, as one slot holds it."""

    name: str
    """The name of the YAML file, which all its versions share."""
    appliance: Appliance
    board: Board
    system: System
    containers: ContainersLayer
    order: Order = (0, 0)

    @property
    def disk_id(self) -> int:
        """The card's id in the MBR and on the kernel command line, the same for all versions."""
        return ids.number(f"{self.board.name} {self.name}", "disk")

    @property
    def prefix(self) -> str:
        """The folder of the first slot on the card, if slots are folders."""
        layout = self.board.layout
        return layout.slots[0] if isinstance(layout, PrefixLayout) else ""

    @property
    def file_mode(self) -> int:
        """The mode of the files that are written: for the owner only if the version has secrets."""
        private = self.appliance.ssh.host_key is not None or has_secrets(self.layers)
        return PRIVATE if private else PUBLIC

    @property
    def initramfs(self) -> Step:
        """The initramfs with the digests of this version's layers."""
        return self.system.initramfs(self.containers)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Each layer once: the system's, the containers', and the containers layer."""
        layers = (*self.system.layers, *self.containers.parts, self.containers)
        return tuple({layer.key: layer for layer in layers}.values())

    def steps(self) -> tuple[Step, ...]:
        """Return the steps that make this version."""
        system = self.system
        extra = [step for step in (system.firmware,) if step is not None]
        initramfs = (system.initramfs_base, self.initramfs)
        return (system.kernel, system.overlays, *initramfs, *self.layers, *extra)


def order_of(appliance: Appliance, lock: Lock) -> Order:
    """Return the place of the version of `appliance` with this lock."""
    dates = (int(suite.date.timestamp()) for suite in lock.suites)
    return (appliance.version, max(dates, default=0))


def signer_of(appliance: Appliance) -> Signer | None:
    """Return who signs versions of the appliance; None if they are not signed."""
    signing = appliance.signing
    return None if signing is None else Signer(signing.key, Path(signing.certificates[0]))


def boot_of(appliance: Appliance, board: Board) -> writer.Boot:
    """Return the additions of the YAML file to the board's boot files."""
    boot = appliance.boot
    kernel = tuple((appliance.kernel.cmdline or "").split())
    config = tuple((key, value) for key, values in boot.config.items() for value in values)
    silent, screen = not appliance.console, appliance.console == "hdmi"
    config += tuple(("gpio", text) for text in firmware_outputs(appliance, board))
    chips = () if spi_overlay(appliance, board) is None else (SPI_OVERLAY,)
    cmdline, tries = (*boot.cmdline, *kernel), appliance.slots.updates
    return writer.Boot(config, boot.overlays, cmdline, silent, screen, chips, tries)


def slot_files(version: Version, job: Job, prefix: str = "") -> dict[str, Content]:
    """Return the files of one slot by path; `prefix` is its folder on the card, if it has one."""
    files = _unlisted(version, job, prefix)
    document = _document(version, job, files)
    if prefix:
        document["folders"] = _of_both_folders(version, job)
    manifest = _text(document)
    files[MANIFEST] = manifest
    if (signer := signer_of(version.appliance)) is not None:
        files[SIGNATURE] = signer.sign(manifest, job.runner)
    return files


def _unlisted(version: Version, job: Job, prefix: str) -> dict[str, Content]:
    """Return the files of a slot without appliance.json."""
    board, system, boot = version.board, version.system, boot_of(version.appliance, version.board)
    files: dict[str, Content] = {
        writer.KERNEL: job.blob(system.kernel, "image"),
        writer.INITRAMFS: job.blob(version.initramfs),
    }
    texts = boot_loader_of(board).slot_files(board, boot, version.disk_id, prefix)
    files |= {name: text.encode() for name, text in texts.items()}
    files |= {name: job.blob(system.kernel, name) for name in board.trees}
    overlays = job.made[system.overlays.key]
    files |= {f"overlays/{name}.dtbo": blob for name, blob in overlays.items()}
    for layer in version.layers:
        files[layer_path(layer, job)] = layer.squashfs(job)
    return files


def _of_both_folders(version: Version, job: Job) -> dict[str, str]:
    """Return the digests that name a version and its system, whichever folder it is in.

    The files that name their folder differ, and with them what would otherwise name the version.
    """
    first = _document(version, job, _unlisted(version, job, version.prefix))
    return {"id": digest(_text(first)), "system": swu.system_digest(first)}


def slot_firmware(version: Version, job: Job) -> dict[str, Content]:
    """Return the boot firmware that lies in the slot: none if the slots are folders."""
    slots_are_folders = isinstance(version.board.layout, PrefixLayout)
    return {} if slots_are_folders else firmware_files(version, job)


def withheld(version: Version, job: Job) -> frozenset[str]:
    """Return the files of a slot from whose digests a secret could be guessed.

    These are the layers with secrets, and the files that contain such a layer's digest.
    """
    secret = [layer for layer in version.layers if isinstance(layer, SecretLayer)]
    if not secret:
        return frozenset()
    signed = () if version.appliance.signing is None else (SIGNATURE,)
    paths = (writer.INITRAMFS, MANIFEST, *signed)
    return frozenset({*paths, *(layer_path(layer, job) for layer in secret)})


def layer_path(layer: Layer, job: Job) -> str:
    """Return the path of a layer within the slot."""
    return f"layers/{layer.squashfs(job).sha256}.squashfs"


def firmware_files(version: Version, job: Job) -> dict[str, Content]:
    """Return the files of the boot firmware by name."""
    firmware = version.board.firmware
    raw = {file.file for file in firmware.raw}
    files = _firmware(version, job).items()
    return {firmware.names.get(name, name): blob for name, blob in files if name not in raw}


def raw_files(version: Version, job: Job) -> dict[int, Blob]:
    """Return the files of the boot firmware that are before the partitions, by their places."""
    files = _firmware(version, job)
    return {file.at: files[file.file] for file in version.board.firmware.raw}


def _firmware(version: Version, job: Job) -> dict[str, Blob]:
    """Return all files of the boot firmware by their names in the package."""
    if version.system.firmware is None:
        return {}
    outputs = job.made[version.system.firmware.key]
    return {PurePosixPath(path).name: blob for path, blob in outputs.items()}


def _document(version: Version, job: Job, files: Mapping[str, Content]) -> dict[str, object]:
    """Return what appliance.json says: the layers of the version, and the digest of each file."""
    listed = {**slot_firmware(version, job), **files}
    return {
        "version": 1,
        "name": version.name,
        "board": version.board.name,
        "order": version.order,
        "kernel": job.file(version.system.kernel, "release").read_text(),
        "system": [layer.squashfs(job).sha256 for layer in version.system.layers],
        "containers": version.containers.squashfs(job).sha256,
        "services": {
            f"{plan.kind}/{plan.folder}": [layer.squashfs(job).sha256 for layer in plan.layers]
            for plan in version.containers.containers
        },
        "provision": {
            "wifi": wants_wifi(version.appliance),
            "settings": sorted(_settings(version)),
            "secrets": sorted(_secrets(version)),
        },
        "files": {name: digest(content) for name, content in sorted(listed.items())},
        "pieces": {name: blob.sha256 for name, blob in pieces(version, job).items()},
    }


def _text(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, indent=1).encode() + b"\n"


def pieces(version: Version, job: Job) -> dict[str, Blob]:
    """Return what files of the slot begin with, and share with those of other versions."""
    return {writer.INITRAMFS: job.blob(version.system.initramfs_base)}


def _settings(version: Version) -> set[str]:
    """Return the names of the card's settings that something on the Pi uses."""
    configs = (plan.config for plan in version.containers.containers)
    tokens = () if version.appliance.updates is None else UPDATE_TOKENS
    return {*tokens, *(name for config in configs for name in config.settings or ())}


def _secrets(version: Version) -> set[str]:
    """Return the names of the secrets that a container uses; no version has their values."""
    configs = (plan.config for plan in version.containers.containers)
    return {name for config in configs for name in config.secrets or ()}


def digest(content: Content) -> str:
    """Return the SHA-256 of a file's content."""
    if isinstance(content, Blob):
        return content.sha256
    return hashlib.sha256(content).hexdigest()


def card_plan(version: Version, job: Job) -> CardPlan:
    """Return the partitions of the card with the version in slot A."""
    partitions = _fat_partitions(version, job)
    raw = raw_files(version, job)
    identity = _identity(partitions, raw)
    volumes: list[Volume] = [partition.volume(identity, job) for partition in partitions]
    volumes.append(_data(version, identity))
    layout = version.board.layout
    return CardPlan(
        identity, version.disk_id, tuple(volumes), layout.table, layout.start_mib * _MIB,
        {at: job.store.verified(blob) for at, blob in raw.items()},
    )  # fmt: skip


SlotVolume = FatVolume | FolderSlot


@dataclass(frozen=True)
class Slots:
    """The two slots by name, each as a file system (or a folder of one) that holds the version.

    A slot's name is the number of its partition, or the `os_prefix` of its folder.
    """

    places: Mapping[str, Partition]
    """The partition in which the slot is."""
    volumes: Mapping[str, SlotVolume]
    pieces: Mapping[str, Path]
    """What files begin with, and share with those of other versions, by their paths in the slot."""


def partition_of(slot: str) -> int:
    """Return the number of the partition of the slot called `slot`: folders are in the first."""
    return int(slot) if slot.isdigit() else 1


def slots(version: Version, job: Job) -> Slots:
    """Return the version as either slot holds it.

    The volume of slot A has the bytes of `card_plan`.
    """
    volumes = card_plan(version, job).volumes
    sizes = ((volume.kind, volume.size) for volume in volumes)
    placed = lay_out(sizes, version.board.layout.start_mib * _MIB)
    names = [str(name) for name in version.board.layout.slots]
    return Slots(
        {name: placed[partition_of(name) - 1] for name in names},
        {name: _slot_volume(name, version, job, volumes) for name in names},
        {path: job.store.verified(blob) for path, blob in pieces(version, job).items()},
    )


def _slot_volume(name: str, version: Version, job: Job, volumes: tuple[Volume, ...]) -> SlotVolume:
    volume = volumes[partition_of(name) - 1]
    if isinstance(volume, FolderedVolume):
        slot = FolderSlot(volume, name.rstrip("/"))
        content = slot_files(version, job, name)
        return slot.with_files({path: _source(data, job) for path, data in content.items()})
    first = volumes[int(version.board.layout.slots[0]) - 1]
    assert isinstance(volume, FatVolume) and isinstance(first, FatVolume)  # noqa: S101
    return volume.with_files(first.files)


def published_identity(version: Version, job: Job) -> str:
    """Return a digest that is equal for cards that differ in their secrets only.

    Without secrets it is the identity of the card's plan.
    """
    hidden = withheld(version, job)
    partitions = (
        replace(partition, files=_published(partition.files, hidden))
        for partition in _fat_partitions(version, job)
    )
    return _identity(partitions, raw_files(version, job))


def _published(files: Mapping[str, Content], hidden: frozenset[str]) -> Mapping[str, Content]:
    """Return the `files` that are not `hidden`; a path of `files` may begin with a prefix."""
    ends = tuple(f"/{path}" for path in hidden)
    return {path: content for path, content in files.items() if not f"/{path}".endswith(ends)}


@dataclass(frozen=True)
class _FatPartition:
    """A FAT partition without its serial number, which depends on the content of all of them."""

    name: str
    label: str
    size: int
    files: Mapping[str, Content]
    bits: int = 32
    room: int | None = None
    """The size of each folder with a slot, if slots are folders."""

    def volume(self, identity: str, job: Job) -> FatVolume | FolderedVolume:
        """Return the partition of the card `identity`."""
        files = {path: _source(content, job) for path, content in self.files.items()}
        serial = ids.number(identity, self.name)
        if self.room is not None:
            return FolderedVolume(self.name, self.label, serial, self.size, self.room, files)
        return FatVolume(self.name, self.label, serial, self.size, files, self.bits)


def _fat_partitions(version: Version, job: Job) -> list[_FatPartition]:
    layout = version.board.layout
    if isinstance(layout, SelectorLayout):
        return _selector_partitions(version, job, layout)
    return _prefix_partitions(version, job, layout)


def _selector_partitions(version: Version, job: Job, layout: SelectorLayout) -> list[_FatPartition]:
    selector = shared_files(version)
    slot = {**slot_firmware(version, job), **slot_files(version, job)}
    size = version.appliance.slots.size or layout.slot_mib * _MIB
    return [
        _FatPartition("selector", "SELECTOR", layout.selector_mib * _MIB, selector, bits=16),
        _FatPartition("slot A", "SLOT-A", size, slot),
        _FatPartition("slot B", "SLOT-B", size, {}),
    ]


def _prefix_partitions(version: Version, job: Job, layout: PrefixLayout) -> list[_FatPartition]:
    prefix = layout.slots[0]
    files = {**shared_files(version), **firmware_files(version, job)}
    slot = slot_files(version, job, prefix)
    files |= {prefix + path: content for path, content in slot.items()}
    room = version.appliance.slots.size or layout.room
    return [
        _FatPartition("the boot partition", "PIIMAGE", layout.size(room), files, room=room),
    ]


def shared_files(version: Version) -> dict[str, Content]:
    """Return the files for the boot loader that are in no slot."""
    board, boot = version.board, boot_of(version.appliance, version.board)
    loader = boot_loader_of(board)
    texts = loader.shared_files(board, boot, version.disk_id)
    return {**{name: text.encode() for name, text in texts.items()}, **loader.scripts(board, boot)}


def _data(version: Version, identity: str) -> Ext4Volume:
    size = version.appliance.data.size
    return Ext4Volume(
        "data",
        "data",
        ids.unique_id(identity, "data"),
        ids.unique_id(identity, "data folders"),
        # Only the Pi knows the size of its card, and grows the partition.
        version.board.layout.data_mib * _MIB if size == "rest" else size,
        dict(data_files(version.appliance)),
    )


def data_files(appliance: Appliance) -> Iterable[tuple[str, DataFile]]:
    """Yield what a new data partition has, by path; folders come before what is in them."""
    yield "piimage", DataFile(None, 0o755)
    yield "piimage/state", DataFile(None, 0o755)
    if appliance.ssh.host_key is not None:
        yield "ssh", DataFile(None, 0o700)
        key = read_host_key(Path(appliance.ssh.host_key))
        yield "ssh/dropbear_ed25519_host_key", DataFile(key.private, 0o600)


def _identity(partitions: Iterable[_FatPartition], raw: Mapping[int, Blob]) -> str:
    places = (f"{at} {blob.sha256}" for at, blob in sorted(raw.items()))
    lines = "\n".join((*_identity_lines(partitions), *places))
    return hashlib.sha256(lines.encode()).hexdigest()


def _identity_lines(partitions: Iterable[_FatPartition]) -> Iterator[str]:
    for partition in partitions:
        yield f"{partition.name} {partition.size}"
        for path, content in sorted(partition.files.items()):
            yield f"{path} {digest(content)}"


def _source(content: Content, job: Job) -> Path | bytes:
    return job.store.verified(content) if isinstance(content, Blob) else content
