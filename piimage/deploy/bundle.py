"""Bundles: a version of a system as one signed file, for update servers (`piimage.swu`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piimage import swu
from piimage.deploy.release import release_of
from piimage.deploy.system import system_of
from piimage.durable import write_chunks
from piimage.errors import InputError, PiimageError
from piimage.locking.inputs import Inputs
from piimage.plan.slot import MANIFEST, Version, slot_files
from piimage.run import Runner
from piimage.signing import Signer, is_signed
from piimage.steps import Job
from piimage.store import Store
from piimage.swu import Description, Part

_CHUNK: Final = 1 << 20

Content = Path | bytes


@dataclass(frozen=True)
class Source:
    """What a bundle is made of.

    `files` has, by SHA-256, what the Pi may lack: what recipes name, and the containers' layers.
    """

    name: str
    note: str
    manifest: bytes
    layers: tuple[str, ...]
    """The digests of the containers' layers."""
    recipes: Mapping[str, bytes]
    """The recipe for each slot, by its name; none if there is one slot only."""
    files: Mapping[str, Content]
    signer: Signer
    firmware: Mapping[str, str] | None = None
    """The digests of the boot firmware by name, if both slots share it; empty if a Pi may keep
    another one."""


def source_of(
    version: Version, job: Job, signer: Signer, inputs: Inputs, *, other_firmware: bool = False
) -> Source:
    """Return what the bundle of a version is made of; its steps are made.

    With `other_firmware`, a Pi whose slots are folders keeps the boot firmware that it has.
    """
    note = f"{version.name}.yml"
    release = release_of(version, job, note)
    system = system_of(version, job, release, inputs)
    recipes = [(name, system.recipe(name)) for name in system.slots.volumes]
    firmware: Mapping[str, str] = {} if other_firmware else system.firmware
    manifest = slot_files(version, job, version.prefix)[MANIFEST]
    assert isinstance(manifest, bytes)  # noqa: S101  # it is no blob of the store
    layers = {digest: job.store.verified(blob) for digest, blob in release.layers.items()}
    named = {digest: file for _, recipe in recipes for digest, file in recipe.files.items()}
    data = {name: recipe.data for name, recipe in recipes}
    return Source(
        version.name, note, manifest, release.needed(), data, {**named, **layers}, signer,
        firmware if system.has_folders else None,
    )  # fmt: skip


@dataclass(frozen=True)
class _Entry:
    name: str
    content: Content
    size: int
    sha256: str
    total: int
    """The sum of its bytes, which the cpio has."""
    zeros: int
    """How many zeros it ends with."""

    @property
    def part(self) -> Part:
        return Part(self.name, self.size, self.sha256, self.zeros)

    def chunks(self) -> Iterator[bytes]:
        """Yield its bytes."""
        return _chunks(self.content)


@dataclass(frozen=True)
class Bundle:
    """A bundle that can be written."""

    description: Description
    signature: bytes
    entries: tuple[_Entry, ...]

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes of the archive."""
        text = swu.describe(self.description)
        head = (_entry(swu.DESCRIPTION, text), _entry(swu.SIGNATURE, self.signature))
        for number, entry in enumerate((*head, *self.entries), start=1):
            yield swu.header(number, entry.name, entry.size, entry.total)
            yield from entry.chunks()
            yield bytes(-entry.size % 4)
        yield swu.trailer()

    def write(self, target: Path, mode: int) -> None:
        """Write it completely or not at all."""
        write_chunks(target, self.chunks(), mode)


def make_bundle(source: Source, runner: Runner) -> Bundle:
    """Return the bundle of a version; the same sources give the same bytes.

    Raises InputError ``bundle.board`` for a board whose name servers cannot have, and those of
    `Signer.sign`.
    """
    manifest = json.loads(source.manifest)
    if not swu.is_board(manifest["board"]):
        raise InputError(
            "bundle.board", f"{manifest['board']!r} cannot name a board in a bundle",
            hint="rename the board's file: a letter, then letters, digits, - and _",
        )  # fmt: skip
    entries = [_entry(swu.LAYERS, "".join(f"{digest}\n" for digest in source.layers).encode())]
    if source.firmware is not None:
        entries.append(_entry(swu.FIRMWARE, swu.firmware_lines(source.firmware)))
    for slot, recipe in sorted(source.recipes.items()):
        name = swu.recipe_name(slot)
        entries.append(_entry(name, recipe))
        entries.append(_entry(f"{name}.cms", source.signer.sign(recipe, runner)))
    files = [content for _, content in sorted(source.files.items())]
    entries += [_entry(f"f{number}", content) for number, content in enumerate(files)]
    description = Description(
        board=manifest["board"],
        name=swu.revision(source.name),
        order=tuple(manifest["order"]),
        id=swu.identity(manifest, source.manifest)[:12],
        note=swu.plain(source.note),
        system=swu.system_digest(manifest),
        containers=manifest["containers"],
        parts=tuple(entry.part for entry in entries),
    )
    signature = source.signer.sign_with_certificate(swu.describe(description), runner)
    return Bundle(description, signature, tuple(entries))


def _entry(name: str, content: Content) -> _Entry:
    digest, size, total, zeros = hashlib.sha256(), 0, 0, 0
    for data in _chunks(content):
        digest.update(data)
        size += len(data)
        total += sum(data)
        rest = len(data.rstrip(b"\0"))
        zeros = len(data) - rest if rest else zeros + len(data)
    return _Entry(name, content, size, digest.hexdigest(), total, zeros)


def _chunks(content: Content) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as file:
        while data := file.read(_CHUNK):
            yield data


def verify(path: Path, certificates: Path, runner: Runner, store: Store) -> Description:
    """Return what a bundle is for, if a key of `certificates` signed it and all of it is there.

    Raises PiimageError ``bundle.unsigned`` and ``bundle.damaged``, and the errors of the host.
    """
    with path.open("rb") as file:
        reader = swu.Reader(file)
        try:
            head = reader.head()
            with store.scratch() as scratch:
                _require_signed(head, certificates, runner, scratch)
            description = swu.parse_description(head.text)
            reader.check(description)
        except PiimageError as error:
            if error.place is None:
                error.place = str(path)
            raise
    return description


def _require_signed(head: swu.Head, certificates: Path, runner: Runner, scratch: Path) -> None:
    text, signature = scratch / "text", scratch / "signature"
    text.write_bytes(head.text)
    signature.write_bytes(head.signature)
    if not is_signed(text, signature, certificates, runner):
        raise PiimageError(
            "bundle.unsigned", f"no key of {certificates} has signed this bundle",
            hint="name the certificate of the key in signing: with --cert",
        )  # fmt: skip
