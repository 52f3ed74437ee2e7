"""Ten nights of polling: memory, and writes to the card.

The poller's own calls run one after the other without the waits between them, in one process
(tests/unit/deploy/nights.py), against the strict stand-in for a server; one call in twenty meets a
server that fails. The shell that calls the agent on a Pi is measured beside, with an agent that
does nothing. From the top of the checkout:

    .venv/bin/python -m bench.nights [--calls 4800]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from piimage import resources

sys.path.insert(0, str(resources.path("appliance") / "agent" / "lib"))
from tests.programs.deploy.ddi_server import ddi_server
from tests.programs.deploy.nights import Writes, call, device, resident

WARM = 200  # calls until everything is imported and every cache is full
LIBRARY = "say() { :; }\n"


def polled(folder: Path, calls: int) -> None:
    """Print the memory before and after `calls`, and what they wrote."""
    with ddi_server() as ddi, contextlib.redirect_stdout(io.StringIO()):
        root = device(folder, ddi)
        for _ in range(WARM):
            call(root)
        writes = Writes(folder).watch()
        before, began = resident(), time.monotonic()
        for number in range(calls):
            ddi.fails = [500] if number % 20 == 0 else []
            call(root)
            ddi.requests.clear()
        after, seconds = resident(), time.monotonic() - began
    sys.stdout.write(
        f"{calls} calls in {seconds:.0f} s: {before} kB before, {after} kB after; "
        f"writes to the card: {writes.counts['data']}, to memory: {writes.counts['run']}\n"
    )


def looped(folder: Path, calls: int) -> None:
    """Print the memory of the shell between calls, at the beginning and at the end."""
    script = (resources.path("appliance") / "rootfs/usr/lib/piimage/updates").read_text()
    (folder / "lib.sh").write_text(LIBRARY)
    count = folder / "count"
    agent = folder / "piimage-agent"
    agent.write_text(f"#!/bin/sh\necho x >>{count}\necho sleep 0\n")
    agent.chmod(0o755)
    loop = folder / "updates"
    loop.write_text(script.replace("/usr/lib/piimage/lib.sh", str(folder / "lib.sh")))
    environment = {"PATH": f"{folder}:{os.environ['PATH']}"}
    with subprocess.Popen(["busybox", "sh", loop], env=environment) as shell:
        sizes = []
        for wanted in (WARM, calls):
            while not count.exists() or count.stat().st_size < 2 * wanted:
                time.sleep(0.1)
            text = Path(f"/proc/{shell.pid}/status").read_text()
            sizes += [line.split()[1] for line in text.splitlines() if line.startswith("VmRSS")]
        shell.kill()
    sys.stdout.write(f"the shell: {sizes[0]} kB after {WARM} calls, {sizes[1]} kB after {calls}\n")


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description="nights of polling")
    parser.add_argument("--calls", type=int, default=4800, help="ten nights of 8 h, one a minute")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        polled(Path(name), wanted.calls)
        looped(Path(name), wanted.calls)
    sys.stdout.write(f"load {' '.join(f'{number:.1f}' for number in os.getloadavg())}\n")


if __name__ == "__main__":
    main()
