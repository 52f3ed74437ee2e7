"""Boards as data: what a board's card holds and how it is emulated, read from boards/NAME.yml."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NoReturn

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from piimage import resources
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


class DeviceTree(_Part):
    """A device tree of the kernel's package."""

    file: RelativePath
    """Its path below the package's folder of device trees, such as broadcom/bcm2711-rpi-4-b.dtb."""
    filter: Annotated[str, StringConstraints(pattern=r"^[a-z0-9+=-]+$")] | None = None
    """The config.txt filter of the models that use it; the one without is for all others."""

    @property
    def name(self) -> str:
        """Its file name on the card."""
        return self.file.rpartition("/")[2]


class Overlays(_Part):
    """The device tree overlays that the card carries."""

    folder: Name | None = None
    """The folder below boards/overlays with the sources that fit the board's device trees."""
    always: tuple[Name, ...] = ()
    """Those that are applied unless the user leaves them out."""


class Firmware(_Part):
    """What the firmware needs on the card, and what it does by itself."""

    packages: tuple[Name, ...] = ()
    root: RelativePath = "usr/lib/raspi-firmware"
    """The packages' folder of firmware files."""
    files: tuple[RelativePath, ...] = ()
    """Globs of the files below `root` that go to the card."""
    filters: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z0-9+]+$")], ...]
    """The model filters of config.txt that hold on this board."""
    kernel: RelativePath
    """The kernel that the firmware loads when config.txt names none."""
    device_tree: RelativePath | None = None
    """The device tree that the firmware loads when config.txt names none."""
    arm_64bit: bool
    """Whether the firmware starts the kernel in 64-bit mode when config.txt says nothing."""
    selects_partition: bool
    """Whether the boot loader reads autoboot.txt."""


class Wifi(_Part):
    """What a board needs for its WiFi, taken only when the user asks for WiFi."""

    packages: tuple[Name, ...]
    files: tuple[RelativePath, ...]
    """Globs of the files in the packages."""
    modules: tuple[Name, ...]


class Modules(_Part):
    """Kernel modules: `boot` in the initramfs, in load order; `late` in the system."""

    boot: tuple[Name, ...]
    late: tuple[Name, ...] = ()


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
    models: tuple[Line, ...] = Field(min_length=1)
    kernel: Kernel
    device_trees: tuple[DeviceTree, ...]
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
    disk: Name
    """The card's block device on the Pi, without /dev/."""
    console: Name
    """The console's terminal on the Pi, without /dev/."""
    watchdog: Name | None = None
    """The watchdog on the Pi, without /dev/."""
    layout: Annotated[SelectorLayout | PrefixLayout, Field(discriminator="kind")]
    emulator: Emulator | None = None


_MAX_BYTES: Final = 1 << 18


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
            return _read(name, folder / f"{name}.yml")
    known = board_names(search)
    near = difflib.get_close_matches(name, known, 1)
    meant = f"did you mean {near[0]}? The boards are" if near else "the boards are"
    raise InputError(
        "boards.unknown", f"there is no board {name!r}", hint=f"{meant} {', '.join(known)}"
    )


def overlay_sources(board: Board) -> dict[str, Path]:
    """Return the sources of the overlays that `board` can carry, by name."""
    if board.overlays.folder is None:
        return {}
    folder = resources.path("boards") / "overlays" / board.overlays.folder
    return {path.stem: path for path in sorted(folder.glob("*.dtso"))}


def _folders(search: Sequence[Path]) -> Iterator[Path]:
    yield from (folder for folder in search if folder.is_dir())
    yield resources.path("boards")


def _read(name: str, path: Path) -> Board:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError("it is too large for a board")
        data = yaml.safe_load(path.read_bytes())
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(
            "boards.unreadable",
            f"this is no YAML: {error}",
            place=str(path),
            hint="correct the file, or take another board",
        ) from None
    return parse_board(name, data, origin=str(path))


def parse_board(name: str, data: Any, *, origin: str) -> Board:  # noqa: ANN401  # any YAML
    """Return `data`, read from YAML, as a board; raises InputError ``boards.invalid``."""
    if not isinstance(data, dict):
        _refuse(origin, "a board is a mapping of keys to values")
    try:
        board = Board.model_validate({**data, "name": name})
    except ValidationError as error:
        raise_all(_faults(error, origin))
        raise
    raise_all(_contradictions(board, origin))
    return board


def _faults(error: ValidationError, origin: str) -> Iterator[PiimageError]:
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        yield _fault(".".join(str(part) for part in fault["loc"]), fault["msg"], origin)


def _contradictions(board: Board, origin: str) -> Iterator[PiimageError]:
    if board.firmware.selects_partition != (board.layout.kind == "selector"):
        yield _fault(
            "layout.kind",
            "selector goes with firmware that selects a partition, prefix with the others",
            origin,
        )
    if board.device_trees and sum(tree.filter is None for tree in board.device_trees) != 1:
        yield _fault("device_trees", "exactly one device tree has no filter", origin)
    unknown = sorted(set(board.overlays.always) - set(overlay_sources(board)))
    if unknown:
        yield _fault("overlays.always", f"there is no overlay {', '.join(unknown)}", origin)
    if board.emulator is None:
        return
    for limits in ("cpus", "memory_mib"):
        value: Range = getattr(board.emulator, limits)
        if not value.least <= value.default <= value.most:
            yield _fault(f"emulator.{limits}", "least <= default <= most must hold", origin)


def _fault(where: str, what: str, origin: str) -> InputError:
    return InputError("boards.invalid", f"{where}: {what}", place=origin, hint="see docs/boards.md")


def _refuse(origin: str, what: str) -> NoReturn:
    raise InputError("boards.invalid", what, place=origin, hint="see docs/boards.md")
