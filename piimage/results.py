"""What lies beside a finished card: two bills of materials, and from what each file came."""

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
    """The files beside the card, with `mode`: their content by path."""

    files: Mapping[Path, bytes]
    mode: int

    def write(self) -> tuple[Path, ...]:
        """Write each beside its place, then move it there; return their paths."""
        return tuple(write_chunks(path, [data], self.mode) for path, data in self.files.items())


def results(name: str, made: Version, lock: Lock, job: Job, out: Path) -> Results:
    """Return the bills and the manifest of the card `name`; neither has a digest of a secret."""
    identity = published_identity(made, job)
    pages = layer_pages(made, job)
    parts = bill(name, identity, components(lock, pages.values()))
    kernel = _source(lock, "kernel", made.board.kernel.packages)
    origins = [*slot_origins(made, lock, job), *layer_origins(pages, parts, kernel)]
    told = manifest.encode(parts, origins, packers.identities(), complete=not withheld(made, job))
    return Results(
        {
            out / f"{name}.sbom.spdx.json": spdx.encode(parts, tool_version()),
            out / f"{name}.sbom.cdx.json": cyclonedx.encode(parts, tool_version()),
            out / f"{name}.manifest.json": told,
        },
        made.file_mode,
    )


def layer_pages(made: Version, job: Job) -> Mapping[str, Page]:
    """Return what each layer's ledger says, by a name that is the same in the next version."""
    found: dict[str, Page] = {}
    for layer in made.layers:
        label = layer_label(layer)
        if label in found:
            label = f"{label} {layer.key[:8]}"
        found[label] = layer.page(job)
    return found


def layer_label(layer: Layer) -> str:
    """Return what the manifest calls a layer: what it is made for, and how."""
    kind = type(layer).__name__.removesuffix("Layer").lower()
    name = getattr(layer, "name", "")
    return f"{name} ({kind})" if isinstance(name, str) and name else kind


def layer_origins(pages: Mapping[str, Page], parts: Bill, kernel: str) -> Iterator[Origin]:
    """Give each file within the layers; modules are from where the `kernel` is."""
    signs = {Kind.DEBIAN: "_", Kind.WHEEL: "-"}
    purls = {
        f"{one.name}{sign}{one.version}": one.purl
        for one in parts.components
        if (sign := signs.get(one.kind))
    }
    for label, page in pages.items():
        for path, record in page.files.items():
            own = "/updates/" in path  # modules built out of tree
            made = kernel if path.endswith(_MODULES) and not own else f"piimage:{label}"
            source = purls.get(record.origin, made)
            yield Origin(f"{label}: /{path}", record.size, record.sha256, source)


def slot_origins(made: Version, lock: Lock, job: Job) -> Iterator[Origin]:
    """Give each file of the slot and of the firmware, but for those that tell of a secret."""
    hidden = withheld(made, job)
    firmware = _source(lock, "firmware", made.board.firmware.packages)
    kernel = _source(lock, "kernel", made.board.kernel.packages)
    for name, blob in firmware_files(made, job).items():
        yield _origin(name, blob, firmware)
    kernels = {*made.board.trees, "kernel.img"}
    names = {layer_path(layer, job): layer_label(layer) for layer in made.layers}
    for name, content in slot_files(made, job).items():
        if name in hidden:
            continue
        generated = f"layer:{names[name]}" if name in names else f"piimage:{_part(name)}"
        yield _origin(name, content, kernel if name in kernels else generated)


def _part(name: str) -> str:
    return "overlays" if name.startswith("overlays/") else PurePosixPath(name).name


def _source(lock: Lock, root: str, packages: Iterable[str]) -> str:
    """Return the package URLs that the files of a root came from."""
    named = set(packages)
    if root not in {one.name for one in lock.roots}:
        return "piimage:image"
    found = [debian_component(one).purl for one in lock.of_root(root) if one.name in named]
    return " ".join(found or [debian_component(one).purl for one in lock.of_root(root)])


def _origin(name: str, content: Blob | bytes, source: str) -> Origin:
    if isinstance(content, Blob):
        return Origin(f"slot: {name}", content.size, content.sha256, source)

    return Origin(f"slot: {name}", len(content), hashlib.sha256(content).hexdigest(), source)
