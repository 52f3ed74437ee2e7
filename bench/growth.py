"""How the boot grows from 1 to 30 services, beside another build of piimage, and a plot of it.

Cards with hello services are built by this checkout, and by the program of another one (`--beside
PIIMAGE`, with a store of its own), and booted in turn on QEMU's virt machine. The measure is that
of bench/boot.py: processor seconds of QEMU until each service has printed its line, and seconds by
the clock. From the top of the checkout:

    .venv/bin/python -m bench.growth [--beside PIIMAGE] [--runs N] [--plot FILE.svg]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.boot import PIIMAGE, Run, Until, many, run

NUMBERS = (1, 5, 10, 15, 20, 30)
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 360, 56, 48, 16
OURS, OTHER = "this version", "beside"
COLOURS = {OURS: "#2a7d4f", OTHER: "#b5541c"}
Medians = Mapping[str, Mapping[int, float]]


def build(program: Path, folder: Path, number: int, environment: Mapping[str, str]) -> Path:
    """Build a card with `number` services; return it."""
    folder.mkdir(exist_ok=True)
    file = many(folder, number, shell=False)
    words = [program, "build", file, "-o", folder / "out"]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **environment})
    return folder / "out" / f"{file.stem}.img"


def measure(cards: Mapping[str, Mapping[int, Path]], runs: int) -> dict[str, dict[int, list[Run]]]:
    """Boot every card `runs` times, those with the same number of services in turn."""
    found: dict[str, dict[int, list[Run]]] = {name: {n: [] for n in NUMBERS} for name in cards}
    for _ in range(runs):
        for number in NUMBERS:
            for name, images in cards.items():
                done = run(images[number], Until("HELLO from", number), None)
                found[name][number].append(done)
                print(f"{number:2} {name:12} {done.cpu:7.2f} s {done.wall:7.2f} s", flush=True)
    return found


def show(found: Mapping[str, Mapping[int, Sequence[Run]]]) -> Medians:
    """Print a table of medians, and return those of the processor."""
    cpu = {
        name: {number: statistics.median(run.cpu for run in runs) for number, runs in rows.items()}
        for name, rows in found.items()
    }
    print("\nservices  " + "  ".join(f"{name:>22}" for name in found))
    for number in NUMBERS:
        walls = (statistics.median(run.wall for run in rows[number]) for rows in found.values())
        cells = (
            f"CPU {cpu[name][number]:6.2f}, wall {wall:6.2f}"
            for name, wall in zip(found, walls, strict=True)
        )
        print(f"{number:8}  " + "  ".join(cells))
    return cpu


def plot(cpu: Medians) -> str:
    """Return a plot of processor seconds over services, as SVG that any background suits."""
    highest = 10 * (1 + int(max(max(rows.values()) for rows in cpu.values()) // 10))

    def at(number: float, seconds: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - 110) * number / NUMBERS[-1]
        return x, HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * seconds / highest

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'font-family="sans-serif" font-size="13" fill="#777">',
        "<title>Processor seconds of a boot by the number of services</title>",
    ]
    for seconds in range(0, highest + 1, 10 if highest <= 80 else 20):
        (x, y), (end, _) = at(0, seconds), at(NUMBERS[-1], 0)
        parts.append(f'<path d="M{x:.1f} {y:.1f}H{end:.1f}" stroke="#7774"/>')
        parts.append(f'<text x="{x - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{seconds}</text>')
    for number in NUMBERS:
        x, y = at(number, 0)
        parts.append(f'<text x="{x:.1f}" y="{y + 20:.1f}" text-anchor="middle">{number}</text>')
    x, y = at(NUMBERS[-1] / 2, 0)
    parts.append(f'<text x="{x:.1f}" y="{y + 40:.1f}" text-anchor="middle">services</text>')
    parts.append(f'<text x="14" y="{TOP + 2}" font-size="12">s</text>')
    for name, rows in cpu.items():
        points = [at(number, seconds) for number, seconds in rows.items()]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        colour = COLOURS[name]
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        x, y = points[-1]
        parts.append(f'<text x="{x + 10:.1f}" y="{y + 4:.1f}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    """Build, boot, print, and draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--beside", type=Path, metavar="PIIMAGE", help="program of another build")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--plot", type=Path, metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="piimage-growth-") as name:
        folder = Path(name)
        cards = {OURS: {n: build(PIIMAGE, folder / "ours", n, {}) for n in NUMBERS}}
        if options.beside:
            store = {"PIIMAGE_STORE": str(folder / "store")}
            cards[OTHER] = {n: build(options.beside, folder / "other", n, store) for n in NUMBERS}
        print(f"load before: {os.getloadavg()[0]:.2f}; processors: {os.cpu_count()}", flush=True)
        cpu = show(measure(cards, options.runs))
    if options.plot:
        options.plot.write_text(plot(cpu))


if __name__ == "__main__":
    main()
