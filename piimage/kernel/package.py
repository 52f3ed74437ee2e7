"""The kernel's Debian packages, unpacked once: image, device trees, and all modules."""

from __future__ import annotations

import fnmatch
import zlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from piimage.debian.deb import data_stream
from piimage.errors import InputError, PiimageError
from piimage.steps import Job, Step
from piimage.store import Blob
from piimage.trees import Entry, Kind, read_tar, tar_chunks

_IMAGES: Final = ("boot/vmlinuz-*", "usr/lib/modules/*/vmlinuz")
_MODULES: Final = "usr/lib/modules/"
_MAGIC: Final = (0x38, b"ARM\x64")
_MAX_IMAGE: Final = 256 << 20


@dataclass(frozen=True)
class KernelParts(Step):
    """The parts of a kernel from any source.

    Outputs: ``image`` (the arm64 Image in the `form` for the board: gzip or raw), ``modules`` (a
    tar of usr/lib/modules/RELEASE), ``release`` (its name as text), and one output for each name
    in `device_trees`.
    """

    device_trees: tuple[str, ...]
    form: str = field(default="gzip", kw_only=True)

    @property
    def title(self) -> str:
        """The name of the work."""
        return "unpack the kernel"

    @abstractmethod
    def entries(self, job: Job) -> Iterator[Entry]:
        """Yield all files of the kernel, with Debian's paths."""

    def make(self, job: Job) -> Mapping[str, Blob]:
        """Read every file once.

        Raises InputError ``kernel.incomplete`` if a part is missing.
        """
        outputs: dict[str, Blob] = {}
        # Another thread compresses the image while the modules after it are read.
        with ThreadPoolExecutor(1) as pool, job.store.writing() as (writer, keep):
            images: list[Future[Blob]] = []
            for chunk in tar_chunks(self._modules(job, outputs, pool, images)):
                writer.write(chunk)
            outputs["modules"] = keep(None)
            outputs.update(("image", image.result()) for image in images)
        missing = [n for n in ("image", "release", *self.device_trees) if n not in outputs]
        if missing:
            raise InputError(
                "kernel.incomplete",
                f"the kernel has no {', '.join(missing)}",
                hint="name another kernel package or suite in the board's file",
            )
        return outputs

    def _modules(
        self, job: Job, outputs: dict[str, Blob], pool: Executor, images: list[Future[Blob]]
    ) -> Iterator[Entry]:
        """Yield the modules; put device trees into `outputs`, and the image into `images`."""
        for entry in self.entries(job):
            name = self._output(entry)
            if name == "image":
                images.append(pool.submit(job.store.add_stream, self._packed(_image(entry))))
            elif name:
                outputs[name] = job.store.add_stream(entry.content())
            elif _is_module_file(entry):
                if "release" not in outputs:
                    release = entry.path.split("/")[3]
                    outputs["release"] = job.store.add_bytes(release.encode())
                yield entry

    def _packed(self, image: bytes) -> Iterable[bytes]:
        return _gzip(image) if self.form == "gzip" else (image,)

    def _output(self, entry: Entry) -> str:
        if entry.kind is not Kind.FILE:
            return ""
        if any(fnmatch.fnmatchcase(entry.path, pattern) for pattern in _IMAGES):
            return "image"
        name = PurePosixPath(entry.path).name
        return name if name in self.device_trees else ""


@dataclass(frozen=True)
class UnpackedKernel(KernelParts):
    """A kernel from Debian packages."""

    packages: tuple[Blob, ...]

    def entries(self, job: Job) -> Iterator[Entry]:
        """Yield the files of each package."""
        for package in self.packages:
            path = job.store.verified(package)
            with data_stream(job.runner, path) as stream:
                yield from read_tar(stream, str(path))


def _is_module_file(entry: Entry) -> bool:
    """Return whether `entry` is a module or a list of modules (``modules.builtin``)."""
    parts = entry.path.split("/")
    if entry.kind is not Kind.FILE or not entry.path.startswith(_MODULES) or len(parts) < 5:
        return False
    return parts[4] == "kernel" or parts[4].startswith("modules.")


def _image(entry: Entry) -> bytes:
    """Return the arm64 Image, decompressed if it is a gzip file.

    Source: Documentation/arch/arm64/booting.rst, "Call the kernel image".
    """
    data = b"".join(entry.content())
    if data[:2] == b"\x1f\x8b":
        data = zlib.decompressobj(wbits=31).decompress(data, _MAX_IMAGE)
    offset, magic = _MAGIC
    if data[offset : offset + 4] != magic:
        raise PiimageError(
            "kernel.not-arm64",
            f"{entry.path} is not an arm64 kernel image",
            hint="name an arm64 kernel package in the board's file",
        )
    return data


def _gzip(data: bytes) -> Iterable[bytes]:
    """Compress `data` with gzip, without name and time, as the firmware and QEMU accept it."""
    packer = zlib.compressobj(level=4, wbits=31)
    yield packer.compress(data)
    yield packer.flush()
