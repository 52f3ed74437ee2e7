"""Boot speed on QEMU's virt machine, by phase, and beside the card of another build.

The measure is the CPU time of the QEMU process from its start to the last service's line: wall
time depends on who else uses the machine. `--services N` boots a card with N hello services.
`--beside FILE.img` boots the card of another build in turn with this one, and prints each pair:
only two cards that were booted in turn on the same machine are compared. `--memory` asks the guest
afterwards how much memory is in use, which needs an image with sshd: `--services` adds it then.

    .venv/bin/python bench/boot.py [--runs N] [--services N] [--beside FILE.img] [FILE]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from piimage.emulator.console import Line, Phase, phases
from piimage.emulator.session import Options, boot
from piimage.firmware.manifest import board_of
from piimage.run import Runner
from piimage.testing.shell import Shell, card_with_key

ROOT = Path(__file__).parents[1]
PIIMAGE = ROOT / ".venv" / "bin" / "piimage"
TIMEOUT = 900.0

PHASES = {
    "kernel": "QEMU's start, the kernel",
    "initramfs": "modules, slot, layers",
    "switch-root": "process 1 reads its configuration",
    "process-1": "boot tasks, containerd beside them",
    "onboot": "containers that run once",
    "services": "process 1 starts the runners",
    "task": "the rest of containerd's start, shim, runtime, the services",
}

# KiB of PSS by program, of all processes but those of the session that asks, and what is available.
MEMORY = """
for folder in /proc/[0-9]*; do
    read -r name 2>/dev/null <$folder/comm || continue
    pss=$(awk '/^Pss:/ {print $2}' $folder/smaps_rollup 2>/dev/null)
    [ -z "$pss" ] || echo "$name $pss"
done | awk '{sum[$1] += $2; n[$1]++} END {for (k in sum) print sum[k], n[k], k}' | sort -rn
awk '/^MemTotal|^MemAvailable/ {print $2, 0, $1}' /proc/meminfo
"""


@dataclass(frozen=True)
class Run:
    """What one boot took, to the last line that was waited for."""

    found: tuple[Phase, ...]

    @property
    def cpu(self) -> float:
        """Seconds of QEMU's processor time."""
        return sum(phase.cpu_seconds for phase in self.found)

    @property
    def wall(self) -> float:
        """Seconds by the clock."""
        return sum(phase.seconds for phase in self.found)


@dataclass(frozen=True)
class Until:
    """The line that ends a boot: the `count`-th that holds `text`."""

    text: str
    count: int


def many(folder: Path, number: int, *, shell: bool) -> Path:
    """Write a file with `number` hello services, and sshd for `--memory`."""
    lines = [f"  - {{ name: hello_{count:02}, use: hello_world }}" for count in range(number)]
    login = ["  - { name: sshd, use: sshd }"] if shell else []
    onboot = ["onboot: [{ name: dhcp, use: dhcp }]"] if shell else []
    file = folder / f"hello-{number}.yml"
    head = ["board: qemu-virt", "hostname: qemu-virt", *onboot, "services:"]
    file.write_text("\n".join([*head, *login, *lines, "log: { console: true }", ""]))
    return file


def image_of(file: Path, folder: Path) -> Path:
    """Return the card to boot: the one that is named, or the one that the YAML file builds to."""
    if file.suffix == ".img":
        return file
    subprocess.run([PIIMAGE, "build", file, "-o", folder], check=True)
    return folder / f"{file.stem}.img"


def run(image: Path, until: Until, cpus: int | None) -> Run:
    """Boot a fresh copy of the card and return the phases up to the last line of `until`."""
    with boot(image, board_of(image), Runner(), Options(cpus=cpus)) as machine:
        for _ in range(until.count):
            machine.wait_for(until.text, TIMEOUT)
        return Run(phases(up_to(machine.lines(), until)))


def up_to(lines: Sequence[Line], until: Until) -> tuple[Line, ...]:
    """Return `lines` up to the one that `until` names."""
    ends = [number for number, line in enumerate(lines) if until.text in line.text]
    return tuple(lines[: ends[until.count - 1] + 1])


