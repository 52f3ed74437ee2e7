"""What no single value shows of disks: labels that two of them have, and binds of none."""

from collections.abc import Iterator

from piimage.config.disks import MEDIA
from piimage.config.lookup import maps, repeated, scalar, scalars
from piimage.config.paths import SECTIONS
from piimage.config.values import did_you_mean, quoted
from piimage.document.nodes import MapNode, ScalarNode
from piimage.errors import InputError


def disk_errors(root: MapNode) -> Iterator[InputError]:
    """Give what is wrong with the disks of the file, and with the binds of them."""
    disks = list(maps(root, "disks"))
    if not disks:
        return
    yield from _shared_labels(disks)
    names = {name.text for disk in disks if (name := scalar(disk, "name"))}
    for section in SECTIONS:
        for entry in maps(root, section):
            for key in ("binds", "binds.add"):
                for bind in scalars(entry, key):
                    yield from _bind_errors(bind, names)


def _shared_labels(disks: list[MapNode]) -> Iterator[InputError]:
    for label, first in repeated(disks, "label"):
        yield InputError(
            "config.shared-label",
            f"two disks have the label {quoted(label.text)}",
            place=str(label.at),
            hint=f"give one of them another label; the first is at {first}",
        )


def _bind_errors(bind: ScalarNode, names: set[str]) -> Iterator[InputError]:
    """Refuse a bind of a disk that the file has not, and of a folder inside a disk.

    The latter exists only while the disk is plugged in: it would hide the disk that comes later.
    """
    source = bind.text.partition(":")[0].rstrip("/")
    if not source.startswith(f"{MEDIA}/"):
        return
    name, slash, _ = source.removeprefix(f"{MEDIA}/").partition("/")
    if name not in names:
        yield InputError(
            "config.no-disk",
            f"there is no disk {quoted(name)}",
            place=str(bind.at),
            hint=f"instead: {MEDIA}/{did_you_mean(name, names)}, or add the disk to disks:",
        )
    elif slash:
        yield InputError(
            "config.no-disk",
            f"{quoted(source)} exists only while the disk is plugged in",
            place=str(bind.at),
            hint=f"bind the disk itself, {MEDIA}/{name}, and name the folder in the container",
        )
