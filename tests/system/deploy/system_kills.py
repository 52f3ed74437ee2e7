"""Kills at random moments of updates of the whole system: whatever was running, a version boots.

    python -m tests.system.deploy.system_kills --kills 200 --report kills.json
    python -m tests.system.deploy.system_kills --kills 5 --emulated --report kills.json

Each kill comes at a random moment of a random stage of the update (what the tool was told last), so
that short stages get as many as long ones. Without ``--emulated`` the agent's processes die by
SIGKILL, on the stand-in of tests/programs/deploy/slots_stand.py, whose slots are files; with it
QEMU dies, and the card boots again. After each kill the slot that boots has to be whole, and the
old version or the new one; the next update has to be possible; and /data has to have what was
written before.
"""

from __future__ import annotations

import functools
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from unittest import mock

from piimage.deploy import pi, system
from piimage.deploy.pi import PiTarget, Wish
from piimage.emulator.session import Session
from piimage.errors import PiimageError
from piimage.firmware.fat import FatReader
from piimage.store import default_root
from tests.programs.deploy.slots_stand import KERNEL, SlotsStand
from tests.system.deploy import series
from tests.system.deploy.greenhouse import PATIENCE, Greenhouse, booted, card_and_key
from tests.system.deploy.system_site import UPDATES, Site
from tests.unit.deploy.stand_in import AGENT, MACHINE, fake_ssh, target

sys.path.insert(0, str(AGENT))

from piimage_agent import trial
from piimage_agent.root import Root

AFTER = "after the end"
_CALM = ("", "receiving", "written", "kept", "undone")
"""The states of the journal in which the next update is possible."""


@dataclass(frozen=True)
class Kill:
    """One kill: when it came, how far the update was, and what booted after it."""

    number: int
    seconds: float
    stage: str
    finished: bool
    """Whether the tool had been told that the version is kept."""
    state: str
    """The journal's state after the boot."""
    runs: str
    """``old`` or ``new``."""


@dataclass
class Updating:
    """An update in a thread; its machine may die at any moment."""

    make: Callable[[threading.Event], PiTarget]
    finished: bool = False
    stages: dict[str, float] = field(default_factory=lambda: {"before": time.monotonic()})
    """When each stage began; the last one is the one that it is in."""
    changed: threading.Condition = field(default_factory=threading.Condition)
    cancelled: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Update; errors are the end of the last stage."""
        try:
            self.make(self.cancelled).deploy(self._tell)
            self.finished = True
            self._tell(AFTER)
        except PiimageError as error:
            self._tell(f"failed: {error.code}: {error}")

    @property
    def stage(self) -> str:
        """The stage that it is in."""
        return list(self.stages)[-1]

    @property
    def lengths(self) -> dict[str, float]:
        """How long each stage took; a second after the end."""
        moments = list(self.stages.values())
        lengths = dict(zip(self.stages, (b - a for a, b in pairwise(moments)), strict=False))
        return {**lengths, AFTER: 1.0}

    def kill(self, stage: str, seconds: float, strike: Callable[[], None]) -> tuple[str, float]:
        """Run it, and kill it so many seconds into `stage`; return where and when that was."""
        began = time.monotonic()
        thread = threading.Thread(target=self.run)
        thread.start()
        with self.changed:
            self.changed.wait_for(lambda: stage in self.stages or self._has_ended(), PATIENCE)
        time.sleep(seconds)
        reached, took = self.stage, time.monotonic() - began
        assert not reached.startswith("failed"), reached
        strike()
        self.cancelled.set()
        thread.join(timeout=PATIENCE)
        return reached, round(took, 2)

    def _has_ended(self) -> bool:
        return self.finished or self.stage.startswith("failed")

    def _tell(self, line: str) -> None:
        with self.changed:
            # "sending 4711 bytes" is a stage whatever the number.
            words = [word for word in line.split() if not word.isdigit()]
            self.stages.setdefault(" ".join(words), time.monotonic())
            self.changed.notify_all()


# --- the agent's processes


@dataclass
class Agents:
    """A stand-in for a Pi whose processes are killed."""

    stand: SlotsStand
    folder: Path
    facts: str
    """What the initramfs leaves for the first slot, started without a try."""
    versions: int = 0

    def updating(self) -> Updating:
        """An update to the next version."""
        self.versions += 1
        wish = self.stand.wish(self._files(self.versions))
        runner = fake_ssh(self.folder / "bin", {"pi": self.stand.command})
        return Updating(lambda cancelled: target(runner, self.stand.store, "pi", wish, cancelled))

    def strike(self) -> None:
        """Kill all processes of the Pi, until there is none."""
        while found := [pid for pid in self._processes() if pid != os.getpid()]:
            for pid in found:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.02)

    def boot(self) -> tuple[str, int]:
        """Start the slot that boots without a try; return the journal's state and its version."""
        root = self.stand.pi.root
        active = int(self.stand.autoboot.partition("boot_partition=")[2][0])
        facts = self.facts.replace("PARTITION='2'", f"PARTITION='{active}'")
        self.stand.pi.write("run/piimage/boot", facts)
        for name in ("initctl", "run/piimage/system/confirmed", "run/piimage/system-kept"):
            (root / name).unlink(missing_ok=True)
        trial.run(Root(str(root)))
        lines = self.stand.pi.text("data/piimage/system/state").splitlines()
        state = next(line for line in lines if line.startswith("STATE=")).partition("=")[2]
        return state.strip("'"), self._version(active)

    def _version(self, number: int) -> int:
        """Return the version in a slot, all of whose files have to be whole."""
        data = self.stand.slot(number)
        slot = FatReader(data, 0, len(data), f"slot {number}")
        config = slot.read("config.txt") or b"0"
        version = int(config.split()[-1])
        if version:
            for name, content in self._files(version).items():
                assert slot.read(name) == content, (number, version, name)
        assert slot.read("kernel.img") == KERNEL
        return version

    def _files(self, version: int) -> dict[str, Path | bytes]:
        return {
            "kernel.img": KERNEL,
            "layers/new.squashfs": random.Random(version).randbytes(900_000),
            "config.txt": f"arm_64bit=1\n# {version}\n".encode(),
        }

    def _processes(self) -> Iterator[int]:
        own = str(self.stand.pi.root).encode()
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if own in path.read_bytes():
                    yield int(path.parent.name)
            except OSError:
                continue


