"""Boards as data, read from boards/NAME.yml: the content of a board's card, and its emulator."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
Word = Annotated[str, StringConstraints(pattern=r"^[!-~]+$")]
Line = Annotated[str, StringConstraints(pattern=r"^[ -~]+$")]
RelativePath = Annotated[
    str,
    StringConstraints(
        pattern=r"^[A-Za-z0-9_*+-][A-Za-z0-9_.,*+-]*(/[A-Za-z0-9_*+-][A-Za-z0-9_.,*+-]*)*$"
    ),
]
HostPath = Annotated[str, StringConstraints(pattern=r"^(/[A-Za-z0-9_+-][A-Za-z0-9_.+-]*)+$")]
Mebibytes = Annotated[int, Field(ge=1, le=1 << 20)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Kernel(_Part):
    """The source of the kernel, and its form on the card."""

    suite: Name
    """The archive suite, such as trixie or trixie-backports."""
    packages: tuple[Name, ...] = Field(min_length=1)
    """The packages with the image, device trees and modules; their dependencies are added."""
    form: Literal["gzip", "raw"] = "gzip"


Filter = Annotated[str, StringConstraints(pattern=r"^[a-z0-9+=-]+$")]
PathPattern = Annotated[str, StringConstraints(pattern=r"^/(dev|sys)/[!-~]+$")]


class Lack(_Part):
    """Hardware that the board's kernel or Debian's firmware does not support."""

    what: Line
    """A sentence: what does not work, and why."""
    paths: tuple[PathPattern, ...] = ()
    """Shell patterns of the missing device nodes and files."""
    overlays: tuple[Name, ...] = ()
    """The names in `boot: overlays:` that request this hardware."""
    modules: tuple[Name, ...] = ()
    """The kernel modules that would drive it."""
    sections: tuple[Name, ...] = ()
    """The sections of the YAML that request it, such as network.wifi."""
    instead: Line | None = None
    """The alternative, as a hint to the user."""


class Absent(_Part):
    """A model that users may expect under this board, and that is not supported."""

    title: Line
    names: tuple[Name, ...] = Field(min_length=1)
    """The names that users may write after `board:`."""
    why: Line
    """The reason, a sentence without its full stop."""
    filters: tuple[Filter, ...] = ()
    """The filters of config.txt that match it, as of a `Model`."""


class Model(_Part):
    """One model of the board: its differences from the others before the kernel runs."""

    title: Line
    """The name of the model; /proc/device-tree/model begins with it."""
    tree: RelativePath | None = None
    """Its device tree, relative to the kernel package's folder of device trees; None if the
    machine brings its own."""
    compatible: Line | None = None
    """The first word of the tree's `compatible`, by which drivers distinguish the models."""
    when: Filter | None = None
    """The filter of config.txt for its `device_tree=` line; None for the default tree."""
    filters: tuple[Filter, ...] = ()
    """The model filters of config.txt that match it (documentation: "conditional filters")."""
    stepping: Name | None = None
    """The stepping of its processor, if the firmware treats it differently."""
    memory_mib: int = Field(default=1024, ge=128)
    """The smallest memory that it is sold with."""
    radios: tuple[Name, ...] = ()
    """Its WiFi chips, by the driver's names of their firmware."""
    lacks: tuple[Lack, ...] = ()
    """What does not work on this model, but on others of the board."""

    @property
    def tree_name(self) -> str | None:
        """The file name of its device tree on the card."""
        return None if self.tree is None else self.tree.rpartition("/")[2]


class Header(_Part):
    """The kernel's names for the 40-pin header, for a report of a Pi."""

    i2c: tuple[Word, ...] = ()
    """The node names of the I2C bus on pins 3 and 5: mainline's and Raspberry Pi's."""
    gpio: Word | None = None
    """The start of the label of the GPIO chip that has the header's lines, GPIO 0 to 27."""
    spi: Word | None = None
    """The node of SPI 0 in the device trees, as an overlay names it (``&spi``, ``&{/spi0}``)."""
    console: tuple[int, ...] = ()
    """The header's lines that the board's console is on."""


class Eeprom(_Part):
    """The boot loader in the EEPROM, and its first version that suits piimage's cards."""

    since: int = Field(ge=0)
    """The build time of that version, in seconds since 1970."""
    lacks: Line
    """What an older version does wrong: the end of a sentence that begins with "it"."""


