"""Who agreed to what an image's label asks for: the file, and the lock that recorded it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from piimage.config.container import LABEL, ContainerConfig
from piimage.config.load import parse_label
from piimage.config.models import Appliance, Entry
from piimage.container.asks import asks
from piimage.errors import ErrorGroup, InputError, PiimageError, raise_all
from piimage.lock import LockedImage
from piimage.locking.dockerfiles import base_images
from piimage.locking.folders import dockerfile_folder
from piimage.oci.models import Execution
from piimage.oci.reference import parse

if TYPE_CHECKING:
    from piimage.config.rare import Trust

Found = Callable[[LockedImage], Execution | None]
"""Gives how the image of a pin is started; None where it is not at hand."""


def label_of(execution: Execution, name: str) -> ContainerConfig | None:
    """Return what the label of the image `name` says; None if it has none.

    Raises InputError, or a group of them, for a label that cannot be read.
    """
    text = (execution.labels or {}).get(LABEL)
    return None if text is None else parse_label(text, name)


def is_trusted(trust: Trust | None, pin: LockedImage) -> bool:
    """Say whether the file's `trust:` section names the image of `pin`, or whose it is."""
    if trust is None:
        return False
    name = parse(pin.reference).name
    return name.rpartition("/")[0] in map(_organisation, trust.org) or any(
        _names(one, pin) for one in trust.image
    )


def _organisation(text: str) -> str:
    return text.strip("/")


def _names(text: str, pin: LockedImage) -> bool:
    """Say whether `text`, of ``trust.image``, means the image of `pin`; untagged it means all."""
    named, pinned = parse(text, "trust.image"), parse(pin.reference)
    if named.name != pinned.name:
        return False
    if named.digest:
        return named.digest in (pin.digest, pin.manifest)
    return ":" not in text.rpartition("/")[2] or named.tag == pinned.tag


def _names_exactly(trust: Trust | None, pin: LockedImage) -> bool:
    exact = [one for one in trust.image if "@" in one] if trust else []
    return any(_names(one, pin) for one in exact)


@dataclass(frozen=True)
class Asking:
    """An entry whose image has the `label`, and what it gets by that alone."""

    entry: Entry
    place: str
    image: str
    label: ContainerConfig | None
    asked: tuple[str, ...]

    def beyond(self, granted: Collection[str]) -> tuple[str, ...]:
        """Return what is asked for beside `granted` and what the entry itself agrees to."""
        return tuple(one for one in self.asked if one not in {*granted, *self.entry.trust})

    def require(self, granted: Collection[str], what: str) -> None:
        """Refuse what is beyond `granted`, which `what` names (``images.not-granted``)."""
        more = self.beyond(granted)
        if more:
            line = ", ".join(_quoted(one) for one in (*self.entry.trust, *more))
            raise InputError(
                "images.not-granted",
                "\n    ".join([f"the label of {self.image} asks for more than {what}:", *more]),
                place=self.place,
                hint=f"to grant it, write in this entry: trust: [{line}]",
            )


def _quoted(text: str) -> str:
    """Return `text`, which is printable ASCII, as YAML has it in single quotes."""
    return "'" + text.replace("'", "''") + "'"


def asking(entry: Entry, place: str, execution: Execution, name: str) -> Asking:
    """Return what the label of the image `name` asks for in `entry`, which is at `place`.

    Raises InputError, or a group of them, for a label that cannot be read, and
    ``oci.label-path``.
    """
    label = label_of(execution, name)
    try:
        return Asking(entry, place, name, label, asks(label, entry) if label else ())
    except InputError as error:
        raise InputError(
            error.code, error.message, place=f"{place} ({name})", hint=error.hint
        ) from error


def require_consent(one: Asking, trust: Trust | None, pin: LockedImage | None) -> None:
    """Refuse what neither the entry nor the section `trust` agrees to (``images.not-granted``).

    `pin` is that of the image whose word the label is.
    """
    if pin is None or not is_trusted(trust, pin):
        one.require((), "the defaults")