def kill_agents(folder: Path, count: int, chance: random.Random) -> Iterator[Kill]:
    """Kill the agent's processes `count` times; raises AssertionError for the first bad boot."""
    with _stand_in():
        yield from _kill_agents(folder, count, chance)


@contextmanager
def _stand_in() -> Iterator[None]:
    """Take this computer for the Pi's processor, and its restarts for quick ones."""
    values = {"_PAUSE_S": 0.1, "_RESTART_S": 10.0, "_MARGIN_S": 10.0}
    with mock.patch.object(pi, "MACHINE", MACHINE), mock.patch.multiple(system, **values):
        yield


def _kill_agents(folder: Path, count: int, chance: random.Random) -> Iterator[Kill]:
    stand = SlotsStand(folder / "pi-of-kills")
    agents = Agents(stand, folder, stand.pi.text("run/piimage/boot"))
    first = agents.updating()
    first.run()
    assert first.finished, first.stages
    (agents.stand.pi.root / "data/kept").write_text("kept")
    old = agents.boot()[1]
    for number in range(count):
        stage = chance.choice(list(first.lengths))
        updating = agents.updating()
        moment = chance.uniform(0, first.lengths[stage])
        reached, seconds = updating.kill(stage, moment, agents.strike)
        state, version = agents.boot()
        assert version in (old, agents.versions), (version, old, reached)
        assert not updating.finished or version == agents.versions, "a finished update was lost"
        assert state in _CALM, state
        assert (agents.stand.pi.root / "data/kept").read_text() == "kept"
        runs = "old" if version == old else "new"
        yield Kill(number, seconds, reached, updating.finished, state, runs)
        old = version


# --- QEMU


def kill_emulators(folder: Path, store: Path, count: int, chance: random.Random) -> Iterator[Kill]:
    """Kill QEMU `count` times; raises AssertionError for the first boot that is not well."""
    greenhouse = Greenhouse.laid_out(folder / "greenhouse", store)
    greenhouse.file.write_text(greenhouse.file.read_text() + UPDATES)
    card, key = card_and_key(greenhouse, folder)
    disk = folder / "disk.qcow2"
    lengths: dict[str, float] = {}
    old, versions, pending = 0, 0, None
    for number in range(count + 2):
        with booted(greenhouse, card, key, disk=disk) as machine:
            site = Site(machine, greenhouse, card, key)
            state, words = site.state(), machine.sh("cat /proc/cmdline").split()
            found = [int(word.partition("=")[2]) for word in words if word.startswith("shed.")]
            version = found[0] if found else 0
            assert state.booted == state.kept, state
            assert not state.tried, state
            assert state.update in _CALM, state
            assert version in (old, versions), (version, old)
            kept = machine.sh("cd /data/kept 2>/dev/null && echo * || :")
            assert kept.split() == sorted(str(n) for n in range(number)), kept
            if pending is not None:
                runs = "old" if version == old else "new"
                assert not pending.finished or runs == "new", "a finished update was lost"
                yield Kill(**{**asdict(pending), "state": state.update, "runs": runs})
            if number == count + 1:
                return
            old, versions = version, versions + 1
            machine.sh(f"mkdir -p /data/kept; echo {number} >/data/kept/{number}; sync")
            wish = site.wish(f"boot: {{ cmdline: [shed.version={versions}] }}\n", "HELLO")
            updating = _updating(site, wish)
            if not lengths:
                updating.run()
                assert updating.finished, updating.stages
                machine.sh("sync")
                lengths = updating.lengths
                continue
            stage = chance.choice(list(lengths))
            strike = functools.partial(_kill_machine, machine.session)
            reached, seconds = updating.kill(stage, chance.uniform(0, lengths[stage]), strike)
            pending = Kill(number, seconds, reached, updating.finished, "", "")


def _kill_machine(session: Session) -> None:
    """Kill QEMU, of which each restart of the machine is another process."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            os.kill(session.pid, signal.SIGKILL)
            return
        except ProcessLookupError:
            time.sleep(0.05)
    raise AssertionError("QEMU did not start again")


def _updating(site: Site, wish: Wish) -> Updating:
    inputs, host, ssh = site.greenhouse.sources, site.pi.host, site.pi.ssh
    return Updating(
        lambda cancelled: PiTarget(host, wish, ssh, inputs.store, inputs.runner, cancelled)
    )


def main() -> int:
    """Kill, print, and write a report after each kill."""
    parser = series.options("kills", 200)
    parser.add_argument("--emulated", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="piimage-kills-") as name:
        folder, chance = Path(name), random.Random(chosen.seed)
        kills = (
            kill_emulators(folder, default_root(), chosen.count, chance)
            if chosen.emulated
            else kill_agents(folder, chosen.count, chance)
        )
        series.record("kills", kills, chosen.report, chosen.minutes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
