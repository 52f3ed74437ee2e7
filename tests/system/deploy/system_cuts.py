"""Power cuts at every sync of an update of the whole system, and between the syncs.

    python -m tests.system.deploy.system_cuts --boots 6 --report cuts.json

QEMU writes down every write and every sync of the card of an emulated Pi (virt) from before the
update until it is kept. After each sync the card may have kept any of the writes up to the next
one. Each such state that is made here is read as the boot loader would: a whole version boots, the
right one, and /data has what was written before. A few states are booted.
"""

from __future__ import annotations

import os
import random
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from unittest import mock

from piimage.board import Board
from piimage.card.extents import Extent
from piimage.card.partitions import SECTOR, Partition, decode
from piimage.emulator.drive import Drive
from piimage.firmware.manifest import board_of
from piimage.firmware.reader import read_card
from piimage.run import Runner
from piimage.store import default_root
from tests.system.deploy import series
from tests.system.deploy.greenhouse import booted
from tests.system.deploy.system_site import Site, site
from tests.system.deploy.write_log import Epoch, Write, epochs, log_of, logged

NEW = "boot: { cmdline: [shed.version=1] }\nfiles: [ { path: etc/of-the-base, contents: new } ]\n"
WHOLE = ("written", "armed", "trying", "kept")
"""The states of the journal in which the other slot has the new version."""
PIECE = 1 << 16
KEEPSAKE = "what was there before"


@dataclass(frozen=True)
class Cut:
    """A state of the card after a power cut, and what was found in it."""

    sync: int
    """How many syncs of the update came before it."""
    writes: str
    """How many of the writes after that sync the card had kept, of how many."""
    slot: str
    """The slot that boots."""
    journal: str
    """The state of the journal under /data."""
    booted: bool = False
    """Whether it was started as well."""


class Content:
    """The bytes of a slot that are not zero."""

    def __init__(self, file: BinaryIO, at: int, size: int) -> None:
        self._pieces: dict[int, bytes] = {}
        for piece in Extent(at, at + size).pieces(PIECE):
            file.seek(piece.start)
            data = file.read(piece.size)
            if data != bytes(len(data)):
                self._pieces[piece.start] = data

    def is_in(self, file: BinaryIO) -> bool:
        """Return whether the card in `file` has them, too."""
        for at, data in self._pieces.items():
            file.seek(at)
            if file.read(len(data)) != data:
                return False
        return True


@dataclass
class Card:
    """The card of a Pi as it may be after a cut."""

    path: Path
    board: Board
    runner: Runner
    places: dict[int, Partition]
    versions: dict[str, Content]
    """What each slot has to have if it boots."""

    def judged(self, number: int, writes: str) -> Cut:
        """Look at the present state; raises AssertionError if it is not well."""
        files = read_card(self.path, self.board, self.runner)
        slot = str(files.partition)
        with self.path.open("rb") as file:
            assert self.versions[slot].is_in(file), (number, writes, slot)
            journal = self._journal()
            if journal in WHOLE:
                assert self.versions["3"].is_in(file), (number, writes, journal)
        assert (slot == "3") <= (journal in ("trying", "kept")), (number, writes, slot, journal)
        assert (journal == "kept") <= (slot == "3"), (number, writes, slot, journal)
        return Cut(number, writes, slot, journal)

    def _journal(self) -> str:
        """Repair a copy of /data as a start does, and return the state of its journal."""
        place = self.places[max(self.places)]
        copy = self.path.with_name("data")
        with self.path.open("rb") as file, copy.open("wb") as data:
            data.truncate(place.size)
            for extent in _parts_with_data(file, place):
                for piece in extent.pieces(1 << 20):
                    file.seek(piece.start)
                    data.seek(piece.start - place.start)
                    data.write(file.read(piece.size))
        repaired = self.runner.run(["e2fsck", "-p", copy], accept=(0, 1))
        assert "UNEXPECTED" not in repaired.text, repaired.text
        assert self._file(copy, "/keepsake") == KEEPSAKE
        found = re.search(r"^STATE='(\w*)'", self._file(copy, "/piimage/system/state"), re.M)
        return found[1] if found else ""

    def _file(self, data: Path, path: str) -> str:
        return self.runner.run(["debugfs", "-R", f"cat {path}", data]).text.strip()


def _parts_with_data(file: BinaryIO, place: Partition) -> Iterator[Extent]:
    """Yield the parts of a partition that are no holes of the file."""
    at = place.start
    while at < place.end:
        try:
            start = os.lseek(file.fileno(), at, os.SEEK_DATA)
        except OSError:  # a hole up to the end
            return
        at = min(os.lseek(file.fileno(), start, os.SEEK_HOLE), place.end)
        if start < place.end:
            yield Extent(start, at)


