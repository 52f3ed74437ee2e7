"""Layers: a layer is a tree of files, written as one squashfs file or as one tar."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from piimage import packers
from piimage.card.squashfs import Compression, write_squashfs
from piimage.compose.rules import File, Rules, added
from piimage.container.rootfs import LayerNotes, Notebook
from piimage.debian.deb import data_stream
from piimage.errors import InputError, PiimageError, raise_all
from piimage.patterns import Matcher
from piimage.sbom.ledger import Ledger, Page
from piimage.steps import Job, Step
from piimage.store import CHUNK, Blob
from piimage.trees import MERGED, Entry, Kind, Placement, Tree, file, read_tar, tar_chunks

if TYPE_CHECKING:
    from piimage.kernel.modules import ModuleTree

_SQUASHFS, _NOTES, _FILES = "squashfs", "notes", "files"
_ACCOUNTS = ("etc/passwd", "etc/group", "etc/shadow")


@dataclass(frozen=True)
class Layer(Step):
    """A step that writes a tree as a layer; only this class knows the names of its outputs."""

    tools: ClassVar[tuple[str, ...]] = packers.LAYERS

    @property
    def compression(self) -> Compression:
        """The compression of the squashfs: a quick one, for layers that change often."""
        return Compression(level=3)

    @abstractmethod
    def tree(self, job: Job) -> Tree:
        """Yield the entries, in an order that depends on the fields alone."""

    def make(self, job: Job) -> Mapping[str, Blob]:
        """Write the squashfs, and record the tree meanwhile."""
        ledger = Ledger()
        return self.write(ledger.noting(self.tree(job)), ledger, job)

    def write(self, tree: Tree, ledger: Ledger, job: Job) -> Mapping[str, Blob]:
        """Write `tree` as squashfs; return the outputs, with what `ledger` has recorded by then."""
        notebook = Notebook()
        with job.store.scratch() as folder:
            target = folder / "layer"
            chunks = tar_chunks(notebook.noting(tree))
            write_squashfs(job.runner, chunks, target, self.compression)
            return {
                _SQUASHFS: job.store.add_file(target),
                _NOTES: job.store.add_bytes(notebook.notes().encode()),
                _FILES: job.store.add_bytes(ledger.encode()),
            }

    def squashfs(self, job: Job) -> Blob:
        """Return the layer's squashfs file, which names the layer by its digest."""
        return job.blob(self, _SQUASHFS)

    def notes(self, job: Job) -> LayerNotes:
        """Return the properties of the layer on which a container's configuration depends."""
        return LayerNotes.decode(job.file(self, _NOTES).read_bytes())

    def page(self, job: Job) -> Page:
        """Return the origin of each file of the layer."""
        return Page.decode(job.file(self, _FILES).read_bytes())


@dataclass(frozen=True)
class LayerTar(Step):
    """The tree of a layer as an uncompressed tar, for image formats; output ``tar``."""

    layer: Layer

    @property
    def title(self) -> str:
        """The name of the work."""
        return f"{self.layer.title} (tar)"

    def needs(self) -> tuple[Step, ...]:
        """Return the steps that the layer's tree needs: its squashfs is not read."""
        return self.layer.needs()

    def blobs(self) -> tuple[Blob, ...]:
        """Return the blobs of the layer's tree."""
        return self.layer.blobs()

    def make(self, job: Job) -> Mapping[str, Blob]:
        """Write the tar."""
        return {"tar": job.store.add_stream(tar_chunks(self.layer.tree(job)))}


@dataclass(frozen=True)
class DebFile:
    """The .deb of a locked package, and ``NAME_VERSION`` for messages and the ledger."""

    name: str
    deb: Blob


