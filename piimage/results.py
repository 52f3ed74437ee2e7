"""The files beside a finished card: two SBOMs, and the manifest with the origin of each file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from piimage import packers
from piimage.compose.layers import Layer
from piimage.durable import write_chunks
from piimage.lock import Lock
from piimage.plan.slot import (
    Version,
    firmware_files,
    layer_path,
    published_identity,
    slot_files,
    withheld,
)
from piimage.sbom import cyclonedx, manifest, spdx
from piimage.sbom.ledger import Page
from piimage.sbom.locked import components, debian_component, tool_version
from piimage.sbom.manifest import Origin
from piimage.sbom.model import Bill, Kind, bill
from piimage.steps import Job
from piimage.store import Blob

_MODULES = (".ko", ".ko.xz", ".ko.zst", ".ko.gz")


@dataclass(frozen=True)
class Results:
    """The files beside the card: content by path, and their mode."""

    files: Mapping[Path, bytes]
    mode: int

    def write(self) -> tuple[Path, ...]:
        """Write each file atomically; return the paths."""
        return tuple(write_chunks(path, [data], self.mode) for path, data in self.files.items())


def results(name: str, version: Version, lock: Lock, job: Job, out: Path) -> Results:
    """Return the SBOMs and the manifest of the card `name`; none has a digest of a secret."""
    identity = published_identity(version, job)
    pages = layer_pages(version, job)
    parts = bill(name, identity, components(lock, pages.values()))
    kernel = _source(lock, "kernel", version.board.kernel.packages)
    origins = [*slot_origins(version, lock, job), *layer_origins(pages, parts, kernel)]
    complete = not withheld(version, job)
    listing = manifest.encode(parts, origins, packers.identities(), complete=complete)
    return Results(
        {
            out / f"{name}.sbom.spdx.json": spdx.encode(parts, tool_version()),
            out / f"{name}.sbom.cdx.json": cyclonedx.encode(parts, tool_version()),
            out / f"{name}.manifest.json": listing,
        },
        version.file_mode,
    )


def layer_pages(version: Version, job: Job) -> Mapping[str, Page]:
    """Return the ledger page of each layer, by a label that stays the same in the next version."""
    pages: dict[str, Page] = {}
    for layer in version.layers:
        label = layer_label(layer)
        if label in pages:
            label = f"{label} {layer.key[:8]}"
        pages[label] = layer.page(job)
    return pages


def layer_label(layer: Layer) -> str:
    """Return the label of a layer in the manifest: its name, and the kind of layer."""
    kind = type(layer).__name__.removesuffix("Layer").lower()
    name = getattr(layer, "name", "")
    return f"{name} ({kind})" if isinstance(name, str) and name else kind


def layer_origins(pages: Mapping[str, Page], parts: Bill, kernel: str) -> Iterator[Origin]:
    """Give the origin of each file in the layers; modules of Debian have that of the `kernel`."""
    signs = {Kind.DEBIAN: "_", Kind.WHEEL: "-"}
    purls = {
        f"{component.name}{sign}{component.version}": component.purl
        for component in parts.components
        if (sign := signs.get(component.kind))
    }
    for label, page in pages.items():
        for path, record in page.files.items():
            out_of_tree = "/updates/" in path
            is_kernels = path.endswith(_MODULES) and not out_of_tree
            source = purls.get(record.origin, kernel if is_kernels else f"piimage:{label}")
            yield Origin(f"{label}: /{path}", record.size, record.sha256, source)


def slot_origins(version: Version, lock: Lock, job: Job) -> Iterator[Origin]:
    """Give the origin of each file of slot and firmware, except those that reveal a secret."""
    hidden = withheld(version, job)
    firmware = _source(lock, "firmware", version.board.firmware.packages)
    kernel = _source(lock, "kernel", version.board.kernel.packages)
    for name, blob in firmware_files(version, job).items():
        yield _origin(name, blob, firmware)
    kernels = {*version.board.trees, "kernel.img"}
    names = {layer_path(layer, job): layer_label(layer) for layer in version.layers}
    for name, content in slot_files(version, job).items():
        if name in hidden:
            continue
        generated = f"layer:{names[name]}" if name in names else f"piimage:{_part(name)}"
        yield _origin(name, content, kernel if name in kernels else generated)


def _part(name: str) -> str:
    return "overlays" if name.startswith("overlays/") else PurePosixPath(name).name


def _source(lock: Lock, root: str, packages: Iterable[str]) -> str:
    """Return the URLs of the packages that the files of a root came from.

    These are the named `packages`, or all packages of the root if it has none of them.
    """
    names = set(packages)
    if root not in {entry.name for entry in lock.roots}:
        return "piimage:image"
    locked = list(lock.of_root(root))
    named = [package for package in locked if package.name in names]
    return " ".join(debian_component(package).purl for package in named or locked)


def _origin(name: str, content: Blob | bytes, source: str) -> Origin:
    if isinstance(content, Blob):
        return Origin(f"slot: {name}", content.size, content.sha256, source)
    return Origin(f"slot: {name}", len(content), hashlib.sha256(content).hexdigest(), source)