def memory_of(image: Path, until: Until, cpus: int | None) -> str:
    """Boot the card, and return what MEMORY prints in the guest once all services are up."""
    runner, board = Runner(), board_of(image)
    with tempfile.TemporaryDirectory(prefix="piimage-bench-") as folder:
        card, key = card_with_key(runner, image, board, Path(folder))
        with boot(card, board, runner, Options(cpus=cpus, ssh_port=0)) as machine:
            for _ in range(until.count):
                machine.wait_for(until.text, TIMEOUT)
            assert machine.ssh_port is not None
            shell = Shell(runner, key, machine.ssh_port)
            shell.wait(TIMEOUT)
            return shell.run(["sh", "-c", MEMORY], TIMEOUT).text


def spread(values: Sequence[float]) -> str:
    """Return the median of `values` and their range."""
    return f"{statistics.median(values):6.2f} ({min(values):.2f} to {max(values):.2f})"


def show(title: str, runs: Sequence[Run]) -> None:
    """Print the least of each phase, and the whole."""
    print(f"\n{title}: {len(runs)} runs\n{'phase':12} {'CPU s':>6} {'wall s':>7}   (least of each)")
    for name in dict.fromkeys(phase.name for done in runs for phase in done.found):
        same = [phase for done in runs for phase in done.found if phase.name == name]
        cpu, wall = min(phase.cpu_seconds for phase in same), min(phase.seconds for phase in same)
        print(f"{name:12} {cpu:6.2f} {wall:7.2f}   {PHASES.get(name, '')}")
    print(f"{'all':12} CPU {spread([done.cpu for done in runs])}")
    print(f"{'':12} wall {spread([done.wall for done in runs])}")


def show_pairs(ours: Sequence[Run], others: Sequence[Run]) -> None:
    """Print each pair, and the medians of the ratios."""
    titles = ("CPU s", "beside", "ratio", "wall s", "beside", "ratio")
    print(f"\npair {' '.join(f'{title:>7}' for title in titles)}")
    pairs = list(zip(ours, others, strict=True))
    for number, (done, beside) in enumerate(pairs, 1):
        cpu, wall = done.cpu / beside.cpu, done.wall / beside.wall
        figures = (done.cpu, beside.cpu, cpu, done.wall, beside.wall, wall)
        print(f"{number:4} {' '.join(f'{figure:7.2f}' for figure in figures)}")
    print(f"ratio of CPU  {spread([done.cpu / beside.cpu for done, beside in pairs])}")
    print(f"ratio of wall {spread([done.wall / beside.wall for done, beside in pairs])}")


def measure(
    cards: Sequence[Path], number: int, until: Until, cpus: int | None
) -> list[tuple[Run, ...]]:
    """Boot the cards in turn, `number` times each; every other round begins with the other card."""
    rounds = []
    for count in range(number):
        order = list(enumerate(cards))
        done = {index: run(card, until, cpus) for index, card in order[:: 1 if count % 2 else -1]}
        rounds.append(tuple(done[index] for index, _ in order))
        print(f"round {count + 1}:", *(f"{done.cpu:.2f} s" for done in rounds[-1]), flush=True)
    return [tuple(runs) for runs in zip(*rounds, strict=True)]


def parsed() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", nargs="?", type=Path, help="YAML file or card image")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--services", type=int, default=1, help="how many lines to wait for")
    parser.add_argument("--beside", type=Path, help="card of another build, booted in turn")
    parser.add_argument("--until", default="HELLO from")
    parser.add_argument("--cpus", type=int, help="processors of the guest (default: the board's)")
    parser.add_argument("--memory", action="store_true", help="memory in use, as the guest says")
    return parser.parse_args()


def main() -> None:
    """Boot several times and print what it took."""
    options = parsed()
    until = Until(options.until, options.services)
    with tempfile.TemporaryDirectory(prefix="piimage-bench-") as name:
        folder = Path(name)
        file = options.file or many(folder, options.services, shell=options.memory)
        cards = [image_of(file, folder), *([options.beside] if options.beside else [])]
        print(f"load before: {os.getloadavg()[0]:.2f}; processors: {os.cpu_count()}")
        runs = measure(cards, options.runs, until, options.cpus)
        for title, found in zip((file.name, f"beside {options.beside}"), runs, strict=False):
            show(title, found)
        if options.beside:
            show_pairs(*runs)
        for card in cards if options.memory else ():
            print(f"\nmemory of {card.name} (KiB of PSS, processes, program)")
            print(memory_of(card, until, options.cpus))


if __name__ == "__main__":
    main()
