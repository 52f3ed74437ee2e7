"""What the file may say and this version of piimage cannot do: refused, never passed over."""

from __future__ import annotations

from collections.abc import Iterator

from piimage.config.models import Appliance
from piimage.errors import InputError, PiimageError, raise_all
from piimage.images import LOCAL


def refuse_unsupported(appliance: Appliance) -> None:
    """Raise InputError ``plan.unsupported`` for each thing that would silently be left out."""
    raise_all(_unsupported(appliance))


def _unsupported(appliance: Appliance) -> Iterator[PiimageError]:
    for volume in appliance.volumes:
        if volume.image is not None and volume.format == "oci":
            yield _no(
                f"volumes.{volume.name}", "a volume with an image's layout", "format: filesystem"
            )
    images = (appliance.kernel.image, *appliance.init)
    for name in images:
        if name is not None and name.startswith(LOCAL):
            yield _no("init", f"{name} here", "push it to a registry and name it by that")


def _no(place: str, what: str, instead: str) -> InputError:
    return InputError(
        "plan.unsupported",
        f"this version cannot do {what}",
        place=place,
        hint=f"instead: {instead}",
    )