@dataclass(frozen=True)
class PackagesLayer(Layer):
    """Packages unpacked one after the other, under the rules.

    The layer must have at least one path of each group in `required`.
    """

    name: str
    packages: tuple[DebFile, ...]
    rules: Rules
    required: tuple[tuple[str, ...], ...] = ()

    @property
    def compression(self) -> Compression:
        """The compression of the squashfs: a better one, for the lock rarely changes (0187)."""
        return Compression(level=9)

    @property
    def title(self) -> str:
        """The name of the work."""
        return f"unpack {len(self.packages)} packages for {self.name}"

    def tree(self, job: Job) -> Tree:
        """Yield the entries that the rules add, then each package's files.

        Raises InputError ``compose.no-such-file``, PiimageError ``compose.dropped-link``.
        """
        placement = Placement()
        placement.assume(MERGED)
        yield from placement.place(added(self.rules))
        yield from placement.place(_files(self.rules.files, job))
        joined = [(Matcher([bundle.pattern]), bytearray()) for bundle in self.rules.bundles]
        for package in self.packages:
            path = job.store.verified(package.deb)
            with data_stream(job.runner, path) as stream:
                entries = _joining(read_tar(stream, package.name), joined, placement)
                yield from self._unpacked(package.name, entries, placement)
        for bundle, (_, data) in zip(self.rules.bundles, joined, strict=True):
            yield from placement.place([file(bundle.path, bytes(data))])
        raise_all(
            no_such_file(self.name, self.packages, " or ".join(paths))
            for paths in self.required
            if not any(map(placement.has, paths))
        )

    def _unpacked(self, package: str, entries: Tree, placement: Placement) -> Iterator[Entry]:
        set_by_rules = {*self.rules.links, *(file.path for file in self.rules.files), *_ACCOUNTS}
        for entry in entries:
            if not self.rules.wants(placement.real(entry.path)):
                continue
            if entry.kind is Kind.HARD_LINK and not placement.has(entry.link):
                raise PiimageError(
                    "compose.dropped-link",
                    f"/{entry.path} is a hard link to /{entry.link}, which was dropped",
                    place=package,
                    hint=f"add /{entry.path} to `drop:`, or /{entry.link} to `keep:`",
                )
            # A path that the rules set is not replaced by a package.
            if not (placement.has(entry.path) and placement.real(entry.path) in set_by_rules):
                yield from placement.place([replace(entry, origin=package)])


def no_such_file(name: str, packages: Iterable[DebFile], paths: str) -> InputError:
    """Return the error for `paths` that none of the `packages` of `name` has."""
    names = ", ".join(package.name for package in packages)
    return InputError(
        "compose.no-such-file",
        f"no package of {name} ({names}) has {paths}",
        hint="correct the path in the board's file, or lock again with: piimage lock",
    )


@dataclass(frozen=True)
class FilesLayer(Layer):
    """Files, links and folders that no package brings."""

    name: str
    rules: Rules

    @property
    def title(self) -> str:
        """The name of the work."""
        return f"lay out the files of {self.name}"

    def tree(self, job: Job) -> Tree:
        """Yield the entries that the rules add."""
        placement = Placement()
        placement.assume(MERGED)
        # An etc/passwd among the files replaces the generated one.
        own = {file.path for file in self.rules.files} | set(self.rules.links)
        generated = (e for e in added(self.rules) if not (e.kind is Kind.FILE and e.path in own))
        yield from placement.place(generated)
        yield from placement.place(_files(self.rules.files, job))


@dataclass(frozen=True)
class ModulesLayer(Layer):
    """The kernel's modules, and the list of those that the system loads, with parameters."""

    modules: ModuleTree

    @property
    def title(self) -> str:
        """The name of the work."""
        return "lay out the kernel modules"

    def tree(self, job: Job) -> Tree:
        """Yield the list, the modules, and depmod's indexes."""
        placement = Placement()
        late = job.file(self.modules, "late-order").read_bytes()
        yield from placement.place([file("etc/piimage/modules-late", late)])
        with job.file(self.modules, "tree").open("rb") as stream:
            yield from placement.place(read_tar(stream, "the modules"))


def _files(files: tuple[File, ...], job: Job) -> Iterator[Entry]:
    for item in sorted(files, key=lambda item: item.path):
        if isinstance(item.content, bytes):
            yield file(item.path, item.content, item.mode, item.uid, item.gid)
        else:
            entry = stored_file(item.path, item.content, job, item.mode)
            yield replace(entry, uid=item.uid, gid=item.gid)


def _joining(
    entries: Tree, joined: Sequence[tuple[Matcher, bytearray]], placement: Placement
) -> Iterator[Entry]:
    """Yield `entries`, and append each file that a matcher of `joined` matches to its bytes."""
    for entry in entries:
        real = placement.real(entry.path)
        bundles = [data for matches, data in joined if entry.kind is Kind.FILE and matches(real)]
        if not bundles:
            yield entry
            continue
        kept = _in_memory(entry)
        for data in bundles:
            data.extend(b"".join(kept.content()).rstrip(b"\n") + b"\n")
        yield kept


def _in_memory(entry: Entry) -> Entry:
    """Return `entry` with a content that can be read twice; a stream can be read only once."""
    data = b"".join(entry.content())
    return replace(entry, content=lambda: (data,))


def stored_file(path: str, blob: Blob, job: Job, mode: int = 0o644) -> Entry:
    """Return the entry of a file of root whose content is a blob of the store."""

    def content() -> Iterator[bytes]:
        with job.store.verified(blob).open("rb") as stream:
            while data := stream.read(CHUNK):
                yield data

    return Entry(path, Kind.FILE, mode, size=blob.size, content=content)
