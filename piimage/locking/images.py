"""Container images from registries: pinned in the lock, and pulled into the store."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from piimage.config.models import Appliance
from piimage.errors import PiimageError, raise_all
from piimage.lock import Lock, LockedImage
from piimage.oci import reference as references
from piimage.oci.layout import Image, Layout
from piimage.oci.models import ARM64, Execution, Platform
from piimage.oci.registry import Registry
from piimage.run import Runner
from piimage.store import Store

LOCAL = "@pkg:"
"""LinuxKit's prefix for an image that is built from a folder."""


def references_of(appliance: Appliance) -> tuple[str, ...]:
    """Return every image that the file names, once, in order."""
    sections = (*appliance.onboot, *appliance.onshutdown, *appliance.services)
    named = [appliance.kernel.image, *appliance.init, *(entry.image for entry in sections)]
    named += [volume.image for volume in appliance.volumes]
    return tuple(dict.fromkeys(name for name in named if name and not name.startswith(LOCAL)))


def stored_images(root: Path) -> Images:
    """Return the images that the store at `root` has, without access to a registry."""
    return Images(Registry(Layout(Store(root)), Runner()), offline=True)


@dataclass(frozen=True)
class Images:
    """Pins images and pulls them; if `offline`, only images in the store are used."""

    registry: Registry
    offline: bool = False

    def lock(
        self, requested: Iterable[str], old: Lock, moving: Collection[str]
    ) -> tuple[LockedImage, ...]:
        """Return the pin of each image in `requested`; pins of `old` stay unless in `moving`."""
        known = {image.reference: image for image in old.images}
        pins: list[LockedImage] = []
        errors: list[PiimageError] = []
        for name in requested:
            if name in known and name not in moving and "*" not in moving:
                pins.append(known[name])
                continue
            try:
                pins.append(self._resolved(name))
            except PiimageError as error:
                errors.append(error)
        raise_all(errors)
        return tuple(sorted(pins, key=lambda pin: pin.reference))

    def _resolved(self, name: str) -> LockedImage:
        if self.offline:
            raise PiimageError(
                "images.not-locked",
                "the lock does not pin it, and --offline does not allow access to a registry",
                place=name,
                hint="run piimage lock once without --offline",
            )
        resolved = self.registry.resolve(references.parse(name))
        digest = resolved.reference.digest or resolved.manifest.digest
        return LockedImage(name, digest, resolved.manifest.digest)

    def execution(self, pin: LockedImage) -> Execution | None:
        """Return how the image of `pin` is started; None if the store lacks its documents."""
        exact = references.parse(pin.reference).at(pin.manifest)
        image = self.registry.described(exact)
        return None if image is None else image.config.execution

    def have(self, pins: Iterable[LockedImage], platform: Platform = ARM64) -> Mapping[str, Image]:
        """Return the images by reference, pulled if need be; all errors at once."""
        images: dict[str, Image] = {}
        errors: list[PiimageError] = []
        for pin in pins:
            try:
                images[pin.reference] = self._pulled(pin, platform)
            except PiimageError as error:
                errors.append(error)
        raise_all(errors)
        return images

    def _pulled(self, pin: LockedImage, platform: Platform) -> Image:
        # The pinned manifest is for arm64; the index has those of other platforms.
        exact = references.parse(pin.reference).at(
            pin.manifest if platform == ARM64 else pin.digest
        )
        stored = self.registry.stored(exact, platform)
        if stored is not None:
            return stored
        if self.offline:
            raise PiimageError(
                "images.not-stored",
                "the image is incomplete in the store, and --offline does not allow a pull",
                place=pin.reference,
                hint="run it once without --offline",
            )
        return self.registry.pull(exact, platform)