def require_granted(one: Asking, trust: Trust | None, pin: LockedImage | None) -> None:
    """Refuse as `require_consent` does, and what the lock does not record (``lock.outgrown``)."""
    require_consent(one, trust, pin)
    if more := one.beyond(pin.granted if pin else ()):
        raise InputError(
            "lock.outgrown",
            "\n    ".join([f"the lock does not record what {one.image} was granted:", *more]),
            place=one.place,
            hint="run piimage lock, which keeps all pins where they are",
        )


def record_grants(
    appliance: Appliance,
    pins: Sequence[LockedImage],
    before: Mapping[str, LockedImage],
    execution: Found,
) -> tuple[LockedImage, ...]:
    """Return `pins` with what the file grants to each; those of images not at hand as they are.

    `before` are the pins of the last lock. To an image that moved, the section `trust` grants what
    was recorded there and no more, unless it names this very digest. Raises InputError
    ``images.not-granted``, all at once.
    """
    errors: list[PiimageError] = []
    recorded = []
    for pin in pins:
        found = execution(pin)
        with gathering(errors):
            old = before.get(pin.reference)
            moved = old if old is not None and old.digest != pin.digest else None
            recorded.append(pin if found is None else _recorded(appliance, pin, moved, found))
    raise_all(errors)
    return tuple(recorded)


def _recorded(
    appliance: Appliance, pin: LockedImage, moved: LockedImage | None, execution: Execution
) -> LockedImage:
    granted: set[str] = set()
    errors: list[PiimageError] = []
    for entry, place in _naming(appliance, pin.reference):
        with gathering(errors):
            one = asking(entry, place, execution, pin.reference)
            require_consent(one, appliance.trust, pin)
            if moved is not None and not _names_exactly(appliance.trust, pin):
                one.require(moved.granted, "the lock says that it was granted before")
            granted |= {*one.asked}
    for entry, place in _built_on(appliance, pin):
        with gathering(errors):
            one = asking(entry, place, execution, pin.reference)
            if moved is not None and not _names_exactly(appliance.trust, pin):
                one.require(moved.granted, "the lock says that it was granted before")
            granted |= {*one.asked}
    raise_all(errors)
    return replace(pin, granted=tuple(sorted(granted)))


def refuse_ungranted(
    appliance: Appliance,
    pins: Sequence[LockedImage],
    execution: Found,
    places: Mapping[str, str],
) -> None:
    """Refuse as `require_granted` does, all entries at once, those whose image is at hand.

    `places` says where ``SECTION.NAME`` is written.
    """
    errors: list[PiimageError] = []
    for pin in pins:
        found = execution(pin)
        for entry, place in _naming(appliance, pin.reference) if found else ():
            with gathering(errors):
                assert found is not None  # noqa: S101  # else there is nothing to go over
                one = asking(entry, places.get(place, place), found, pin.reference)
                require_granted(one, appliance.trust, pin)
    raise_all(errors)


def _naming(appliance: Appliance, reference: str) -> Iterator[tuple[Entry, str]]:
    """Give the entries that are made from the image `reference`, each with its place."""
    for kind in ("onboot", "onshutdown", "services"):
        for entry in getattr(appliance, kind):
            if entry.image == reference:
                yield entry, f"{kind}.{entry.name}"


def _built_on(appliance: Appliance, pin: LockedImage) -> Iterator[tuple[Entry, str]]:
    """Give the entries whose Dockerfile builds on the image of `pin`, if the file trusts it.

    Whether its label is theirs is known once they are built; without trust it is refused then.
    """
    if not is_trusted(appliance.trust, pin):
        return
    for kind in ("onboot", "onshutdown", "services"):
        for entry in getattr(appliance, kind):
            folder = dockerfile_folder(entry)
            if folder is not None and pin.reference in base_images(folder):
                yield entry, f"{kind}.{entry.name}"


@contextmanager
def gathering(errors: list[PiimageError]) -> Iterator[None]:
    """Take an error into `errors`, each member of a group by itself, and go on behind."""
    try:
        yield
    except ErrorGroup as group:
        errors += group.errors
    except PiimageError as error:
        errors.append(error)
