"""Boot speed on QEMU's virt machine, by phase, beside LinuxKit's.

The measure is the CPU time of the QEMU process from its start to the service's line: wall time
depends on who else uses the machine. Prints the least of several runs for each phase, the least
and the median of the whole, and the ratio to LinuxKit's figure; decides nothing.

    .venv/bin/python bench/boot.py [--runs N] [FILE.yml | FILE.img]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from piimage.emulator.console import Line, Phase, phases
from piimage.emulator.session import boot
from piimage.firmware.manifest import board_of
from piimage.run import Runner

ROOT = Path(__file__).parents[1]
PIIMAGE = ROOT / ".venv" / "bin" / "piimage"
TIMEOUT = 600.0

# LinuxKit 3bf33c3 with the same kernel, containerd and runc (Debian 13), two processors, the slim
# image; measured on a machine of this kind and quoted, because neither its sources nor a Go tool
# chain that builds them come from the archives that this benchmark may fetch from.
LINUXKIT_QUIET = (34.0, 37.0)
LINUXKIT_BUSY = (38.0, 42.0)
BUSY_LOAD = 1.5

PHASES = {
    "kernel": "QEMU's start, the kernel",
    "initramfs": "modules, slot, layers",
    "switch-root": "process 1 reads its configuration",
    "process-1": "boot tasks, /data grows",
    "onboot": "containers that run once",
    "services": "containerd's start",
    "task": "ctr, shim, runc, the service",
}


def image_of(file: Path, folder: Path) -> Path:
    """Return the card to boot: the one that is named, or the one that the YAML file builds to."""
    if file.suffix == ".img":
        return file
    subprocess.run([PIIMAGE, "build", file, "-o", folder], check=True)
    return folder / f"{file.stem}.img"


def run(image: Path, until: str) -> tuple[Phase, ...]:
    """Boot a fresh copy of the card and return the phases up to the line that holds `until`."""
    with boot(image, board_of(image), Runner()) as machine:
        machine.wait_for(until, TIMEOUT)
        return phases(up_to(machine.lines(), until))


def up_to(lines: Sequence[Line], text: str) -> tuple[Line, ...]:
    """Return `lines` up to the first that holds `text`."""
    end = next(number for number, line in enumerate(lines) if text in line.text)
    return tuple(lines[: end + 1])


def total(found: Sequence[Phase]) -> tuple[float, float]:
    """Return wall and CPU seconds of all phases."""
    return sum(phase.seconds for phase in found), sum(phase.cpu_seconds for phase in found)


def show(runs: Sequence[Sequence[Phase]], load: float) -> None:
    """Print the table and the ratio."""
    print(f"{len(runs)} runs; load before: {load:.2f}; processors: {os.cpu_count()}")
    print(f"{'phase':12} {'CPU s':>6} {'wall s':>7}   (least of each)")
    for same in zip(*runs, strict=True):
        cpu, wall = min(phase.cpu_seconds for phase in same), min(phase.seconds for phase in same)
        print(f"{same[0].name:12} {cpu:6.2f} {wall:7.2f}   {PHASES.get(same[0].name, '')}")
    walls, cpus = zip(*(total(found) for found in runs), strict=True)
    print(f"{'best run':12} {min(cpus):6.2f} {min(walls):7.2f}")
    print(f"{'median':12} {statistics.median(cpus):6.2f} {statistics.median(walls):7.2f}")
    kind = "busy" if load > BUSY_LOAD else "quiet"
    least, most = LINUXKIT_BUSY if kind == "busy" else LINUXKIT_QUIET
    middle = statistics.median(cpus)
    print(f"LinuxKit, quoted, on a {kind} machine: {least:.0f} to {most:.0f} s of CPU")
    print(f"ratio piimage / LinuxKit: {middle / most:.2f} to {middle / least:.2f} (bound: 0.50)")


def main() -> None:
    """Boot several times and print what it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", nargs="?", default=ROOT / "examples/qemu-virt.yml", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--until", default="HELLO from")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="piimage-bench-") as folder:
        image = image_of(options.file, Path(folder))
        load = os.getloadavg()[0]
        show([run(image, options.until) for _ in range(options.runs)], load)


if __name__ == "__main__":
    main()
