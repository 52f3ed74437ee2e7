"""Gives damaged inputs to every reader of foreign bytes, and says what they did with them.

    python -m tests.fuzz [--inputs N] [--reader NAME]... [--seed N] [--keep FOLDER]

Each reader runs in a process of its own, whose memory the kernel limits (RLIMIT_AS) and measures
(VmHWM). An input is right when the reader takes it, or raises one of the errors that it documents;
anything else is kept in a file, one for each kind of failure. Prints a line a reader: inputs, how
many were taken, failures, the peak of memory, inputs a second. Ends with 1 if anything failed.
Not part of `make check`: a million inputs take about an hour of one processor.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from tests.fuzz.archives import emptied
from tests.fuzz.mutation import Mutator
from tests.fuzz.readers import READERS

MOST = 150_000_000  # bytes of resident memory: 100 MB, and what Python and all readers take
ADDRESSES = 2 << 30
SECONDS = 10  # for one input


class TooSlow(BaseException):
    """One input took longer than SECONDS."""


def _stop(*_: object) -> None:
    raise TooSlow


def work(name: str, inputs: int, seed: int, keep: Path) -> dict[str, object]:
    """Give `inputs` to the reader `name` and return what happened."""
    reader = READERS[name]
    mutator = Mutator(reader.seeds(), random.Random(f"{name} {seed}"))
    began = time.monotonic()
    taken, failures = 0, Counter[str]()
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    signal.signal(signal.SIGALRM, _stop)
    with tempfile.TemporaryDirectory(dir=base) as folder:
        for _ in range(inputs):
            data = reader.damage(mutator)
            signal.setitimer(signal.ITIMER_REAL, SECONDS)
            try:
                reader.read(data, emptied(Path(folder) / "work"))
                taken += 1
            except reader.raises:
                pass
            except (Exception, TooSlow) as error:  # noqa: BLE001  # that is what is looked for
                where = traceback.extract_tb(error.__traceback__)[-1]
                kind = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}"
                if not failures[kind]:
                    _keep(keep, name, kind, data, error)
                failures[kind] += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    status = Path("/proc/self/status").read_text().splitlines()
    (peak,) = (int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))
    rate = inputs / max(time.monotonic() - began, 0.001)
    return {"reader": name, "inputs": inputs, "taken": taken, "failures": dict(failures),
            "peak": peak, "rate": round(rate)}  # fmt: skip


def _keep(folder: Path, name: str, kind: str, data: bytes, error: BaseException) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{name}-{kind.replace(' ', '-').replace('/', '-')}"
    (folder / f"{stem}.input").write_bytes(data)
    (folder / f"{stem}.txt").write_text(
        "".join(traceback.format_exception(error)), errors="replace"
    )


def main() -> int:
    """Run the readers that were asked for, one after another."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--inputs", type=int, default=100_000, help="over all readers")
    parser.add_argument("--reader", action="append", choices=sorted(READERS), default=[])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"))
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.reader or list(READERS)
    if options.alone:
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
        sys.stdout.write(
            json.dumps(work(names[0], options.inputs, options.seed, options.keep)) + "\n"
        )
        return 0
    return _all(names, options.inputs, options.seed, options.keep)


def _all(names: list[str], inputs: int, seed: int, keep: Path) -> int:
    shares = sum(READERS[name].share for name in names)
    total, bad = 0, 0
    for name in names:
        count = -(-inputs * READERS[name].share // shares)
        argv = [sys.executable, "-W", "ignore", "-m", "tests.fuzz", "--alone", "--reader", name]
        words = ["--inputs", str(count), "--seed", str(seed), "--keep", str(keep)]
        done = subprocess.run([*argv, *words], stdout=subprocess.PIPE, check=False)
        if done.returncode:
            sys.stdout.write(f"{name:16} the process ended with {done.returncode}\n")
            bad += 1
            continue
        report = json.loads(done.stdout)
        total += report["inputs"]
        bad += len(report["failures"]) + (report["peak"] > MOST)
        sys.stdout.write(
            f"{name:16} {report['inputs']:8} inputs, {report['taken']:8} taken, "
            f"peak {report['peak'] / 1e6:4.0f} MB, {report['rate']:6} a second"
            f"{'  ' + json.dumps(report['failures']) if report['failures'] else ''}\n"
        )
        sys.stdout.flush()
    sys.stdout.write(f"{total} inputs, {bad} kinds of failure\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