class Overlays(_Part):
    """The device tree overlays that the card carries."""

    folders: tuple[Name, ...] = ()
    """The folders below boards/overlays with sources for the board's device trees."""
    always: tuple[Name, ...] = ()
    """The overlays that are applied unless the user removes them."""
    gives: Mapping[Name, tuple[PathPattern, ...]] = {}
    """By overlay: patterns of the device nodes that exist only if the overlay is applied."""
    instead_of: Mapping[Name, Name] = {}
    """By parameter or overlay of Raspberry Pi OS: the overlay of this board that replaces it."""


class RawFile(_Part):
    """A file that the boot ROM reads from a fixed place on the card, before the partitions."""

    file: Name
    at: int = Field(ge=512, multiple_of=512)
    """The byte of the card at which it begins."""


class Firmware(_Part):
    """The firmware, and the files that it needs on the card."""

    packages: tuple[Name, ...] = ()
    root: RelativePath = "usr/lib/raspi-firmware"
    """The packages' folder of firmware files."""
    files: tuple[RelativePath, ...] = ()
    """Globs of the files below `root` that are copied to the card."""
    names: Mapping[Name, RelativePath] = {}
    """By the name of a file: its path on the card, if that is another one."""
    raw: tuple[RawFile, ...] = ()
    """Those of the files that are in no file system, but at a fixed place."""
    chain: Literal["bcm2837", "bcm2711", "bcm2712", "none", "uefi", "u-boot"]
    """The boot chain, whose rules are in piimage/firmware/chains.py; ``uefi`` (systemd-boot) and
    ``u-boot`` are in piimage/firmware/boot_loaders.py."""


class Wifi(_Part):
    """What the board needs for WiFi; used only if the user configures WiFi."""

    packages: tuple[Name, ...]
    """The packages with the firmware of the models' radios."""
    modules: tuple[Name, ...]


class Modules(_Part):
    """Kernel modules, in load order."""

    boot: tuple[Name, ...]
    """In the initramfs: modules for the card, the file systems and the watchdog."""
    other_disks: tuple[Name, ...] = ()
    """In the initramfs: modules for USB and NVMe, which are loaded if the boot loader read such a
    disk, or if the card does not appear."""
    late: tuple[Name, ...] = ()
    """Modules that the system loads."""
    on_demand: tuple[Name, ...] = ()
    """Modules that the kernel itself loads when something needs them, such as a table of
    characters for a file system."""


class Function(_Part):
    """A function of the board, and the devices, overlays and modules behind it."""

    nodes: tuple[Word, ...] = ()
    """Its nodes in the device tree (aliases, labels or paths); their suppliers are added."""
    overlays: tuple[Name, ...] = ()
    """The overlays that enable it."""
    devices: tuple[Word, ...] = ()
    """Devices that are not in the device tree, by their modalias: ``usb:…``, ``mdio:…``."""
    modules: tuple[Name, ...] = ()
    """Modules without a device, such as i2c-dev."""
    stage: Literal["boot", "other_disks", "late"] = "late"
    """The list of `modules` for its drivers; those of a disk belong to one of the first two."""
    with_wifi: bool = False
    """Whether it exists only if the user configures WiFi, with the modules of `wifi`."""
    absent_on: tuple[Line, ...] = ()
    """The titles of the models without this function."""


class SelectorLayout(_Part):
    """Selector, slot A, slot B, data: for boot loaders that select a partition."""

    kind: Literal["selector"]
    table: Literal["mbr"] = "mbr"
    start_mib: Literal[1] = 1
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


_SHARED = 32 << 20
"""The bytes of a first partition for the boot firmware, and for files that people put there."""
_TABLES = 64
"""The share of the tables of a FAT32, of clusters of 2 KiB or more, is less than one of these."""


