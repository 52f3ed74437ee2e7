"""A stand-in for a Pi with two slots: its partitions are files, and its restart is a script.

The script does what boot loader and initramfs would: it takes the flag, picks the slot by
autoboot.txt, and starts the agent's trial. A file FATE in the new slot says what goes wrong there.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from piimage.boards import load_board
from piimage.card.fat import FatVolume
from piimage.card.image import CardPlan, write_card
from piimage.card.partitions import Partition
from piimage.deploy.pi import Wish
from piimage.deploy.system import System
from piimage.firmware.writer import autoboot
from piimage.plan.slot import Slots
from piimage.run import Runner
from piimage.store import Store
from tests.unit.card.volumes import part
from tests.unit.deploy.stand_in import AGENT, Stand, release

MIB = 1 << 20
SLOT = 36 * MIB
PLACES = {"2": Partition(0x0C, 9 * MIB, SLOT), "3": Partition(0x0C, 9 * MIB + SLOT, SLOT)}
KERNEL = hashlib.sha256(b"kernel").digest() * 2000

TRY_BOOT = """
import os, pathlib, re, subprocess, sys
root = pathlib.Path(__file__).parents[3]
run = root / "run/piimage"
TRAILS = {"lost": "data-mounted", "failed": "failed: system layer 1 is missing"}
HEALTH = {"sick": "unhealthy", "never": "starting"}
if (root / "refuses").exists():
    print("the firmware does not take the flag")
    sys.exit(1)
fate = (root / "fate").read_text() if (root / "fate").exists() else ""
facts = (run / "boot").read_text()

def start(number, tried):
    text = re.sub("PIIMAGE_SLOT_PARTITION='.'", f"PIIMAGE_SLOT_PARTITION='{number}'", facts)
    text = re.sub("PIIMAGE_TRYBOOT='.'", f"PIIMAGE_TRYBOOT='{tried}'", text)
    (run / "boot").write_text(text)
    subprocess.run([sys.executable, "-I", "-S", "-c", TRIAL, "trial", "--root", root], timeout=60)

def restart(*words):
    os.setsid()
    data = (root / "dev/mmcblk0p1").read_bytes()
    text = data[data.index(b"[all]"):][:128].decode()
    default, other = re.findall(r"boot_partition=(\\d)", text)
    if fate == "panic":
        start(default, 0)
    elif fate in TRAILS:
        (root / "data/piimage/system/trail").open("a").write(TRAILS[fate] + "\\n")
        start(default, 0)
    else:
        if fate in HEALTH:
            (run / "health/one").write_text(HEALTH[fate] + "\\n")
        start(other, 1)
        if (root / "initctl").exists() and "reboot" in (root / "initctl").read_text():
            start(default, 0)
        (root / "offline").unlink(missing_ok=True)

if fate == "unreachable":
    (root / "offline").touch()
if os.fork() == 0:
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    os.closerange(3, 64)
    restart()
"""
TRIAL = f"""
import sys
sys.path.insert(0, {str(AGENT)!r})
from piimage_agent import main, trial
trial._SETTLE = 1.0  # no stand-in fails so late: the tests need not wait for six seconds
main.main(sys.argv[1:])
"""
INITCTL = """
import pathlib, sys
root = pathlib.Path(__file__).parents[2]
(root / "initctl").open("a").write(" ".join(sys.argv[1:]) + "\\n")
"""


def slot_volume(number: int, files: dict[str, Path | bytes]) -> FatVolume:
    label = "SLOT-A" if number == 2 else "SLOT-B"
    return FatVolume(f"slot {number}", label, 0x1234, SLOT, files)


@dataclass
class SlotsStand:
    """One Pi whose slot A has a version, and the tool's wish of another one."""

    folder: Path
    pi: Stand = field(init=False)
    store: Store = field(init=False)
    runner: Runner = field(default_factory=Runner)

    def __post_init__(self) -> None:
        self._start()
        pi, root = self.pi, self.pi.root
        facts = pi.text("run/piimage/boot")
        pi.write(
            "run/piimage/boot",
            f"{facts}PIIMAGE_DISK='/dev/mmcblk0'\nPIIMAGE_SLOT_PARTITION='2'\nPIIMAGE_TRYBOOT='0'\n",
        )
        selector = FatVolume(
            "selector", "S", 1, 8 * MIB, {"autoboot.txt": autoboot(2).encode()}, 16
        )
        volumes = (selector, slot_volume(2, {"kernel.img": KERNEL}), slot_volume(3, {}))
        card = write_card(self.runner, CardPlan("x", 7, volumes), self.folder / "card.img").image
        pi.write("dev/x", "")
        places = {"1": Partition(0x0C, MIB, 8 * MIB), **PLACES}
        for number, place in places.items():
            part(card, root / f"dev/mmcblk0p{number}", place.start, place.size)
            for name, value in (("start", place.start), ("size", place.size)):
                pi.write(f"sys/class/block/mmcblk0p{number}/{name}", f"{value // 512}\n")
        card.unlink()
        self._finish(TRY_BOOT)

    def _start(self) -> None:
        self.pi = Stand(self.folder / "pi", one="1", two="1")
        self.store = Store(self.folder / "store")

    def _finish(self, try_boot: str) -> None:
        pi, root = self.pi, self.pi.root
        (root / "slot/kernel.img").write_bytes(KERNEL)
        pi.write("proc/uptime", "10.0 10.0\n")
        pi.write("sys/module/tryboot/parameters/next", "0\n")
        listed = json.loads(pi.text("slot/appliance.json"))
        listed["files"] = {"config.txt": "b" * 64, "kernel.img": hashlib.sha256(KERNEL).hexdigest()}
        pi.write("slot/appliance.json", json.dumps(listed))
        pi._program("usr/lib/piimage/try-boot", try_boot.replace("TRIAL", repr(TRIAL)))
        pi._program("usr/sbin/initctl", INITCTL)

    def wish(self, files: dict[str, Path | bytes] | None = None) -> Wish:
        """A version with another config.txt and one new file."""
        fresh = release(self.store, one="1", two="1")
        changed = {**fresh.files, "config.txt": "f" * 64}
        fresh = fresh.__class__(**{**fresh.__dict__, "files": changed})
        content: dict[str, Path | bytes] = files or {
            "kernel.img": KERNEL,
            "layers/new.squashfs": hashlib.sha256(b"new").digest() * 4000,
            "config.txt": b"arm_64bit=1\n",
        }
        volumes = {name: slot_volume(int(name), content) for name in PLACES}
        slots = Slots(PLACES, volumes, {})
        system = System(
            load_board("qemu-virt"), lambda: slots, "ab" * 32, "new.yml", self.runner, self.store
        )
        return Wish(fresh, wait=2, system=system)

    @property
    def agent(self) -> str:
        """The command of a session with the agent."""
        return shlex.join(self.pi.command())

    @property
    def command(self) -> str:
        """What `ssh` runs: the agent, unless the Pi has no network."""
        offline = shlex.quote(str(self.pi.root / "offline"))
        return f"sh -c '[ ! -e {offline} ] || exit 255; exec {self.agent}'"

    def slot(self, number: int) -> bytes:
        return (self.pi.root / f"dev/mmcblk0p{number}").read_bytes()

    @property
    def autoboot(self) -> str:
        data = self.slot(1)
        return data[data.index(b"[all]") :][:128].decode().rstrip("\n\0")
