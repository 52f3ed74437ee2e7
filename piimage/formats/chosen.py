"""Which forms a build writes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from piimage.card.image import Card
from piimage.errors import InputError, raise_all
from piimage.formats.imager import check_url, write_listing
from piimage.formats.images import Images
from piimage.formats.kernel import KernelAndInitramfs
from piimage.formats.tree import RootTar
from piimage.plan.slot import Version
from piimage.steps import Job, Step

CARD: Final = "card"


class Format(Protocol):
    """A form of a version."""

    def steps(self, version: Version) -> Sequence[Step]:
        """Return what has to be made beside the version itself."""
        ...

    def write(self, version: Version, job: Job, name: str, out: Path) -> tuple[Path, ...]:
        """Write it into the folder `out`, each file whole or not at all."""
        ...


FORMATS: Final[Mapping[str, Format]] = {
    "kernel+initrd": KernelAndInitramfs(),
    "tar": RootTar(),
    "oci": Images(),
}


@dataclass(frozen=True)
class Chosen:
    """The forms that were asked for; the card is one of them, made elsewhere."""

    names: tuple[str, ...] = (CARD,)
    imager_url: str | None = None
    """Where the card will be served for Raspberry Pi Imager, if it shall be packed for that."""

    @property
    def card(self) -> bool:
        """Whether the card image is among them."""
        return CARD in self.names

    def steps(self, version: Version) -> tuple[Step, ...]:
        """Return what has to be made beside the version itself."""
        return tuple(step for one in self._others() for step in one.steps(version))

    def write(self, version: Version, job: Job, name: str, out: Path) -> tuple[Path, ...]:
        """Write all but the card; return what was written."""
        return tuple(p for one in self._others() for p in one.write(version, job, name, out))

    def list_for_imager(self, card: Card, version: Version) -> tuple[Path, ...]:
        """Write the packed card and Raspberry Pi Imager's list of it, if that was asked for."""
        if self.imager_url is None:
            return ()
        return write_listing(card, version, self.imager_url)

    def _others(self) -> Iterable[Format]:
        return (FORMATS[name] for name in self.names if name != CARD)


def parse(text: str, *, imager_url: str | None = None) -> Chosen:
    """Read ``card,tar`` and the like.

    Raises InputError ``formats.unknown`` for each name that is none, ``formats.imager-url`` for a
    URL that nothing can be downloaded from, or one without a card to go with it.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    raise_all(_unknown(name) for name in names or ("",) if name not in (CARD, *FORMATS))
    if imager_url is not None:
        check_url(imager_url, with_card=CARD in names)
    return Chosen(names, imager_url)


def _unknown(name: str) -> InputError:
    known = (CARD, *FORMATS)
    near = difflib.get_close_matches(name, known, 1)
    return InputError(
        "formats.unknown",
        f"there is no format {name!r}",
        place="--format",
        hint=f"did you mean {near[0]}?" if near else f"it is one or more of {', '.join(known)}",
    )
