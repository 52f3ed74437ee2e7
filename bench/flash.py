"""Flashing against bmaptool and dd: the same image, the same loop device, in turn.

    python bench/flash.py [--image FILE] [--rounds N] [--folder DIR]

Needs root (loop devices), bmap-tools and coreutils. Each tool writes the card in each round, in
another order every time; the figures are the medians of wall time, and the peak of memory. What
each does: dd writes everything and syncs (oflag=direct, conv=fsync); bmaptool writes what is mapped
and syncs; piimage writes what is mapped, syncs, and reads all of it back past the cache.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from piimage.card import bmap
from piimage.card.extents import Extent

MIB = 1 << 20
PIIMAGE = """
import json, re, sys
from pathlib import Path
from piimage.flash import medium, source, write
from piimage.run import Runner
device, image = sys.argv[1:]
with medium.opened(device, Path(device).stat().st_rdev, None) as card:
    done = write.flash(card, source.find(Path(image)), Runner())
peak = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]
print(json.dumps([done.write_seconds, done.verify_seconds, int(peak)]))
"""


def sample_image(folder: Path) -> Path:
    """A card of 1 GiB of which 235 MB are mapped, as in the peers' figures."""
    image = folder / "card.img"
    chance = random.Random(1)
    extents = [Extent(0, 2 * MIB), Extent(17 * MIB, 217 * MIB), Extent(600 * MIB, 622 * MIB)]
    with image.open("wb") as file:
        file.truncate(1024 * MIB)
        for extent in extents:
            for piece in extent.pieces(MIB):
                file.seek(piece.start)
                file.write(chance.randbytes(piece.size))
    with image.open("rb") as file:
        image.with_suffix(".bmap").write_bytes(bmap.encode(bmap.measure(file, 1024 * MIB, extents)))
    return image


@contextlib.contextmanager
def loop(size: int, folder: Path) -> Iterator[str]:
    file = folder / "medium"
    file.write_bytes(b"")
    os.posix_fallocate(os.open(file, os.O_RDWR), 0, size)
    device = subprocess.check_output(["losetup", "--find", "--show", file], text=True).strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "-d", device], check=True)


def timed(*words: str | Path) -> float:
    began = time.monotonic()
    subprocess.run(words, check=True, capture_output=True)
    return time.monotonic() - began


def one_round(image: Path, device: str, order: list[str], found: dict[str, list[float]]) -> None:
    for name in order:
        os.sync()
        if name == "dd":
            words = ["dd", f"if={image}", f"of={device}", "bs=4M", "oflag=direct", "conv=fsync"]
            found["dd"].append(timed(*words))
        elif name == "bmaptool":
            found["bmaptool"].append(timed("bmaptool", "copy", image, device))
        else:
            began = time.monotonic()
            done = subprocess.check_output([sys.executable, "-c", PIIMAGE, device, image])
            write, verify, peak = json.loads(done)
            found["piimage, whole command"].append(time.monotonic() - began)
            found["piimage, write"].append(write)
            found["piimage, read back"].append(verify)
            found["piimage, peak KiB"].append(peak)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where image and medium lie")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        image = options.image or sample_image(folder)
        found: dict[str, list[float]] = defaultdict(list)
        with loop(image.stat().st_size, folder) as device:
            for number in range(options.rounds):
                order = ["dd", "bmaptool", "piimage"]
                one_round(image, device, order[number % 3 :] + order[: number % 3], found)
    print(f"{platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    for name, values in found.items():
        middle = statistics.median(values)
        print(f"{name:24} {middle:10.2f}   {' '.join(f'{value:.2f}' for value in values)}")
    alone = statistics.median(found["bmaptool"])
    write = statistics.median(found["piimage, write"])
    both = write + statistics.median(found["piimage, read back"])
    print(
        f"write / bmaptool: {write / alone:.2f} (aim: 1.0); write + read back: {both / alone:.2f}"
        " (aim: 1.5)"
    )


if __name__ == "__main__":
    main()
