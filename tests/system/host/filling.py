"""Runs one command again and again on a small tmpfs that is ever less full; says what each left.

Started by test_full.py in namespaces of its own (`unshare -rm`), so that any user may mount; reads
what to do as JSON from standard input and writes what came of it as JSON to standard output.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_SIZE = 1 << 30
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Left:
    """What a command said, and what it left."""

    free: int
    status: int
    said: str
    files: dict[str, str]
    """Digest of each file in the folder of the outputs, hidden ones too."""
    drafts: list[str]
    """What is left in TMPDIR and in the store's own folder for drafts."""
    untrue: list[str]
    """Blobs of the store whose bytes are not those of their names."""
    peak: int
    """How many bytes it took at most, looked at while it ran."""


@dataclass(frozen=True)
class Place:
    """The tmpfs: what is there before each run, and where the run is."""

    top: Path

    def prepare(self) -> None:
        """Lay out everything as it was at first; content is shared by hard links."""
        run = self.top / "run"
        shutil.rmtree(run, ignore_errors=True)
        subprocess.run(["cp", "-al", self.top / "before", run], check=True)

    def fill(self, free: int) -> None:
        """Leave `free` bytes."""
        filler = self.top / "filler"
        filler.unlink(missing_ok=True)
        found = os.statvfs(self.top)
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, found.f_bavail * found.f_frsize - free))

    def used(self) -> int:
        """Return how many bytes are in use."""
        found = os.statvfs(self.top)
        return (found.f_blocks - found.f_bfree) * found.f_frsize

    def run(self, argv: list[str], free: int) -> Left:
        """Run the command where `free` bytes are free."""
        self.prepare()
        self.fill(free)
        run = self.top / "run"
        status, said, peak = self._watched(argv)
        out = run / "out"
        files = {str(p.relative_to(out)): _digest(p) for p in out.rglob("*") if p.is_file()}
        drafts = [str(p) for name in ("tmp", "store/tmp") for p in (run / name).rglob("*")]
        drafts += [str(p) for p in (run / "project").glob(".*")]
        blobs = (run / "store" / "blobs" / "sha256").iterdir()
        new = (path for path in blobs if path.stat().st_nlink == 1)  # others were there before
        untrue = [path.name for path in new if _digest(path) != path.name]
        return Left(free, status, said, files, drafts, untrue, peak)

    def _watched(self, argv: list[str]) -> tuple[int, str, int]:
        used = peak = self.used()
        process = subprocess.Popen(
            argv, cwd=self.top / "run" / "project", env=self.environment(),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        while True:
            try:
                _, said = process.communicate(timeout=0.02)
            except subprocess.TimeoutExpired:
                peak = max(peak, self.used())
                continue
            return process.returncode, said.decode(), max(peak, self.used()) - used

    def environment(self) -> dict[str, str]:
        """Return the environment of the command: all that it writes is on the tmpfs."""
        run = self.top / "run"
        places = {"PIIMAGE_STORE": run / "store", "TMPDIR": run / "tmp", "HOME": run / "home"}
        return {**os.environ, **{name: str(path) for name, path in places.items()}}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fill(before: Path, argv: list[str], points: int, share: float) -> dict[str, Any]:
    """Run `argv` with room enough, then with 0 to `share` of what it took, at so many points."""
    top = Path("/mnt")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", top], check=True)
    shutil.copytree(before, top / "before", symlinks=True)
    for name in ("out", "tmp", "home"):
        (top / "before" / name).mkdir(exist_ok=True)
    place = Place(top)
    whole = place.run(argv, _SIZE)
    frees = [int(whole.peak * share * number / points) for number in range(points)]
    return {"whole": asdict(whole), "points": [asdict(place.run(argv, free)) for free in frees]}


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    asked["before"] = Path(asked["before"])
    json.dump(fill(**asked), sys.stdout)
