"""The output formats of a build."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from piimage.board import Board
from piimage.card.image import Card
from piimage.errors import InputError, raise_all
from piimage.formats.disks import DISKS
from piimage.formats.imager import check_url, write_listing
from piimage.formats.images import Images
from piimage.formats.iso import Iso
from piimage.formats.kernel import KernelAndInitramfs, KernelAndInitramfsTar
from piimage.formats.tree import RootTar
from piimage.plan.slot import Version
from piimage.steps import Job, Step

CARD: Final = "card"
_UEFI_DISKS: Final = {"raw-efi": CARD, "qcow2-efi": "qcow2"}
"""LinuxKit's names of disks that UEFI boots, which here is the board's business."""
_ISO: Final = "iso-efi"
_UEFI: Final = {**_UEFI_DISKS, _ISO: CARD}
"""What only UEFI boots, and what other boards have instead."""
_ALIASES: Final = {"raw": CARD, **_UEFI_DISKS}
"""Other names of formats: a card is a raw disk."""
BUNDLE: Final = "bundle"


class Format(Protocol):
    """An output format of a version."""

    def steps(self, version: Version) -> Sequence[Step]:
        """Return the steps that the format needs in addition to those of the version."""
        ...

    def write(self, version: Version, job: Job, name: str, out: Path) -> tuple[Path, ...]:
        """Write the files into the folder `out`, each atomically; return their paths."""
        ...


FORMATS: Final[Mapping[str, Format]] = {
    "kernel+initrd": KernelAndInitramfs(),
    "tar-kernel-initrd": KernelAndInitramfsTar(),
    "tar": RootTar(),
    "oci": Images(),
    _ISO: Iso(),
}
_KNOWN: Final = (CARD, *_ALIASES, *DISKS, *FORMATS, BUNDLE)


@dataclass(frozen=True)
class Chosen:
    """The requested formats; `piimage.build` writes the card, `piimage.deploy` makes bundles."""

    names: tuple[str, ...] = (CARD,)
    imager_url: str | None = None
    """The URL of the folder for Raspberry Pi Imager's download; None if it is not requested."""

    uefi: tuple[str, ...] = ()
    """The names that were requested and that mean a disk or CD for UEFI."""

    def require_board(self, board: Board) -> None:
        """Raise InputError ``formats.no-uefi`` if a format needs UEFI and the board has none."""
        if self.uefi and board.firmware.chain != "uefi":
            raise InputError(
                "formats.no-uefi",
                f"{self.uefi[0]} is for UEFI, and {board.title} does not boot by it",
                place="--format",
                hint=f"write {_UEFI[self.uefi[0]]}, or take a board with UEFI, such as arm64-uefi",
            )

    @property
    def card(self) -> bool:
        """Whether the card image is requested."""
        return CARD in self.names

    @property
    def disks(self) -> tuple[str, ...]:
        """The forms of disks in which the card's content is requested."""
        return tuple(name for name in self.names if name in DISKS)

    @property
    def bundle(self) -> bool:
        """Whether a bundle for update servers is requested."""
        return BUNDLE in self.names

    def steps(self, version: Version) -> tuple[Step, ...]:
        """Return the steps that the formats need in addition to those of the version."""
        return tuple(step for form in self._others() for step in form.steps(version))

    def write(self, version: Version, job: Job, name: str, out: Path) -> tuple[Path, ...]:
        """Write all formats except the card, disks and the bundle; return the paths."""
        return tuple(p for form in self._others() for p in form.write(version, job, name, out))

    def remarks(self, name: str) -> Iterator[str]:
        """Yield what is to be known of the results called `name`."""
        if _ISO in self.names:
            yield (
                f"{name}.iso runs from memory: all that it writes, also to /data, is lost "
                "when it is switched off"
            )

    def list_for_imager(self, card: Card, version: Version) -> tuple[Path, ...]:
        """Write the packed card and its listing for Raspberry Pi Imager, if requested."""
        if self.imager_url is None:
            return ()
        return write_listing(card, version, self.imager_url)

    def _others(self) -> Iterable[Format]:
        return (FORMATS[name] for name in self.names if name in FORMATS)


def parse(text: str, *, imager_url: str | None = None) -> Chosen:
    """Return the formats of a list such as ``card,tar``.

    Raises InputError ``formats.unknown`` for each unknown name, ``formats.imager-url`` for a URL
    from which Imager cannot download, or if the formats do not include the card.
    """
    words = [name.strip() for name in text.split(",") if name.strip()]
    names = tuple(dict.fromkeys(_ALIASES.get(name, name) for name in words))
    raise_all(_unknown(name) for name in names or ("",) if name not in _KNOWN)
    if imager_url is not None:
        check_url(imager_url, with_card=CARD in names)
    return Chosen(names, imager_url, tuple(name for name in words if name in _UEFI))


def _unknown(name: str) -> InputError:
    near = difflib.get_close_matches(name, _KNOWN, 1)
    return InputError(
        "formats.unknown",
        f"there is no format {name!r}",
        place="--format",
        hint=f"did you mean {near[0]}?" if near else f"give one or more of {', '.join(_KNOWN)}",
    )
