"""Boards as data: what a board's card holds and how it is emulated, read from boards/NAME.yml."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from piimage import resources
from piimage.document.document import parse_document
from piimage.document.nodes import MAX_BYTES
from piimage.errors import InputError, PiimageError, raise_all

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
Word = Annotated[str, StringConstraints(pattern=r"^[!-~]+$")]
Line = Annotated[str, StringConstraints(pattern=r"^[ -~]+$")]
RelativePath = Annotated[
    str,
    StringConstraints(
        pattern=r"^[A-Za-z0-9_*+-][A-Za-z0-9_.,*+-]*(/[A-Za-z0-9_*+-][A-Za-z0-9_.,*+-]*)*$"
    ),
]
Mebibytes = Annotated[int, Field(ge=1, le=1 << 20)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Kernel(_Part):
    """Where the kernel comes from, and the form in which it lies on the card."""

    suite: Name
    """The archive suite, such as trixie or trixie-backports."""
    packages: tuple[Name, ...] = Field(min_length=1)
    """The packages that bring image, device trees and modules, by themselves or their depends."""
    form: Literal["gzip", "raw"] = "gzip"


Filter = Annotated[str, StringConstraints(pattern=r"^[a-z0-9+=-]+$")]
PathPattern = Annotated[str, StringConstraints(pattern=r"^/(dev|sys)/[!-~]+$")]


class Lack(_Part):
    """What hardware has and its kernel, or Debian's firmware, cannot use; and what asks for it."""

    what: Line
    """A sentence: what does not work, and why."""
    paths: tuple[PathPattern, ...] = ()
    """Patterns (as of the shell) of the device nodes and files that are not there."""
    overlays: tuple[Name, ...] = ()
    """The names under which people ask for it in `boot: overlays:`."""
    modules: tuple[Name, ...] = ()
    """The kernel modules that would drive it."""
    sections: tuple[Name, ...] = ()
    """The sections of the YAML that ask for it, such as network.wifi."""
    instead: Line | None = None
    """What to do instead, as a hint to the user."""


class Absent(_Part):
    """A model that people would look for under this board, and that cannot be supported."""

    title: Line
    names: tuple[Name, ...] = Field(min_length=1)
    """What people write for it after `board:`."""
    why: Line
    """What is missing, a sentence without its full stop."""
    filters: tuple[Filter, ...] = ()
    """As of a model."""


class Model(_Part):
    """One model of the board: what differs from its sisters before the kernel runs."""

    title: Line
    """What people call it; /proc/device-tree/model begins with it."""
    tree: RelativePath | None = None
    """Its device tree, below the kernel package's folder of them; None if it brings its own."""
    compatible: Line | None = None
    """The first word of the tree's `compatible`, by which drivers tell the models apart."""
    when: Filter | None = None
    """The filter of config.txt under which its tree is named; none for the tree of all others."""
    filters: tuple[Filter, ...] = ()
    """The model filters of config.txt that hold on it (documentation: "conditional filters")."""
    stepping: Name | None = None
    """The stepping of its processor, where the firmware treats it apart."""
    memory_mib: int = Field(default=1024, ge=128)
    """The least memory that it is sold with."""
    radios: tuple[Name, ...] = ()
    """The WiFi chips that it is built with, as the driver names their firmware."""
    lacks: tuple[Lack, ...] = ()
    """What does not work on it, and does on its sisters."""

    @property
    def tree_name(self) -> str | None:
        """The file name of its device tree on the card."""
        return None if self.tree is None else self.tree.rpartition("/")[2]


class Header(_Part):
    """What the 40 pins are called, for a report of a Pi."""

    i2c: tuple[Word, ...] = ()
    """The names of the node of the bus on pins 3 and 5: mainline's, and downstream's."""
    gpio: Word | None = None
    """How the label of the GPIO chip whose lines are there begins."""


class Eeprom(_Part):
    """The boot loader in an EEPROM, and since when it does what cards need."""

    since: int = Field(ge=0)
    """When the first that does was built, in seconds of 1970."""
    lacks: Line
    """What an older one does not do: the end of a sentence that begins with "it"."""


class Overlays(_Part):
    """The device tree overlays that the card carries."""

    folders: tuple[Name, ...] = ()
    """The folders below boards/overlays with the sources that fit the board's device trees."""
    always: tuple[Name, ...] = ()
    """Those that are applied unless the user leaves them out."""
    gives: Mapping[Name, tuple[PathPattern, ...]] = {}
    """Patterns of the device nodes that are there only while an overlay is applied, by its name."""
    instead_of: Mapping[Name, Name] = {}
    """The overlay that does what a parameter or an overlay of Raspberry Pi OS does, by its name."""


