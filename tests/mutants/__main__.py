"""``make mutants``: try a sample of each room, and say which changes no test notices."""

from __future__ import annotations

import argparse
import queue
import shutil
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants.bench import BaselineFailed, Bench, Outcome, copy_repository
from tests.mutants.choose import sample
from tests.mutants.rooms import ROOT, Mutant, Room, accepted, rooms

WANTED_PER_CENT = 90


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when at least nine of ten are noticed in every room, else 1."""
    known = rooms()
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help=f"of {', '.join(known)}; all")
    parser.add_argument("--sample", type=int, default=40, help="mutants of each room [40]")
    parser.add_argument("--seed", type=int, default=1, help="which ones [1]")
    parser.add_argument("--jobs", type=int, default=1, help="at a time [1]")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.rooms if name not in known]
    if unknown:
        parser.error(f"no such room: {', '.join(unknown)}; there are {', '.join(known)}")
    chosen = [known[name] for name in options.rooms or known]
    results = [_try_room(room, options.sample, options.seed, options.jobs) for room in chosen]
    return 0 if all(results) else 1


def _try_room(room: Room, size: int, seed: int, jobs: int) -> bool:
    """Whether enough of a room's sample was noticed."""
    mutants = sample(ROOT, room.files, size, seed)
    with tempfile.TemporaryDirectory(prefix="mutants-", dir="/var/tmp") as folder:
        benches = _benches(Path(folder), room, jobs)
        try:
            took = next(iter(benches)).baseline()
        except BaselineFailed as error:
            print(f"{room.name}: the tests fail unchanged\n{error}")
            return False
        print(f"{room.name}: {len(mutants)} mutants, the tests take {took:.0f} s", flush=True)
        for bench in benches[1:]:
            bench.seconds = benches[0].seconds
        outcomes = _outcomes(mutants, benches)
    return _report(room, mutants, outcomes)


def _benches(folder: Path, room: Room, jobs: int) -> list[Bench]:
    first = folder / "0"
    copy_repository(ROOT, first)
    for number in range(1, jobs):
        shutil.copytree(first, folder / str(number), symlinks=True)
    return [Bench(folder / str(number), room.tests) for number in range(jobs)]


def _outcomes(mutants: Sequence[Mutant], benches: Sequence[Bench]) -> list[Outcome]:
    free: queue.Queue[Bench] = queue.Queue()
    for bench in benches:
        free.put(bench)

    def outcome_of(mutant: Mutant) -> Outcome:
        bench = free.get()
        try:
            outcome = bench.outcome(mutant)
        finally:
            free.put(bench)
        if outcome is Outcome.SURVIVED:
            print(f"  lives  {mutant}", flush=True)  # at once: a run may be cut short
        return outcome

    with ThreadPoolExecutor(len(benches)) as pool:
        return list(pool.map(outcome_of, mutants))


def _report(room: Room, mutants: Sequence[Mutant], outcomes: Sequence[Outcome]) -> bool:
    known = accepted()
    survivors = [m for m, o in zip(mutants, outcomes, strict=True) if o is Outcome.SURVIVED]
    new = [m for m in survivors if not any(a.is_(m) for a in known)]
    counted = len(mutants) - (len(survivors) - len(new))
    noticed = counted - len(new)
    share = 100 * noticed / counted if counted else 100.0
    accepted_too = f", {len(survivors) - len(new)} accepted" if len(new) < len(survivors) else ""
    print(f"{room.name}: {noticed} of {counted} noticed ({share:.0f} %){accepted_too}", flush=True)
    return share >= WANTED_PER_CENT


if __name__ == "__main__":
    sys.exit(main())
