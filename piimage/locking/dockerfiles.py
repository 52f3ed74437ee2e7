"""Entries whose `build:` folder has a Dockerfile and no service.yml: an engine builds them.

The store remembers the image of each content of a folder and its base images, so a Dockerfile that
is not reproducible still gives the same image here.
"""

from __future__ import annotations

import hashlib
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from piimage import events
from piimage.boundary import require_inside
from piimage.config.container import LABEL
from piimage.config.models import Appliance
from piimage.errors import PiimageError, raise_all
from piimage.locking.folders import dockerfile_folder, entries
from piimage.oci import dockerfile, models
from piimage.oci.layout import Image, Layout
from piimage.oci.models import Descriptor
from piimage.store import Store

if TYPE_CHECKING:
    from piimage.oci.engine import Engine

_NAME: Final = "Dockerfile"
_REMEMBERED: Final = "piimage Dockerfile 1"


def folders_of(appliance: Appliance) -> tuple[Path, ...]:
    """Return the folders with a Dockerfile that entries build, each once, in order."""
    folders = (dockerfile_folder(entry) for entry in entries(appliance))
    return tuple(dict.fromkeys(folder for folder in folders if folder is not None))


def base_images(folder: Path) -> tuple[str, ...]:
    """Return the images that the Dockerfile of `folder` builds on.

    Raises InputError ``oci.dockerfile``.
    """
    path = folder / _NAME
    require_inside(path, folder, str(path))
    return dockerfile.base_images(path.read_text(), {}, str(path))


def sets_label(folder: Path) -> bool:
    """Tell whether the Dockerfile of `folder` names LinuxKit's label."""
    return LABEL in (folder / _NAME).read_text()


@dataclass(frozen=True)
class Dockerfiles:
    """Builds them with `engine`, which is opened on the first need."""

    store: Store
    engine: Callable[[], Engine]
    emit: events.Listener
    offline: bool = False

    def build(self, folders: Sequence[Path], images: Mapping[str, Image]) -> Mapping[str, Image]:
        """Return the image of each of `folders` by its path; `images` are the base images.

        Raises, all at once, what `Engine.build` raises, and PiimageError ``images.not-built`` if a
        build is needed offline.
        """
        built: dict[str, Image] = {}
        errors: list[PiimageError] = []
        for folder in folders:
            bases = {name: images[name] for name in base_images(folder)}
            try:
                built[str(folder)] = self._image(folder, bases)
            except PiimageError as error:
                errors.append(error)
        raise_all(errors)
        return built

    def _image(self, folder: Path, bases: Mapping[str, Image]) -> Image:
        key = content_key(folder, bases)
        remembered = self._remembered(key)
        if remembered is not None:
            return remembered
        if self.offline:
            raise PiimageError(
                "images.not-built",
                "the store has no image of this content, and --offline does not allow a build",
                place=str(folder),
                hint="run it once without --offline",
            )
        from piimage.oci.engine import Build  # noqa: PLC0415  # the SDK is slow to import

        title, began = f"build {folder.name} by its Dockerfile", time.monotonic()
        self.emit(events.StepStarted(key, title))
        image = self.engine().build(Build(folder, bases))
        # All blobs, so that the entry is void if one is deleted; the first is the manifest.
        blobs = {str(number): blob for number, blob in enumerate(image.blobs)}
        self.store.remember(key, blobs)
        self.emit(events.StepFinished(key, title, time.monotonic() - began))
        return image

    def _remembered(self, key: str) -> Image | None:
        blobs = self.store.recall(key)
        if blobs is None:
            return None
        manifest = blobs["0"]
        layout = Layout(self.store)
        descriptor = Descriptor(
            media_type=models.MANIFEST, digest=manifest.digest, size=manifest.size
        )
        return layout.image(descriptor)


def content_key(folder: Path, bases: Mapping[str, Image]) -> str:
    """Return the digest of what an image depends on: the folder's files and the base images."""
    digest = hashlib.sha256(_REMEMBERED.encode())
    for name, image in sorted(bases.items()):
        digest.update(f"\0{name} {image.descriptor.digest}".encode())
    for path in _files(folder):
        status = path.lstat()
        kind = "link" if path.is_symlink() else f"{stat.S_IMODE(status.st_mode) & 0o111:o}"
        data = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        line = f"\0{path.relative_to(folder)} {kind} {hashlib.sha256(data).hexdigest()}"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if ".git" not in parts and "__pycache__" not in parts and not path.is_dir():
            yield path
