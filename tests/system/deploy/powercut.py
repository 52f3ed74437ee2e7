"""Power cuts: the emulator is killed at random moments of deploys, and boots again each time.

    python -m tests.system.deploy.powercut --cuts 100 --report cuts.json

Each cut comes at a random moment of a random stage of the deploy (what the tool was told last), so
that short stages get as many as long ones. One card goes through all of it. After each cut the next
boot has to come up with every service healthy, in the old or the new version, never in another, and
with everything that was written under /data before. QEMU dies by SIGKILL: what the guest had not
written yet is lost, as from a card.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path

from piimage.deploy import answers
from piimage.deploy.release import Release
from piimage.errors import PiimageError
from piimage.store import default_root
from tests.system.deploy import series
from tests.system.deploy.greenhouse import PATIENCE, Greenhouse, Pi, booted, card_and_key

VERSIONS = 5
AFTER = "after the end"


@dataclass(frozen=True)
class Cut:
    """One cut: when it came, how far the deploy was, and what the next boot ran."""

    number: int
    seconds: float
    """From the deploy's first word to the cut."""
    stage: str
    finished: bool
    """Whether the tool had been told that the deploy is done."""
    runs: str
    """``old`` or ``new``: what the boot after it came up with."""


@dataclass
class Deploying:
    """A deploy in a thread; its machine may die at any moment."""

    pi: Pi
    release: Release
    finished: bool = False
    stages: dict[str, float] = field(default_factory=lambda: {"before": time.monotonic()})
    """When each stage began; the last one is the one that it is in."""
    changed: threading.Condition = field(default_factory=threading.Condition)
    cancelled: threading.Event = field(default_factory=threading.Event)
    """Set when the machine is gone for good: nothing is to be looked for again."""

    def run(self) -> None:
        try:
            self.pi.target(self.release, self.cancelled).deploy(self._tell)
            self.finished = True
            self._tell(AFTER)
        except PiimageError as error:
            self._tell(f"{self.stage} ({error.code})")

    @property
    def stage(self) -> str:
        return list(self.stages)[-1]

    def wait_for(self, stage: str) -> None:
        """Return when this stage has begun, or there will be no further one."""
        with self.changed:
            self.changed.wait_for(lambda: stage in self.stages or self.finished, PATIENCE)

    def lengths(self) -> dict[str, float]:
        """Return how long each stage but the last took."""
        moments = list(self.stages.values())
        return dict(zip(self.stages, (b - a for a, b in pairwise(moments)), strict=False))

    def _tell(self, line: str) -> None:
        with self.changed:
            self.stages[line.partition(" ")[0] if line.startswith("sends") else line] = (
                time.monotonic()
            )
            self.changed.notify_all()


def cuts(greenhouse: Greenhouse, folder: Path, count: int, chance: random.Random) -> Iterator[Cut]:
    """Cut the power `count` times; raises AssertionError for the first boot that is not well."""
    card, key = card_and_key(greenhouse, folder)
    disk = folder / "disk.qcow2"
    releases = [greenhouse.saying(f"HELLO, version {n}") for n in range(VERSIONS)]
    lengths = _first_deploy(greenhouse, card, key, disk, releases[0])
    old, new = releases[0], releases[0]
    pending: Cut | None = None
    for number in range(count + 1):
        with booted(greenhouse, card, key, disk=disk) as pi:
            running = check(pi, number)
            assert running in {old.containers, new.containers}, "it runs a third version"
            if pending is not None:
                runs = "new" if running == new.containers else "old"
                assert not pending.finished or runs == "new", "a finished deploy was lost"
                yield Cut(**{**asdict(pending), "runs": runs})
            if number == count:
                return
            old = next(release for release in releases if release.containers == running)
            new = releases[(releases.index(old) + 1) % VERSIONS]
            pi.sh(f"mkdir -p /data/kept; echo {number} >/data/kept/{number}; sync")
            stage = chance.choice(list(lengths))
            pending = _cut(pi, new, stage, chance.uniform(0, lengths[stage]), number)


def _first_deploy(
    greenhouse: Greenhouse, card: Path, key: Path, disk: Path, release: Release
) -> dict[str, float]:
    """Deploy once without a cut, and return how long each stage takes; after the end, a second."""
    with booted(greenhouse, card, key, disk=disk) as pi:
        check(pi, 0)
        deploying = Deploying(pi, release)
        deploying.run()
        assert deploying.finished, deploying.stage
        pi.sh("sync")
        return {**deploying.lengths(), AFTER: 1.0}


def _cut(pi: Pi, release: Release, stage: str, seconds: float, number: int) -> Cut:
    """Cut the power so many seconds into a stage."""
    deploying = Deploying(pi, release)
    began = time.monotonic()
    thread = threading.Thread(target=deploying.run)
    thread.start()
    deploying.wait_for(stage)
    time.sleep(seconds)
    finished, reached = deploying.finished, deploying.stage
    os.kill(pi.session.pid, signal.SIGKILL)
    deploying.cancelled.set()
    took = round(time.monotonic() - began, 2)
    thread.join(timeout=PATIENCE)
    return Cut(number, took, reached, finished, "")


def check(pi: Pi, number: int) -> str:
    """Wait until all services are up, look at /data, and return the digest of what runs."""
    end = time.monotonic() + PATIENCE
    while True:
        with pi.link() as link:
            rows = answers.services(link.ask("ps"))
            slot = answers.slot(link.ask("slot"))
        if all(row.state == "running" and row.health in ("running", "healthy") for row in rows):
            break
        assert time.monotonic() < end, rows
        time.sleep(1)
    assert {row.name for row in rows} == {"hello_world", "sshd", "web"}
    assert not slot.temporary, "/data was lost"
    kept = pi.sh("cd /data/kept 2>/dev/null && for f in *; do echo $f $(cat $f); done || :")
    assert sorted(kept.split("\n")) == sorted([*(f"{n} {n}" for n in range(number)), ""])
    console = "\n".join(line.text for line in pi.session.lines())
    assert "DATA LOST" not in console
    return slot.running


def main() -> int:
    """Cut, print, and write a report after each cut."""
    chosen = series.options("cuts", 100).parse_args()
    with tempfile.TemporaryDirectory(prefix="piimage-cuts-") as name:
        greenhouse = Greenhouse.laid_out(Path(name) / "greenhouse", default_root())
        found = cuts(greenhouse, Path(name), chosen.count, random.Random(chosen.seed))
        series.record("cuts", found, chosen.report, chosen.minutes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
