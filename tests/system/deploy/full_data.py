"""Ends a try on a /data that is full; prints the journal's states before and after, as JSON.

test_full_data.py starts it in namespaces of its own (`unshare -rm`), so that any user may mount.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

from piimage_agent import journal, trial
from piimage_agent.journal import ARMED, Journal
from piimage_agent.root import Root


def fill(folder: Path) -> None:
    """Write until no byte more fits."""
    with (folder / "filler").open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)):
                    pass


def main(top: Path, facts: str) -> None:
    """Run the try of a version that came to its process 1, and then no further."""
    root = Root(str(top))
    data = top / "data"
    data.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", data], check=True)
    (top / "run/piimage").mkdir(parents=True)
    (top / "run/piimage/boot").write_text(facts)
    (data / "piimage/system").mkdir(parents=True)
    journal.reserve(root)
    Journal({}).changed(state=ARMED, FROM="2", to="3", note="new.yml").write(root)
    fill(data)
    before = os.statvfs(data).f_bavail
    subprocess.run(["sh", "-c", f"echo data-mounted >>'{data}/piimage/system/trail'"], check=True)
    journal.add_to_trail(root, "process-1")
    journal.load(root).changed(state="trying").write(root)
    trial.run(root)
    found = journal.load(root)
    json.dump({"free": before, "state": found.state, "cause": found.cause}, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
