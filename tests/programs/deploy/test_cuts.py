"""Power cuts before every single write of a deploy: what boots after each is the old or the new.

The agent's writes are cut in a process of their own; what boots is asked of the initramfs's own
script. A cut here loses nothing that was written: the emulator's cuts
(tests/system/deploy/powercut.py) do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from piimage_agent import generations
from piimage_agent.layers import incoming_layer
from piimage_agent.root import Root

from tests.programs.appliance.scripts import Pi
from tests.unit.deploy.stand_in import layer, sha256

WRITES = ("open", "write", "fsync", "rename", "unlink", "mkdir", "rmdir", "symlink", "ftruncate")
CUT = 9
SLOT = "aaa"
OLD, NEW = layer({"v": "old"}), layer({"v": "new"})
OLD_OWN, NEW_OWN = layer({"own": "old"}), layer({"own": "new"})


class Disk:
    """A Pi's folder: /data and what the agent asks of /run."""

    def __init__(self, folder: Path) -> None:
        self.pi = Pi(folder)
        self.runs = "slot"
        self.root = Root(str(folder / "root"))
        self.pi.write(
            "root/run/piimage/boot", f"PIIMAGE_SLOT='/slot'\nPIIMAGE_SLOT_CONTAINERS='{SLOT}'\n"
        )
        self.pi.write("etc/piimage/containers-layer", f"{SLOT}\n")
        self.pi.path("root/data/piimage/state").mkdir()
        for top, own in ((OLD, OLD_OWN), (NEW, NEW_OWN)):
            self.pi.write(
                f"run/piimage/layers/{sha256(top)}/services/one/layers", f"{sha256(own)}\n"
            )

    def bring(self, data: bytes) -> None:
        """Take in a layer, as `put` does."""
        incoming = incoming_layer(self.root, sha256(data), len(data))
        try:
            incoming.add(data[incoming.offset :])
            incoming.finish()
        finally:
            incoming.close()

    def bring_generation(self, top: bytes, own: bytes) -> str:
        for content in (own, top):
            if not (Path(self.root.layers) / f"{sha256(content)}.squashfs").exists():
                self.bring(content)
        return generations.create(self.root, sha256(top), [sha256(own)], "x.yml")

    def keep(self, name: str) -> None:
        generations.keep(self.root, name, self.runs)

    def boots(self) -> str:
        """What the initramfs would choose: the slot's, or the digest of a deploy's."""
        init = self.pi.initramfs_functions()
        init.write_text(init.read_text().replace("ROOT=/root", f"ROOT={self.pi.root}/root"))
        link = self.pi.path("run/piimage/containers")
        link.unlink(missing_ok=True)
        output = self.pi.sh(
            f'. {init}; SLOT={self.pi.root}/slot; mount_layer() {{ [ "$1" = {SLOT} ] || '
            'layer_file "$1"; }; choose_containers; echo "$CONTAINERS"'
        )
        return output.strip()

    def deploy(self, top: bytes, own: bytes) -> None:
        name = self.bring_generation(top, own)
        self.keep(name)
        self.runs = name


Prepare = Callable[[Disk], Callable[[], object]]
"""Makes a disk ready, and returns the work that is cut."""


def cut_after(writes: int, work: Callable[[], object]) -> bool:
    """Do `work` in a process that ends before its write number `writes`; True if it was cut."""
    pid = os.fork()
    if pid == 0:
        try:
            _count_down(writes)
            work()
        except BaseException:  # noqa: BLE001
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, CUT)
    return status == CUT


def _count_down(writes: int) -> None:
    left = [writes]

    def counted(name: str) -> Callable[..., object]:
        original = getattr(os, name)

        def call(*args: object, **options: object) -> object:
            if left[0] == 0:
                os._exit(CUT)
            left[0] -= 1
            return original(*args, **options)

        return call

    for name in WRITES:
        setattr(os, name, counted(name))


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[Disk]:
    """One fresh disk after another."""

    def made() -> Iterator[Disk]:
        number = 0
        while True:
            number += 1
            yield Disk(tmp_path / str(number))

    return made()


def cuts(disks: Iterator[Disk], prepare: Prepare) -> Iterator[tuple[Disk, int]]:
    """Yield a prepared disk after a cut before each write, and the last one after none."""
    for writes, disk in enumerate(disks):
        cut = cut_after(writes, prepare(disk))
        yield disk, writes
        if not cut:
            return


def test_cuts_while_layers_and_generation_come_leave_the_old_one(disks: Iterator[Disk]) -> None:
    def prepare(disk: Disk) -> Callable[[], object]:
        disk.deploy(OLD, OLD_OWN)
        return lambda: disk.bring_generation(NEW, NEW_OWN)

    writes = 0
    for disk, writes in cuts(disks, prepare):
        assert disk.boots() == sha256(OLD), writes
        disk.deploy(NEW, NEW_OWN)
        assert disk.boots() == sha256(NEW), writes
    assert writes >= 25


@pytest.mark.parametrize("was", ["deployed", "slot", "slot-after-rollback"])
def test_cuts_while_it_is_kept_leave_one_of_the_two(disks: Iterator[Disk], was: str) -> None:
    before = sha256(OLD) if was == "deployed" else SLOT

    def prepare(disk: Disk) -> Callable[[], object]:
        if was != "slot":
            disk.deploy(OLD, OLD_OWN)
        if was == "slot-after-rollback":
            disk.keep("slot")
        assert disk.boots() == before
        name = disk.bring_generation(NEW, NEW_OWN)
        assert disk.boots() == before
        return lambda: disk.keep(name)

    writes = 0
    for disk, writes in cuts(disks, prepare):
        assert disk.boots() in {before, sha256(NEW)}, writes
        disk.deploy(NEW, NEW_OWN)
        assert disk.boots() == sha256(NEW), writes
    assert writes >= 5


def test_cuts_while_the_way_back_is_taken_leave_one_of_the_two(disks: Iterator[Disk]) -> None:
    def prepare(disk: Disk) -> Callable[[], object]:
        disk.deploy(OLD, OLD_OWN)
        return lambda: disk.keep("slot")

    booted, writes = "", 0
    for disk, writes in cuts(disks, prepare):
        booted = disk.boots()
        assert booted in {sha256(OLD), SLOT}, writes
    assert booted == SLOT
    assert writes >= 2


def test_cuts_while_rubbish_is_collected_lose_nothing(disks: Iterator[Disk]) -> None:
    def prepare(disk: Disk) -> Callable[[], object]:
        disk.pi.path("root/run/piimage/containers").symlink_to(f"layers/{sha256(NEW)}")
        disk.bring_generation(layer({"v": "rubbish"}), layer({"own": "rubbish"}))
        disk.deploy(OLD, OLD_OWN)
        disk.deploy(NEW, NEW_OWN)
        return lambda: generations.collect(disk.root)

    left: set[str] = set()
    for disk, writes in cuts(disks, prepare):
        assert disk.boots() == sha256(NEW), writes
        disk.keep("slot")
        left = {path.name.partition(".")[0] for path in Path(disk.root.layers).iterdir()}
    assert left == {sha256(content) for content in (OLD, OLD_OWN, NEW, NEW_OWN)}