def written(file: BinaryIO, writes: Sequence[Write]) -> list[Write]:
    """Write to the card, and return what undoes it."""
    before = []
    for write in writes:
        file.seek(write.at)
        before.append(Write(write.at, file.read(len(write.data)), durable=True))
        file.seek(write.at)
        file.write(write.data)
    file.flush()
    return before[::-1]


def survivors(writes: Sequence[Write], count: int, chance: random.Random) -> Iterator[list[Write]]:
    """Yield `count` times which writes the card may have kept.

    Those up to a moment, as if QEMU had been killed then, and any, in turns.
    """
    for number in range(count if len(writes) > 1 else 0):
        share = chance.random()
        if number % 2:
            yield [write for write in writes if write.durable or chance.random() < share]
        else:
            yield list(writes[: 1 + int(share * (len(writes) - 1))])


def cuts(card: Card, update: Sequence[Epoch], between: int, chance: random.Random) -> Iterator[Cut]:
    """Yield each cut; the card is in its state while the caller looks at it."""
    with card.path.open("r+b") as file:
        for number, epoch in enumerate(update):
            for kept in survivors(epoch.writes, between, chance):
                undo = written(file, kept)
                yield card.judged(number, f"{len(kept)} of {len(epoch.writes)}")
                written(file, undo)
            written(file, epoch.writes)
            yield card.judged(number + 1, "all")


@contextmanager
def recorded(folder: Path) -> Iterator[tuple[Site, Card, list[Epoch]]]:
    """Update a Pi; give the card as it was before the update, and the epochs of the update."""
    with mock.patch.object(Drive, "option", logged), site(folder, default_root()) as pi:
        pi.pi.sh(f"echo '{KEEPSAKE}' >/data/keepsake; sync")
        log = log_of(pi.pi.session.machine.drive)
        begin = log.stat().st_size
        wish = pi.wish(NEW, "a new version")
        pi.deploy(wish)
        assert pi.state().update == "kept"
        pi.pi.sh("sync")
        end = log.stat().st_size
        every = list(epochs(log))
        before = [epoch for epoch in every if epoch.end <= begin]
        update = [epoch for epoch in every if begin < epoch.end <= end]
        path = folder / "card-after-a-cut"
        pi.greenhouse.sources.runner.run(["cp", "--sparse=always", pi.card, path])
        with path.open("r+b") as file, pi.disk() as disk:
            file.truncate(disk.stat().st_size)
            for epoch in before:
                written(file, epoch.writes)
            file.seek(0)
            places = decode(file.read(SECTOR), disk.stat().st_size, "card").partitions
            with disk.open("rb") as new:
                versions = {
                    str(number): Content(kept, places[number].start, places[number].size)
                    for number, kept in ((2, file), (3, new))
                }
        pi.compare(wish, "3")
    yield pi, Card(path, board_of(pi.card), pi.greenhouse.sources.runner, places, versions), update


def starts(pi: Site, card: Card, folder: Path) -> None:
    """Boot the present state of the card; raises AssertionError if the Pi is not well."""
    disk = folder / "disk.qcow2"
    card.runner.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", card.path, disk])
    with booted(pi.greenhouse, pi.card, pi.key, disk=disk) as machine:
        state = Site(machine, pi.greenhouse, pi.card, pi.key).state()
        assert (state.booted, state.tried) == (state.kept, False), state
        assert state.update in ("", "receiving", "written", "kept", "undone"), state
        assert machine.sh("cat /data/keepsake").strip() == KEEPSAKE
    disk.unlink()


def found(folder: Path, between: int, boots: int, chance: random.Random) -> Iterator[Cut]:
    """Cut the power everywhere, and boot after some of the cuts."""
    with recorded(folder) as (pi, card, update):
        sys.stdout.write(f"{len(update)} syncs, {sum(len(e.writes) for e in update)} writes\n")
        chosen = set(chance.sample(range(1, len(update) + 1), min(boots, len(update))))
        for cut in cuts(card, update, between, chance):
            if cut.writes == "all" and cut.sync in chosen:
                starts(pi, card, folder)
                yield Cut(cut.sync, cut.writes, cut.slot, cut.journal, booted=True)
            else:
                yield cut


def main() -> int:
    """Update once, cut the power in many ways, and write a report after each cut."""
    parser = series.options("boots", 6)
    parser.add_argument("--between", type=int, default=2, help="states within each epoch")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="piimage-cuts-") as name:
        chance = random.Random(chosen.seed)
        series.record(
            "cuts", found(Path(name), chosen.between, chosen.count, chance), chosen.report,
            chosen.minutes,
        )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
