"""Consent to what the label of an image requests: by the file, and recorded in the lock."""

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

Executions = Callable[[LockedImage], Execution | None]
"""Returns how the image of a pin is started; None if the store does not have the image."""


def label_of(execution: Execution, name: str) -> ContainerConfig | None:
    """Return the label of the image `name`; None if it has none.

    Raises InputError, or a group of them, for a label that cannot be read.
    """
    text = (execution.labels or {}).get(LABEL)
    return None if text is None else parse_label(text, name)


def is_trusted(trust: Trust | None, pin: LockedImage) -> bool:
    """Tell whether the section `trust:` of the file names the image of `pin`, or its owner."""
    if trust is None:
        return False
    name = parse(pin.reference).name
    return name.rpartition("/")[0] in map(_organisation, trust.org) or any(
        _names(reference, pin) for reference in trust.image
    )


def _organisation(text: str) -> str:
    return text.strip("/")


def _names(text: str, pin: LockedImage) -> bool:
    """Tell whether `text`, of ``trust.image``, names `pin`; without a tag it names all tags."""
    named, pinned = parse(text, "trust.image"), parse(pin.reference)
    if named.name != pinned.name:
        return False
    if named.digest:
        return named.digest in (pin.digest, pin.manifest)
    return ":" not in text.rpartition("/")[2] or named.tag == pinned.tag


def _names_exactly(trust: Trust | None, pin: LockedImage) -> bool:
    exact = [reference for reference in trust.image if "@" in reference] if trust else []
    return any(_names(reference, pin) for reference in exact)


@dataclass(frozen=True)
class LabelRequest:
    """An entry whose image has the `label`, and the grants that only the label requests."""

    entry: Entry
    place: str
    image: str
    label: ContainerConfig | None
    requested: tuple[str, ...]

    def beyond(self, granted: Collection[str]) -> tuple[str, ...]:
        """Return the requests that neither `granted` nor the entry's own `trust:` has."""
        known = {*granted, *self.entry.trust}
        return tuple(grant for grant in self.requested if grant not in known)

    def require(self, granted: Collection[str], title: str) -> None:
        """Refuse requests beyond `granted`, named `title` (``images.not-granted``)."""
        more = self.beyond(granted)
        if more:
            line = ", ".join(_quoted(grant) for grant in (*self.entry.trust, *more))
            raise InputError(
                "images.not-granted",
                "\n    ".join([f"the label of {self.image} asks for more than {title}:", *more]),
                place=self.place,
                hint=f"to grant it, write in this entry: trust: [{line}]",
            )


def _quoted(text: str) -> str:
    """Return the printable ASCII `text` in the single quotes of YAML."""
    return "'" + text.replace("'", "''") + "'"


def label_request(entry: Entry, place: str, execution: Execution, name: str) -> LabelRequest:
    """Return what the label of the image `name` requests for `entry`, which is at `place`.

    Raises InputError, or a group of them, for a label that cannot be read, and
    ``oci.label-path``.
    """
    label = label_of(execution, name)
    try:
        return LabelRequest(entry, place, name, label, asks(label, entry) if label else ())
    except InputError as error:
        raise InputError(
            error.code, error.message, place=f"{place} ({name})", hint=error.hint
        ) from error


def require_consent(request: LabelRequest, trust: Trust | None, pin: LockedImage | None) -> None:
    """Refuse what neither the entry nor the section `trust` agrees to (``images.not-granted``).

    `pin` is that of the image that the label belongs to.
    """
    if pin is None or not is_trusted(trust, pin):
        request.require((), "the defaults")


def require_granted(request: LabelRequest, trust: Trust | None, pin: LockedImage | None) -> None:
    """Refuse as `require_consent` does, and what the lock does not record (``lock.outgrown``)."""
    require_consent(request, trust, pin)
    if more := request.beyond(pin.granted if pin else ()):
        raise InputError(
            "lock.outgrown",
            "\n    ".join([f"the lock does not record what {request.image} was granted:", *more]),
            place=request.place,
            hint="run piimage lock, which keeps all pins where they are",
        )


def record_grants(
    appliance: Appliance,
    pins: Sequence[LockedImage],
    before: Mapping[str, LockedImage],
    execution: Executions,
) -> tuple[LockedImage, ...]:
    """Return `pins` with what the file grants to each; unchanged if the store lacks the image.

    `before` are the pins of the last lock. To an image that moved, the section `trust` grants only
    what was recorded there, unless it names the new digest. Raises InputError
    ``images.not-granted``, all at once.
    """
    errors: list[PiimageError] = []
    recorded = []
    for pin in pins:
        image = execution(pin)
        with gathering(errors):
            old = before.get(pin.reference)
            moved = old if old is not None and old.digest != pin.digest else None
            recorded.append(pin if image is None else _recorded(appliance, pin, moved, image))
    raise_all(errors)
    return tuple(recorded)


def _recorded(
    appliance: Appliance, pin: LockedImage, moved: LockedImage | None, execution: Execution
) -> LockedImage:
    granted: set[str] = set()
    errors: list[PiimageError] = []
    # The images of Dockerfiles are those that the file trusts, so consent is no question there.
    for entry, place in (*_naming(appliance, pin.reference), *_built_on(appliance, pin)):
        with gathering(errors):
            request = label_request(entry, place, execution, pin.reference)
            require_consent(request, appliance.trust, pin)
            if moved is not None and not _names_exactly(appliance.trust, pin):
                request.require(moved.granted, "the lock says that it was granted before")
            granted |= {*request.requested}
    raise_all(errors)
    return replace(pin, granted=tuple(sorted(granted)))


def refuse_ungranted(
    appliance: Appliance,
    pins: Sequence[LockedImage],
    execution: Executions,
    places: Mapping[str, str],
) -> None:
    """Refuse as `require_granted` does, all entries at once, if the store has their images.

    `places` gives the ``file:line:column`` of ``SECTION.NAME``.
    """
    errors: list[PiimageError] = []
    for pin in pins:
        image = execution(pin)
        if image is None:
            continue
        for entry, place in _naming(appliance, pin.reference):
            with gathering(errors):
                request = label_request(entry, places.get(place, place), image, pin.reference)
                require_granted(request, appliance.trust, pin)
    raise_all(errors)


def _naming(appliance: Appliance, reference: str) -> Iterator[tuple[Entry, str]]:
    """Yield the entries made from the image `reference`, each with its place."""
    for kind in ("onboot", "onshutdown", "services"):
        for entry in getattr(appliance, kind):
            if entry.image == reference:
                yield entry, f"{kind}.{entry.name}"


def _built_on(appliance: Appliance, pin: LockedImage) -> Iterator[tuple[Entry, str]]:
    """Yield the entries whose Dockerfile builds on the image of `pin`, if the file trusts it.

    Only the build shows whether its label is theirs; without trust, that refuses it.
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
    """Append an error, or each member of a group, to `errors`, and continue after the block."""
    try:
        yield
    except ErrorGroup as group:
        errors += group.errors
    except PiimageError as error:
        errors.append(error)
