"""A Pi whose whole system is updated: its file changes, is deployed, and its slot is compared."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from piimage.build import plan
from piimage.card import tables
from piimage.card.extents import Extent
from piimage.card.partitions import SECTOR, decode
from piimage.deploy import system
from piimage.deploy.link import linked
from piimage.deploy.pi import PiTarget, Wish
from piimage.deploy.release import release_of
from piimage.deploy.target import Outcome
from piimage.errors import PiimageError
from piimage.locking.fetching import make
from piimage.plan.slot import partition_of
from tests.system.deploy.greenhouse import Greenhouse, Pi, booted, card_and_key

UPDATES = "slots: { updates: true }\n"


@dataclass
class Site:
    """A Pi whose file can be changed and deployed, system and all."""

    pi: Pi
    greenhouse: Greenhouse
    card: Path
    """The image that it was started from."""
    key: Path
    """The SSH key that its card lets in."""
    _told: list[str] = field(default_factory=list)

    def wish(self, extra: str, line: str) -> Wish:
        """The version with `extra` in its file, and another first line of hello_world."""
        file = self.greenhouse.file
        text = file.read_text().partition("# extra")[0].rstrip()
        file.write_text(f"{text}\n# extra\n{extra}")
        self.greenhouse.say(line)
        project, inputs = self.greenhouse.project(), self.greenhouse.sources
        version = plan(project, inputs)
        job = make(version.steps(), project.lock, inputs)
        release = release_of(version, job, "greenhouse.yml")
        return Wish(release, wait=60, system=system.system_of(version, job, release, inputs))

    def target(self, wish: Wish, cancelled: threading.Event) -> PiTarget:
        """The Pi as what `wish` is deployed to."""
        inputs = self.greenhouse.sources
        return PiTarget(self.pi.host, wish, self.pi.ssh, inputs.store, inputs.runner, cancelled)

    def deploy(self, wish: Wish) -> Outcome:
        """Deploy `wish`; raise the emulator's error if the Pi does not start again."""
        cancelled, done = threading.Event(), threading.Event()
        target = self.target(wish, cancelled)

        def notice_the_end() -> None:
            while not done.wait(1.0):
                if self.pi.session.console.ended:
                    cancelled.set()

        watcher = threading.Thread(target=notice_the_end)
        watcher.start()
        try:
            return target.deploy(self._told.append)
        except PiimageError as error:
            raise (self.pi.session.failure or error) from error
        finally:
            done.set()
            watcher.join()

    def state(self) -> system.State:
        """What the Pi says of its slots."""
        with linked(self.pi.ssh, self.pi.host, threading.Event()) as link:
            return system.ask_state(link)

    def compare(self, wish: Wish, slot: str) -> int:
        """Compare `slot` on the card with a build of `wish`; return the compared bytes."""
        assert wish.system is not None
        runner, store = self.greenhouse.sources.runner, self.greenhouse.sources.store
        volume, place = wish.system.slots.volumes[slot], wish.system.slots.places[slot]
        with store.scratch() as scratch, self.disk() as disk:
            image = scratch / "slot"
            with image.open("wb") as file:
                file.truncate(place.end)
            used, compared = volume.write(runner, image, place.start), 0
            with image.open("rb") as built, disk.open("rb") as written:
                table = tables.decode(written.read(tables.HEAD), disk.stat().st_size, "card")
                found = table.partitions[partition_of(slot)]
                assert (found.start, found.size) == (place.start, place.size)
                for extent in used:
                    for piece in extent.moved(place.start).pieces(1 << 20):
                        built.seek(piece.start)
                        written.seek(piece.start)
                        assert built.read(piece.size) == written.read(piece.size), piece
                        compared += piece.size
        return compared

    @contextmanager
    def disk(self) -> Iterator[Path]:
        """Give a copy of the Pi's card, which it has synced but may still write."""
        self.pi.sh("sync")
        runner, store = self.greenhouse.sources.runner, self.greenhouse.sources.store
        with store.scratch() as scratch:
            drive, copy = self.pi.session.machine.drive.path, scratch / "card"
            # -U: the machine still runs.
            runner.run(["qemu-img", "convert", "-U", "-f", "qcow2", "-O", "raw", drive, copy])
            yield copy

    def changed_outside(self, before: Path, slot: str) -> tuple[bytes, ...]:
        """Return the sectors that now differ from the copy `before`, but for partition `slot`
        and /data."""
        with self.disk() as disk, disk.open("rb") as now, before.open("rb") as then:
            table = decode(now.read(SECTOR), disk.stat().st_size, "card").partitions
            own, data = table[partition_of(slot)], table[max(table)]
            kept = (Extent(0, own.start), Extent(own.end, data.start))
            return tuple(sector for extent in kept for sector in _different(then, now, extent))


def _different(then: BinaryIO, now: BinaryIO, extent: Extent) -> Iterator[bytes]:
    """Yield each sector in `extent` that is not what it was."""
    for piece in extent.pieces(1 << 20):
        then.seek(piece.start)
        now.seek(piece.start)
        old, new = then.read(piece.size), now.read(piece.size)
        if old != new:
            for at in range(0, piece.size, SECTOR):
                if old[at : at + SECTOR] != new[at : at + SECTOR]:
                    yield new[at : at + SECTOR]


def as_it_is(text: str, folder: Path) -> str:
    """Return the text of the file unchanged."""
    return text


@contextmanager
def site(
    folder: Path,
    store: Path,
    board: str = "qemu-virt",
    change: Callable[[str, Path], str] = as_it_is,
) -> Iterator[Site]:
    """Boot a card that can be updated; `change` gets the file's text and its folder."""
    greenhouse = Greenhouse.laid_out(folder / "greenhouse", store)
    text = greenhouse.file.read_text().replace("board: qemu-virt", f"board: {board}")
    greenhouse.file.write_text(change(text + UPDATES, greenhouse.folder))
    card, key = card_and_key(greenhouse, folder)
    with booted(greenhouse, card, key) as pi:
        yield Site(pi, greenhouse, card, key)


@contextmanager
def others(first: Site, folder: Path, count: int) -> Iterator[list[Site]]:
    """Boot `count` more Pis from the card of the first one."""
    with ExitStack() as stack:
        found = []
        for number in range(count):
            key = folder / str(number) / "key"
            key.parent.mkdir(parents=True)
            shutil.copy(first.key, key)
            pi = stack.enter_context(booted(first.greenhouse, first.card, key))
            found.append(replace(first, pi=pi, key=key))
        yield found
