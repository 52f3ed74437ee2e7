"""What a server bears: many simulated Pis, with the poller's own code, call one goosebit.

The simulated Pis run on the same computer as the server and take a part of its time, so the
server's processor time for each call is printed too: it says what a server alone would bear. Prints
for each round the calls a second, that time, the memory of the server and of the process that
simulates all Pis, and the size of the database. GOOSEBIT_VENV names an environment that has
goosebit; else one is made. From the top of the checkout:

    .venv/bin/python -m bench.fleet [--devices 1000] [--rounds 3] [--threads 8]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from piimage import resources
from tests.system.deploy.goosebit import Goosebit, goosebit

sys.path.insert(0, str(resources.path("appliance") / "agent" / "lib"))
from piimage_agent import updates
from piimage_agent.ddi import Server, Trouble
from piimage_agent.poll import Call
from piimage_agent.root import Root


def device(folder: Path, url: str, number: int) -> Root:
    """Lay out what a call reads of a Pi."""
    root = folder / str(number)
    texts = {
        "etc/piimage/updates": f"SERVER='{url}'\nCONTROLLER='pi-{number:05}'\n",
        "run/piimage/boot": "PIIMAGE_SLOT='/slot'\nPIIMAGE_SLOT_PARTITION='2'\n",
        "slot/appliance.json": json.dumps({"name": "shed", "board": "pi4", "order": [1, number]}),
    }
    for path, text in texts.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    (root / "data/piimage").mkdir(parents=True)
    return Root(str(root))


def call(root: Root) -> int:
    """Call as a process of its own would; return the wait that the server wants, 0 if it failed."""
    settings = updates.load(root)
    assert settings is not None
    server = Server(settings)
    try:
        return Call(root, server).run()
    except Trouble:
        return 0
    finally:
        server.close()


def memory(pid: int) -> float:
    """Return the resident memory of a process in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1e3


def processor_time(pid: int) -> float:
    """Return the seconds that a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def round_of(roots: Sequence[Root], threads: int, server: Goosebit) -> str:
    """Have every Pi call once; return what it took."""
    began, before = time.monotonic(), processor_time(server.pid)
    with ThreadPoolExecutor(threads) as pool:
        waits = list(pool.map(call, roots))
    seconds, computed = time.monotonic() - began, processor_time(server.pid) - before
    load = " ".join(f"{number:.1f}" for number in os.getloadavg())
    database = (server.folder / "db.sqlite3").stat().st_size
    return (
        f"{len(roots)} calls in {seconds:.1f} s, {len(roots) / seconds:.0f} a second, "
        f"{waits.count(0)} failed; server {1e3 * computed / len(roots):.1f} ms a call, "
        f"{memory(server.pid):.0f} MB, database {database / 1e6:.1f} MB; "
        f"Pis {memory(os.getpid()):.0f} MB; load {load}"
    )


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description="many simulated Pis and one goosebit")
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=8)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, goosebit(Path(name) / "server") as server:
        folder = Path(name) / "devices"
        roots = [device(folder, server.url, number) for number in range(wanted.devices)]
        call(
            roots[0]
        )  # alone: goosebit 0.2.12 notes a new board twice, if two Pis bring it at once
        sys.stdout.write(
            f"without calls: server {memory(server.pid):.0f} MB, "
            f"{wanted.devices} Pis {memory(os.getpid()):.0f} MB\n"
        )
        for count in range(1, wanted.rounds + 1):
            sys.stdout.write(f"round {count}: {round_of(roots, wanted.threads, server)}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
