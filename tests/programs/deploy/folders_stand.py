"""A stand-in for a Pi whose slots are folders of its first partition.

The script that stands for its restart reads config.txt, or tryboot.txt if it is a try.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from piimage.boards import load_board
from piimage.card.fat_folders import FolderedVolume, FolderSlot
from piimage.card.partitions import Partition
from piimage.deploy.pi import Wish
from piimage.deploy.system import System
from piimage.firmware import writer
from piimage.firmware.fat import FatReader
from piimage.plan.slot import Slots
from tests.programs.deploy.slots_stand import KERNEL, MIB, TRY_BOOT, SlotsStand
from tests.unit.deploy.stand_in import release

SIZE, ROOM = 48 * MIB, 16 * MIB
PLACE = Partition(0x0C, MIB, SIZE)
FIRMWARE = {"bootcode.bin": b"boot", "start.elf": b"\x7fELF"}
BOARD = load_board("pi3")
_EDITS = (
    ("""PIIMAGE_SLOT_PARTITION='.'", f"PIIMAGE_SLOT_PARTITION""",
     """PIIMAGE_SLOT_PREFIX='..'", f"PIIMAGE_SLOT_PREFIX"""),
    # The first two files that name a folder are config.txt and tryboot.txt.
    ("""data[data.index(b"[all]"):][:128].decode()""", """data.decode("latin-1")"""),
    (r"""re.findall(r"boot_partition=(\d)", text)""",
     r"""re.findall(r"\[all\]\nos_prefix=(..)\n", text)[:2]"""),
)  # fmt: skip


def try_boot() -> str:
    """The script of the other stand-in, with another boot loader."""
    text = TRY_BOOT
    for old, new in _EDITS:
        assert old in text, old
        text = text.replace(old, new)
    return text


def chosen(prefix: str, word: str = "quiet") -> dict[str, Path | bytes]:
    """The files of a folder that an update needs to select it."""
    boot = writer.Boot(cmdline=(word,))
    files = writer.folder_files(BOARD, boot, 7, prefix)
    return {name: text.encode() for name, text in files.items()}


def card(files: dict[str, Path | bytes]) -> FolderedVolume:
    """A first partition with `files` in the folder of slot A."""
    root = writer.root_files(BOARD, writer.Boot())
    shared: dict[str, Path | bytes] = {name: text.encode() for name, text in root.items()}
    own = {f"a/{path}": content for path, content in {**chosen("a/"), **files}.items()}
    return FolderedVolume("the card", "PIIMAGE", 7, SIZE, ROOM, {**shared, **FIRMWARE, **own})


@dataclass
class FoldersStand(SlotsStand):
    """One Pi whose folder a/ has a version, and the tool's wish of another one."""

    def __post_init__(self) -> None:
        self._start()
        pi, root = self.pi, self.pi.root
        pi.write(
            "run/piimage/boot",
            f"{pi.text('run/piimage/boot')}PIIMAGE_DISK='/dev/mmcblk0'\n"
            "PIIMAGE_SLOT_PARTITION='1'\nPIIMAGE_SLOT_PREFIX='a/'\nPIIMAGE_TRYBOOT='0'\n",
        )
        pi.write("dev/x", "")
        device = root / "dev/mmcblk0p1"
        device.write_bytes(bytes(SIZE))
        card({"kernel.img": KERNEL}).write(self.runner, device, 0)
        for name, value in (("start", PLACE.start), ("size", PLACE.size)):
            pi.write(f"sys/class/block/mmcblk0p1/{name}", f"{value // 512}\n")
        for name, data in FIRMWARE.items():
            (root / name).write_bytes(data)
        self._finish(try_boot())

    def wish(self, files: dict[str, Path | bytes] | None = None) -> Wish:
        """A version with another config.txt and one new file."""
        fresh = release(self.store, one="1", two="1")
        other = {**fresh.files, "config.txt": "f" * 64}
        fresh = fresh.__class__(**{**fresh.__dict__, "files": other, "board": "qemu-virt"})
        content: dict[str, Path | bytes] = files or {
            "kernel.img": KERNEL,
            "layers/new.squashfs": hashlib.sha256(b"new").digest() * 4000,
            "config.txt": b"arm_64bit=1\n",
        }
        volumes = {
            name: FolderSlot(card({}), name[0]).with_files({**chosen(name, "new"), **content})
            for name in ("a/", "b/")
        }
        slots = Slots(dict.fromkeys(volumes, PLACE), volumes, {})
        shared = {name: hashlib.sha256(data).hexdigest() for name, data in FIRMWARE.items()}
        system = System(
            BOARD, lambda: slots, "ab" * 32, "new.yml", self.runner, self.store, firmware=shared
        )
        return Wish(fresh, wait=2, system=system)

    def file(self, path: str) -> bytes | None:
        """A file on the first partition, as a boot loader reads it."""
        data = self.slot(1)
        return FatReader(data, 0, len(data), "card").read(path)

    @property
    def choice(self) -> tuple[str, str]:
        """The folders that boot, and that a try boots."""
        first, second = (
            (self.file(name) or b"").decode().partition("os_prefix=")[2][:2]
            for name in ("config.txt", "tryboot.txt")
        )
        return first, second