class Firmware(_Part):
    """What the firmware needs on the card, and which firmware it is."""

    packages: tuple[Name, ...] = ()
    root: RelativePath = "usr/lib/raspi-firmware"
    """The packages' folder of firmware files."""
    files: tuple[RelativePath, ...] = ()
    """Globs of the files below `root` that go to the card."""
    chain: Literal["bcm2837", "bcm2711", "bcm2712", "none"]
    """What runs before the kernel: its rules are in piimage/firmware/chains.py."""


class Wifi(_Part):
    """What a board needs for its WiFi, taken only when the user asks for WiFi."""

    packages: tuple[Name, ...]
    """Where the firmware of the models' radios is."""
    modules: tuple[Name, ...]


class Modules(_Part):
    """Kernel modules, in load order: those of the initramfs, and `late`, which the system loads."""

    boot: tuple[Name, ...]
    """The card, the file systems, the watchdog: loaded at once."""
    other_disks: tuple[Name, ...] = ()
    """USB and NVMe: loaded when the boot loader read such a disk, or the card does not appear."""
    late: tuple[Name, ...] = ()


class Function(_Part):
    """Something that the board can do, by what the kernel needs to have for it."""

    nodes: tuple[Word, ...] = ()
    """Its devices in the device tree: aliases, labels or paths; all that they need counts too."""
    overlays: tuple[Name, ...] = ()
    """The overlays without which it is off."""
    devices: tuple[Word, ...] = ()
    """Devices that no device tree has, as the kernel announces them: ``usb:…``, ``mdio:…``."""
    modules: tuple[Name, ...] = ()
    """Modules that belong to no device, such as i2c-dev."""
    stage: Literal["boot", "other_disks", "late"] = "late"
    """Which list of `modules` its drivers belong to: a disk's to one of the first two."""
    with_wifi: bool = False
    """Whether it is there only for a file that asks for WiFi, with the modules of `wifi`."""
    absent_on: tuple[Line, ...] = ()
    """The titles of the models that are made without it."""


class SelectorLayout(_Part):
    """Selector, slot A, slot B, data: for boot loaders that choose a partition."""

    kind: Literal["selector"]
    selector_mib: Mebibytes
    slot_mib: Mebibytes
    data_mib: Mebibytes

    @property
    def slots(self) -> tuple[int, int]:
        """The partition numbers of slots A and B."""
        return (2, 3)

    @property
    def data(self) -> int:
        """The number of the data partition."""
        return 4


class PrefixLayout(_Part):
    """One FAT with firmware and both slots as folders, and data."""

    kind: Literal["prefix"]
    firmware_mib: Mebibytes
    data_mib: Mebibytes

    @property
    def slots(self) -> tuple[str, str]:
        """The `os_prefix` of slots A and B."""
        return ("a/", "b/")

    @property
    def data(self) -> int:
        """The number of the data partition."""
        return 2


class Range(_Part):
    """What the emulated machine can have of something, and has by default."""

    default: int = Field(ge=1)
    least: int = Field(ge=1)
    most: int = Field(ge=1)


class DiskKind(StrEnum):
    """Where the content of a card can be: on a card, or on another disk.

    UAS is USB as well, spoken by a faster protocol.
    """

    CARD = "card"
    USB = "usb"
    UAS = "uas"
    NVME = "nvme"


OtherDisk = Literal[DiskKind.USB, DiskKind.UAS, DiskKind.NVME]


class Port(_Part):
    """How a disk that is no card is attached to the emulated machine."""

    bus: tuple[Word, ...] = ()
    """What the machine needs before it, as ``-device`` takes it."""
    device: Word
    """The disk itself, as ``-device`` takes it; which drive it is, is added."""


class Emulator(_Part):
    """The machine of QEMU that stands in for the board."""

    machine: Name
    cpu: Name | None = None
    accelerator: Word = "tcg,thread=multi"
    """As ``-accel`` takes it. Processors that spin until they are woken, as those of a Pi do, want
    ``thread=single``: on threads of their own they would take the host's processors."""
    cpus: Range
    memory_mib: Range
    disk: Literal["sd", "virtio"]
    """The interface of the card: QEMU's ``-drive if=``."""
    other_disks: Mapping[OtherDisk, Port] = Field(default_factory=dict)
    """The other kinds of disk that it can boot from."""
    network: Name
    """The network card: QEMU's name of the device."""
    devices: tuple[Word, ...] = ()
    """Further devices, as ``-device`` takes them."""
    fit: tuple[Name, ...] = ()
    """Sources in boards/emulator of overlays that fit the device tree to the machine, in order."""
    cmdline: tuple[Word, ...] = ()
    """Words added to the kernel's command line."""
    chosen: Literal["device-tree", "command-line", "nothing"]
    """How the kernel learns which partition was booted: as from the firmware, by a word, or not."""


