"""Runs a command repeatedly on a small tmpfs with more and more free space.

test_full.py starts it in namespaces of its own (`unshare -rm`), so that any user may mount. It
reads a request as JSON from standard input, and writes the results as JSON to standard output.
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
class Result:
    """The output of a command, and the files that it left."""

    free: int
    status: int
    output: str
    files: dict[str, str]
    """The digest of each file in the folder of the outputs, hidden files included."""
    drafts: list[str]
    """The files that remain in TMPDIR and in the store's folder for drafts."""
    untrue: list[str]
    """The blobs of the store that do not have the digest of their name."""
    peak: int
    """The maximum space that the command used, in bytes, sampled during its run."""


@dataclass(frozen=True)
class Place:
    """The tmpfs: the files before each run, and the folder of the run."""

    top: Path

    def prepare(self) -> None:
        """Restore the initial files; hard links share their content."""
        run = self.top / "run"
        shutil.rmtree(run, ignore_errors=True)
        subprocess.run(["cp", "-al", self.top / "before", run], check=True)

    def fill(self, free: int) -> None:
        """Fill the tmpfs up to `free` bytes."""
        filler = self.top / "filler"
        filler.unlink(missing_ok=True)
        status = os.statvfs(self.top)
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, status.f_bavail * status.f_frsize - free))

    def used(self) -> int:
        """Return how many bytes are in use."""
        status = os.statvfs(self.top)
        return (status.f_blocks - status.f_bfree) * status.f_frsize

    def run(self, argv: list[str], free: int) -> Result:
        """Run the command with `free` bytes of free space."""
        self.prepare()
        self.fill(free)
        run = self.top / "run"
        status, output, peak = self._watched(argv)
        out = run / "out"
        files = {str(p.relative_to(out)): _digest(p) for p in out.rglob("*") if p.is_file()}
        drafts = [str(p) for name in ("tmp", "store/tmp") for p in (run / name).rglob("*")]
        drafts += [str(p) for p in (run / "project").glob(".*")]
        blobs = (run / "store" / "blobs" / "sha256").iterdir()
        new = (path for path in blobs if path.stat().st_nlink == 1)  # other blobs are older
        untrue = [path.name for path in new if _digest(path) != path.name]
        return Result(free, status, output, files, drafts, untrue, peak)

    def _watched(self, argv: list[str]) -> tuple[int, str, int]:
        used = peak = self.used()
        process = subprocess.Popen(
            argv, cwd=self.top / "run" / "project", env=self.environment(),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        while True:
            try:
                _, output = process.communicate(timeout=0.02)
            except subprocess.TimeoutExpired:
                peak = max(peak, self.used())
                continue
            return process.returncode, output.decode(), max(peak, self.used()) - used

    def environment(self) -> dict[str, str]:
        """Return the environment of the command: all that it writes is on the tmpfs."""
        run = self.top / "run"
        places = {"PIIMAGE_STORE": run / "store", "TMPDIR": run / "tmp", "HOME": run / "home"}
        return {**os.environ, **{name: str(path) for name, path in places.items()}}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fill(before: Path, argv: list[str], points: int, share: float) -> dict[str, Any]:
    """Run `argv` with enough space, then at `points` from 0 to `share` of the used space."""
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
    request = json.load(sys.stdin)
    request["before"] = Path(request["before"])
    json.dump(fill(**request), sys.stdout)