class PrefixLayout(_Part):
    """One FAT partition with the firmware and a folder for each slot, and data."""

    kind: Literal["prefix"]
    table: Literal["mbr", "gpt"] = "mbr"
    """The form of the partition table; the first partition of a GPT is the EFI system partition."""
    start_mib: Mebibytes = 1
    """Where the first partition begins: behind what the boot ROM reads from a fixed place."""
    firmware_mib: Mebibytes
    data_mib: Mebibytes

    @property
    def slots(self) -> tuple[str, str]:
        """The `os_prefix` of slots A and B."""
        return ("a/", "b/")

    @property
    def room(self) -> int:
        """The size of each folder in bytes: half of what is left beside the shared files."""
        whole = self.firmware_mib << 20
        return (whole - _SHARED) // (2 * _TABLES + 2) * _TABLES >> 20 << 20

    def size(self, room: int) -> int:
        """Return the size in bytes of a first partition whose folders have `room` each."""
        if room == self.room:
            return self.firmware_mib << 20
        return 2 * room + _SHARED + (-(-2 * room // _TABLES >> 20) << 20)

    @property
    def data(self) -> int:
        """The number of the data partition."""
        return 2


class Range(_Part):
    """The limits of a resource of the emulated machine, and its default."""

    default: int = Field(ge=1)
    least: int = Field(ge=1)
    most: int = Field(ge=1)


class DiskKind(StrEnum):
    """The kinds of disk that can hold the content of a card.

    UAS is USB as well, with a faster protocol. A CD is only read.
    """

    CARD = "card"
    USB = "usb"
    UAS = "uas"
    NVME = "nvme"
    CD = "cd"


OtherDisk = Literal[DiskKind.USB, DiskKind.UAS, DiskKind.NVME, DiskKind.CD]


class Port(_Part):
    """The attachment of a disk other than the card to the emulated machine."""

    bus: tuple[Word, ...] = ()
    """The devices that the disk needs, each an argument of ``-device``."""
    device: Word
    """The disk, as an argument of ``-device``; piimage adds the option ``drive``."""


class MachineFirmware(_Part):
    """Firmware for an emulated machine, such as UEFI or U-Boot, by its paths on the host."""

    code: HostPath
    """The firmware, which is not changed."""
    variables: HostPath | None = None
    """An empty store of variables, of which each disk has a copy; then both are flash chips."""
    package: Name
    """Debian's package with the files."""


class Emulator(_Part):
    """The machine of QEMU that emulates the board."""

    machine: Name
    cpu: Name | None = None
    accelerator: Word = "tcg,thread=multi"
    """The argument of ``-accel``. Use ``thread=single`` if secondary processors spin until the
    kernel wakes them, as those of a Pi do: otherwise each of them uses up one of the host."""
    cpus: Range
    memory_mib: Range
    disk: Literal["sd", "virtio"]
    """The interface of the card: QEMU's ``-drive if=``."""
    other_disks: Mapping[OtherDisk, Port] = Field(default_factory=dict)
    """The other kinds of disk that the machine can boot from."""
    network: Name
    """The network card, by QEMU's name."""
    devices: tuple[Word, ...] = ()
    """Further devices, each an argument of ``-device``."""
    fit: tuple[Name, ...] = ()
    """The overlays in boards/emulator that adapt the device tree to the machine, in order."""
    cmdline: tuple[Word, ...] = ()
    """Words added to the kernel's command line."""
    firmware: MachineFirmware | None = None
    """What reads the disk; without it, QEMU gets what the board's firmware would load."""
    chosen: Literal["device-tree", "command-line", "nothing"]
    """How the kernel learns the booted partition: as from the firmware, by a word, or not."""


class Screen(_Part):
    """What a board needs for a screen that the firmware prepares (the kernel's simplefb)."""

    config: tuple[Line, ...]
    """Lines of config.txt."""
    cmdline: tuple[Word, ...] = ()
    """Words of the kernel's command line."""


class Board(_Part):
    """All data of one kind of board."""

    name: Name
    title: Line
    models: tuple[Model, ...] = Field(min_length=1)
    """The emulator emulates the first model."""
    lacks: tuple[Lack, ...] = ()
    """What does not work on any of its models."""
    absent: tuple[Absent, ...] = ()
    """Related models that are not supported."""
    processor: Word | None = None
    """The word of `compatible` that the device trees of all its models share."""
    header: Header = Header()
    eeprom: Eeprom | None = None
    kernel: Kernel
    overlays: Overlays
    firmware: Firmware
    wifi: Wifi | None = None
    imager: tuple[Name, ...] = ()
    """Raspberry Pi Imager's tags for the models; empty for a machine that is not a Pi."""
    config: tuple[Line, ...] = ()
    """Lines of config.txt, if the boot loader reads one."""
    screen: Screen | None = None
    """What `console: hdmi` adds; None for a board without a screen."""
    cmdline: tuple[Word, ...]
    """Words of the kernel's command line."""
    modules: Modules
    functions: Mapping[Name, Function] = Field(default_factory=dict)
    """The functions of the models, by name."""
    console: Name
    """The terminal of the last ``console=`` in `cmdline`, without /dev/."""
    watchdog: Name | None = None
    """The watchdog that process 1 feeds, without /dev/; None if the board has none."""
    layout: Annotated[SelectorLayout | PrefixLayout, Field(discriminator="kind")]
    emulator: Emulator | None = None
    folders: tuple[Path, ...] = Field(default=(), exclude=True)
    """The searched folders, except piimage's own: they may have sources of its overlays too."""

    @property
    def trees(self) -> tuple[str, ...]:
        """The file names of the models' device trees, each once."""
        names = (model.tree_name for model in self.models)
        return tuple(dict.fromkeys(name for name in names if name is not None))