class Board(_Part):
    """Everything that is particular to one kind of board."""

    name: Name
    title: Line
    models: tuple[Model, ...] = Field(min_length=1)
    """The first is the one that the emulator stands in for."""
    lacks: tuple[Lack, ...] = ()
    """What works on none of its models."""
    absent: tuple[Absent, ...] = ()
    """Models that look like its own, and for which there is no card."""
    processor: Word | None = None
    """The word of the device trees' `compatible` that all its models share."""
    header: Header = Header()
    eeprom: Eeprom | None = None
    kernel: Kernel
    overlays: Overlays
    firmware: Firmware
    wifi: Wifi | None = None
    imager: tuple[Name, ...] = ()
    """The tags of Raspberry Pi Imager's models that the board is; none for what is no Pi."""
    config: tuple[Line, ...]
    """Lines of config.txt."""
    cmdline: tuple[Word, ...]
    """Words of the kernel's command line."""
    modules: Modules
    functions: Mapping[Name, Function] = Field(default_factory=dict)
    """What the models can do, by name; docs/boards.md says on which each works."""
    console: Name
    """The console's terminal on the Pi, without /dev/: the last ``console=`` of `cmdline`."""
    watchdog: Name | None = None
    """The watchdog that process 1 keeps fed, without /dev/; none if the board has none."""
    layout: Annotated[SelectorLayout | PrefixLayout, Field(discriminator="kind")]
    emulator: Emulator | None = None
    folders: tuple[Path, ...] = Field(default=(), exclude=True)
    """Where it was looked for, before piimage's own: sources of its overlays may be there too."""

    @property
    def trees(self) -> tuple[str, ...]:
        """The file names of the models' device trees, each once."""
        names = (model.tree_name for model in self.models)
        return tuple(dict.fromkeys(name for name in names if name is not None))


_NOT_OF_THE_FILE: Final = {"name": "the file's name is the board's", "folders": "it is none"}

_Steps = Sequence[str | int]
_Places = Callable[[_Steps], str]
"""Gives the place where a file has what a path of keys and numbers leads to."""


def search_path(
    files: Iterable[Path] = (), environment: Mapping[str, str] = os.environ
) -> tuple[Path, ...]:
    """Return where boards are looked for, before piimage's own: every verb looks there.

    First ``boards/`` beside each of the `files` (the last first), then the folders of
    ``PIIMAGE_BOARDS``.
    """
    beside = [Path(file).parent / "boards" for file in reversed([*files])]
    named = [
        Path(name)
        for name in environment.get(resources.BOARDS_VARIABLE, "").split(os.pathsep)
        if name
    ]
    return tuple(dict.fromkeys([*beside, *named]))


def board_names(search: Sequence[Path] = ()) -> tuple[str, ...]:
    """Return the names of all boards in the folders `search` and in piimage's own."""
    return tuple(
        sorted({path.stem for folder in _folders(search) for path in folder.glob("*.yml")})
    )


def load_board(name: str, search: Sequence[Path] = ()) -> Board:
    """Read the board `name` from NAME.yml in the first folder of `search` that has it, or our own.

    Raises InputError ``boards.unknown`` when no folder has it, ``boards.unreadable`` when it is no
    YAML, and ``boards.invalid`` for each fault in it.
    """
    for folder in _folders(search):
        # Compared as text: a name is no path.
        if name in {entry.stem for entry in folder.glob("*.yml")}:
            return _read(name, folder / f"{name}.yml", search)
    known = board_names(search)
    near = difflib.get_close_matches(name, known, 1)
    meant = f"did you mean {near[0]}? The boards are" if near else "the boards are"
    raise InputError(
        "boards.unknown",
        f"there is no board {name!r}",
        hint=f"{meant} {', '.join(known)}; others are found in boards/ beside the file, and in "
        f"the folders of {resources.BOARDS_VARIABLE}",
    )


def known_boards(search: Sequence[Path] = ()) -> Iterator[Board]:
    """Give every board of `search` and of piimage's own that is without fault."""
    for name in board_names(search):
        try:
            yield load_board(name, search)
        except PiimageError:
            continue  # whoever names it is told


def overlay_sources(board: Board) -> dict[str, Path]:
    """Return the sources of the overlays that `board` can carry, by name.

    They lie in ``overlays/FOLDER`` of the folders where boards are looked for; the first counts.
    """
    roots = [folder / "overlays" for folder in _folders(board.folders)]
    places = [root / name for root in reversed(roots) for name in board.overlays.folders]
    found = {path.stem: path for place in places for path in sorted(place.glob("*.dtso"))}
    return dict(sorted(found.items()))


