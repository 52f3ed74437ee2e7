"""Layers: each a tree, and one squashfs file (or one tar) of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from piimage import packers
from piimage.card.squashfs import Compression, write_squashfs
from piimage.compose.rules import File, Rules, added
from piimage.container.rootfs import Notebook
from piimage.debian.deb import data_stream
from piimage.errors import InputError, PiimageError, raise_all
from piimage.patterns import Matcher
from piimage.sbom.ledger import Ledger
from piimage.steps import Job, Step
from piimage.store import CHUNK, Blob
from piimage.trees import MERGED, Entry, Kind, Placement, Tree, file, read_tar, tar_chunks

if TYPE_CHECKING:
    from piimage.kernel.modules import ModuleTree


@dataclass(frozen=True)
class Layer(Step):
    """A tree that can be written as a layer.

    Outputs: ``squashfs``, the layer; ``notes``, what of it a container's configuration depends on
    (`piimage.container.rootfs.LayerNotes`); ``files``, from what each file came
    (`piimage.sbom.ledger.Ledger`).
    """

    tools: ClassVar[tuple[str, ...]] = packers.LAYERS

    @property
    def compression(self) -> Compression:
        """How the squashfs is packed: quick, for what changes often."""
        return Compression(level=3)

    @abstractmethod
    def tree(self, job: Job) -> Tree:
        """Give the entries, in an order that depends on the fields alone."""

    def make(self, job: Job) -> Mapping[str, Blob]:
        """Write the squashfs, and note the tree that passes by."""
        book, ledger = Notebook(), Ledger()
        with job.store.scratch() as folder:
            target = folder / "layer"
            chunks = tar_chunks(ledger.noting(book.noting(self.tree(job))))
            write_squashfs(job.runner, chunks, target, self.compression)
            return {
                "squashfs": job.store.add_file(target),
                "notes": job.store.add_bytes(book.notes().encode()),
                "files": job.store.add_bytes(ledger.encode()),
            }


@dataclass(frozen=True)
class LayerTar(Step):
    """The same tree as an uncompressed tar, for image formats that want one; output ``tar``."""

    layer: Layer

    @property
    def title(self) -> str:
        """What is being made."""
        return f"{self.layer.title} (tar)"

    def needs(self) -> tuple[Step, ...]:
        """Return what the layer needs: its tree is written here, not its squashfs."""
        return self.layer.needs()

    def blobs(self) -> tuple[Blob, ...]:
        """Return the blobs of the layer's tree."""
        return self.layer.blobs()

    def make(self, job: Job) -> Mapping[str, Blob]:
        """Write the tar."""
        return {"tar": job.store.add_stream(tar_chunks(self.layer.tree(job)))}


@dataclass(frozen=True)
class Package:
    """A locked package: its name, for messages, and its .deb."""

    name: str
    deb: Blob


@dataclass(frozen=True)
class PackagesLayer(Layer):
    """Packages unpacked over one another in turn, under the rules.

    Of each group of paths in `required` one has to come of it.
    """

    name: str
    packages: tuple[Package, ...]
    rules: Rules
    required: tuple[tuple[str, ...], ...] = ()

    @property
    def title(self) -> str:
        """What is being made."""
        return f"unpack {len(self.packages)} packages for {self.name}"

    def tree(self, job: Job) -> Tree:
        """Give what the rules add, then each package's files."""
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
            self._lacking(paths) for paths in self.required if not any(map(placement.has, paths))
        )

    def _lacking(self, paths: tuple[str, ...]) -> PiimageError:
        return InputError(
            "compose.no-such-file",
            f"no package of {self.name} ({', '.join(one.name for one in self.packages)}) has "
            f"{' or '.join(paths)}",
            hint="mend the name in the board's file, or move the lock: piimage lock",
        )

    def _unpacked(self, package: str, entries: Tree, placement: Placement) -> Iterator[Entry]:
        for entry in entries:
            if not self.rules.wants(placement.real(entry.path)):
                continue
            if entry.kind is Kind.HARD_LINK and not placement.has(entry.link):
                raise PiimageError(
                    "compose.dropped-link",
                    f"/{entry.path} is a hard link to /{entry.link}, which was dropped",
                    place=package,
                    hint="add the one to `drop:` or the other to `keep:`",
                )
            yield from self._one(package, entry, placement)

    def _one(self, package: str, entry: Entry, placement: Placement) -> Iterator[Entry]:
        # What the rules say of a path stands; a package does not overrule it.
        stated = {*self.rules.links, *(one.path for one in self.rules.files), *_ACCOUNTS}
        if placement.has(entry.path) and placement.real(entry.path) in stated:
            return
        yield from placement.place([replace(entry, origin=package)])


_ACCOUNTS = ("etc/passwd", "etc/group", "etc/shadow")


@dataclass(frozen=True)
class FilesLayer(Layer):
    """Files, links and folders that no package brings."""

    name: str
    rules: Rules

    @property
    def title(self) -> str:
        """What is being made."""
        return f"lay out the files of {self.name}"

    def tree(self, job: Job) -> Tree:
        """Give what the rules add."""
        placement = Placement()
        placement.assume(MERGED)
        # The file's own etc/passwd wins over the one that is made.
        own = {one.path for one in self.rules.files} | set(self.rules.links)
        made = (e for e in added(self.rules) if not (e.kind is Kind.FILE and e.path in own))
        yield from placement.place(made)
        yield from placement.place(_files(self.rules.files, job))


@dataclass(frozen=True)
class ModulesLayer(Layer):
    """The kernel's modules, and the list of those that the system loads, with parameters."""

    modules: ModuleTree

    @property
    def title(self) -> str:
        """What is being made."""
        return "lay out the kernel modules"

    def tree(self, job: Job) -> Tree:
        """Give the modules, depmod's indexes, and the list."""
        placement = Placement()
        late = job.file(self.modules, "late-order").read_bytes()
        yield from placement.place([file("etc/piimage/modules-late", late)])
        with job.file(self.modules, "tree").open("rb") as stream:
            yield from placement.place(read_tar(stream, "the modules"))


def _files(files: tuple[File, ...], job: Job) -> Iterator[Entry]:
    for one in sorted(files, key=lambda f: f.path):
        if isinstance(one.content, bytes):
            yield file(one.path, one.content, one.mode, one.uid, one.gid)
        else:
            entry = stored_file(one.path, one.content, job, one.mode)
            yield replace(entry, uid=one.uid, gid=one.gid)


def _joining(
    entries: Tree, joined: Sequence[tuple[Matcher, bytearray]], placement: Placement
) -> Iterator[Entry]:
    """Pass `entries` on, and append the files that match to what they are joined into."""
    for entry in entries:
        real = placement.real(entry.path)
        hits = [data for matches, data in joined if entry.kind is Kind.FILE and matches(real)]
        if not hits:
            yield entry
            continue
        twice = _in_memory(entry)
        for data in hits:
            data.extend(b"".join(twice.content()).rstrip(b"\n") + b"\n")
        yield twice


def _in_memory(entry: Entry) -> Entry:
    """Return `entry` with a content that can be read twice; a stream can be read once."""
    data = b"".join(entry.content())
    return replace(entry, content=lambda: (data,))


def stored_file(path: str, blob: Blob, job: Job, mode: int = 0o644) -> Entry:
    """Return the entry of a file whose content is a blob of the store, root's."""

    def content() -> Iterator[bytes]:
        with job.store.verified(blob).open("rb") as stream:
            while data := stream.read(CHUNK):
                yield data

    return Entry(path, Kind.FILE, mode, size=blob.size, content=content)
