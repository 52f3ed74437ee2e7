"""A stand-in for a Pi whose slots are folders of its first partition.

The script that stands for its restart reads config.txt, or tryboot.txt if it is a try.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

from piimage.board import Board
from piimage.boards import load_board
from piimage.card.fat_folders import FolderedVolume, FolderSlot
from piimage.card.partitions import Partition
from piimage.deploy.pi import Wish
from piimage.deploy.system import System
from piimage.firmware import writer
from piimage.firmware.boot_loaders import boot_loader_of
from piimage.firmware.fat import FatReader
from piimage.plan.slot import Slots
from piimage.run import Runner
from tests.programs.deploy.slots_stand import KERNEL, MIB, TRY_BOOT, SlotsStand
from tests.unit.deploy.stand_in import release, target

SIZE, ROOM = 48 * MIB, 16 * MIB
PLACE = Partition(0x0C, MIB, SIZE)
BOARD = load_board("pi3")


def try_boot(chooses: str) -> str:
    """The script of the other stand-in, with another boot loader.

    The first two files that name a folder, by a match of `chooses`, are those for an ordinary start
    and for a try.
    """
    edits = (
        ("""PIIMAGE_SLOT_PARTITION='.'", f"PIIMAGE_SLOT_PARTITION""",
         """PIIMAGE_SLOT_PREFIX='..'", f"PIIMAGE_SLOT_PREFIX"""),
        ("""data[data.index(b"[all]"):][:128].decode()""", """data.decode("latin-1")"""),
        (r"""re.findall(r"boot_partition=(\d)", text)""",
         f"""re.findall(r"{chooses}", text)[:2]"""),
    )  # fmt: skip
    text = TRY_BOOT
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    return text


@dataclass
class FoldersStand(SlotsStand):
    """One Pi whose folder a/ has a version, and the tool's wish of another one."""

    board: ClassVar[Board] = BOARD
    firmware: ClassVar[dict[str, bytes]] = {"bootcode.bin": b"boot", "start.elf": b"\x7fELF"}
    files: ClassVar[tuple[str, str]] = ("config.txt", "tryboot.txt")
    kind: ClassVar[str] = "tryboot"
    chooses: ClassVar[str] = r"\[all\]\nos_prefix=(..)\n"
    boot: ClassVar[writer.Boot] = writer.Boot()

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
        self.card({"kernel.img": KERNEL}).write(self.runner, device, 0)
        for name, value in (("start", PLACE.start), ("size", PLACE.size)):
            pi.write(f"sys/class/block/mmcblk0p1/{name}", f"{value // 512}\n")
        for name, data in self.firmware.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
        self._finish(try_boot(self.chooses))

    @classmethod
    def selecting(cls, prefix: str, word: str = "quiet") -> dict[str, Path | bytes]:
        """The files of a folder that an update needs to select it."""
        files = writer.folder_files(cls.board, writer.Boot(cmdline=(word,)), 7, prefix)
        return {name: text.encode() for name, text in files.items()}

    @classmethod
    def card(cls, files: dict[str, Path | bytes]) -> FolderedVolume:
        """A first partition with `files` in the folder of slot A."""
        texts = boot_loader_of(cls.board).shared_files(cls.board, cls.boot, 7)
        shared: dict[str, Path | bytes] = {name: text.encode() for name, text in texts.items()}
        own = {f"a/{path}": content for path, content in {**cls.selecting("a/"), **files}.items()}
        every = {**shared, **cls.firmware, **own}
        return FolderedVolume("the card", "PIIMAGE", 7, SIZE, ROOM, every)

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
            name: FolderSlot(self.card({}), name[0]).with_files(
                {**self.selecting(name, "new"), **content}
            )
            for name in ("a/", "b/")
        }
        slots = Slots(dict.fromkeys(volumes, PLACE), volumes, {})
        shared = {
            PurePosixPath(name).name: hashlib.sha256(data).hexdigest()
            for name, data in self.firmware.items()
        }
        system = System(
            self.board, lambda: slots, "ab" * 32, "new.yml", self.runner, self.store,
            firmware=shared,
        )  # fmt: skip
        return Wish(fresh, wait=2, system=system)

    def deploy(self, tool: Runner, wish: Wish | None = None) -> int:
        """Deploy the wish by `tool`; return the bytes that travelled."""
        return target(tool, self.store, "pi", wish or self.wish()).deploy(lambda line: None).sent

    @property
    def state(self) -> str:
        """The state of the journal of updates."""
        return self.pi.text("data/piimage/system/state").partition("'")[2].partition("'")[0]

    def file(self, path: str) -> bytes | None:
        """A file on the first partition, as a boot loader reads it."""
        data = self.slot(1)
        return FatReader(data, 0, len(data), "card").read(path)

    @property
    def choice(self) -> tuple[str, str]:
        """The folders that boot, and that a try boots."""
        texts = ((self.file(name) or b"").decode() for name in self.files)
        first, second = (re.findall(self.chooses, text)[0] for text in texts)
        return first, second