def fitting_source(board: Board, name: str) -> Path:
    """Return the source of an overlay that fits a device tree to the emulated machine.

    It lies in ``emulator/NAME.dtso`` of the folders where boards are looked for.
    """
    places = [folder / "emulator" / f"{name}.dtso" for folder in _folders(board.folders)]
    return next((place for place in places if place.is_file()), places[-1])


def _folders(search: Sequence[Path]) -> Iterator[Path]:
    yield from (folder for folder in search if folder.is_dir())
    yield resources.path("boards")


def _read(name: str, path: Path, search: Sequence[Path]) -> Board:
    if path.exists() and not path.is_file():
        raise _unreadable("it is no file", str(path))  # a pipe would be waited for
    try:
        with path.open("rb") as stream:
            document, errors = parse_document(stream.read(MAX_BYTES + 1), str(path))
    except OSError as error:
        raise _unreadable(f"it cannot be read: {error.strerror}", str(path)) from None
    raise_all(_unreadable(f"this is no YAML: {one.message}", one.place) for one in errors)

    def place(steps: _Steps) -> str:
        within_list = not steps or isinstance(steps[-1], int)
        return str(document.place(steps) if within_list else document.key_place(steps))

    return parse_board(name, document.data(), origin=place, search=search)


def _unreadable(what: str, place: str | None) -> InputError:
    hint = "correct the file, or take another board"
    return InputError("boards.unreadable", what, place=place, hint=hint)


def parse_board(
    name: str,
    data: Any,  # noqa: ANN401  # any YAML
    *,
    origin: str | _Places,
    search: Sequence[Path] = (),
) -> Board:
    """Return `data`, read from YAML, as the board `name`; raises InputError ``boards.invalid``.

    `origin` is the place of the file, or gives that of each thing in it; `search` is where it was
    found, or could have been.
    """
    places = origin if callable(origin) else lambda _: origin
    if not isinstance(data, dict):
        raise_all([_fault((), "a board is a mapping of keys to values", places)])
    strange = [_fault((key,), why, places) for key, why in _NOT_OF_THE_FILE.items() if key in data]
    whole = {**data, "name": name, "folders": tuple(search)}
    try:
        board = Board.model_validate(whole)
    except ValidationError as error:
        raise_all([*strange, *_faults(error, places)])
        raise
    raise_all([*strange, *_contradictions(board, places)])
    return board


def _faults(error: ValidationError, places: _Places) -> Iterator[PiimageError]:
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        yield _fault(fault["loc"], fault["msg"], places)


def _contradictions(board: Board, places: _Places) -> Iterator[PiimageError]:
    if board.trees and len({one.tree for one in board.models if one.when is None}) != 1:
        yield _fault(
            ("models",), "exactly one device tree is named without a filter (when)", places
        )
    for number, model in enumerate(board.models):
        if model.when is not None and model.when not in model.filters:
            yield _fault(("models", number, "when"), "it is none of the model's filters", places)
    for key, named in (("always", board.overlays.always), ("gives", board.overlays.gives)):
        unknown = sorted(set(named) - set(overlay_sources(board)))
        if unknown:
            yield _fault(("overlays", key), f"there is no overlay {', '.join(unknown)}", places)
    if _last_console(board) != board.console:
        yield _fault(("console",), "the last console= of cmdline names another terminal", places)
    titles = {model.title for model in board.models}
    for name, function in board.functions.items():
        strange = sorted(set(function.overlays) - set(overlay_sources(board)))
        strange += sorted(set(function.absent_on) - titles)
        if strange:
            yield _fault(("functions", name), f"unknown here: {', '.join(strange)}", places)
    if board.emulator is None:
        return
    for limits in ("cpus", "memory_mib"):
        value: Range = getattr(board.emulator, limits)
        if not value.least <= value.default <= value.most:
            yield _fault(("emulator", limits), "least <= default <= most must hold", places)


def _last_console(board: Board) -> str | None:
    """Return the terminal where /dev/console leads, by the kernel's rule: the last one named."""
    named = [word.removeprefix("console=") for word in board.cmdline if word.startswith("console=")]
    return named[-1].partition(",")[0] if named else None


def _fault(steps: _Steps, what: str, places: _Places) -> InputError:
    where = ".".join(map(str, steps))
    return InputError(
        "boards.invalid",
        f"{where}: {what}" if where else what,
        place=places(steps),
        hint="see docs/boards.md",
    )
