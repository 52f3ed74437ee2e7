"""Faults of a real block device: none is reported as success, and none leaves a card that boots."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from piimage.errors import PiimageError
from piimage.flash import medium, source, write
from piimage.flash.write import Flashed
from piimage.run import Runner
from tests.system.flash.conftest import MIB, loop
from tests.unit.flash.cards import MAPPED, bootable, holds_image, image_file

Faulty = tuple[str, Callable[[str], None]]
IMAGE_END = 20 * MIB + 7 * 4096


def flashed(device: str, image: Path) -> Flashed:
    with medium.opened(device, Path(device).stat().st_rdev, None) as card:
        return write.flash(card, source.find(image), Runner())


def content(device: str) -> bytes:
    """What is on the device, past the cache."""
    subprocess.run(["blockdev", "--flushbufs", device], check=True)
    return Path(device).read_bytes()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return image_file(tmp_path_factory.mktemp("image"))


def mapped_byte(chance: random.Random) -> int:
    extent = chance.choices(MAPPED, [e.size for e in MAPPED])[0]
    return chance.randrange(extent.start, extent.end)


def test_a_good_disk_gets_the_image(faulty: Faulty, image: Path) -> None:
    device, fail = faulty
    fail("none 0")
    flashed(device, image)
    assert holds_image(content(device))


def test_a_slow_disk_gets_the_image(faulty: Faulty, image: Path) -> None:
    device, fail = faulty
    fail("slow 2")
    flashed(device, image)
    fail_free = content(device)
    assert holds_image(fail_free)


@pytest.mark.parametrize("seed", range(200))
def test_no_fault_is_reported_as_success(faulty: Faulty, image: Path, seed: int) -> None:
    device, fail = faulty
    chance = random.Random(seed)
    kind = chance.choice(
        ["write-error", "read-error", "drop", "flip", "zero", "wrap", "end", "dies"]
    )
    number = {
        # Of these each puts two pieces of the image, or one and the stamp, on one place.
        "wrap": lambda: chance.choice([1, 2, 4, 5, 6, 7, 8, 10, 11, 13, 14, 15, 16, 19]) * MIB,
        "end": lambda: chance.randrange(0, IMAGE_END // 4096) * 4096,
        "dies": lambda: chance.randrange(0, 25),
    }.get(kind, lambda: mapped_byte(chance))()
    fail(f"{kind} {number}")
    with pytest.raises(PiimageError) as caught:
        flashed(device, image)
    assert caught.value.code in {
        "flash.io-error",
        "flash.mismatch",
        "flash.fake-card",
        "flash.ignores-writes",
        "flash.gone",
    }
    if kind in {"write-error", "drop", "flip", "zero", "wrap"}:
        assert not bootable(content(device))


def test_a_wrapping_disk_is_called_a_fake(faulty: Faulty, image: Path) -> None:
    device, fail = faulty
    for real in (4 * MIB, 6 * MIB, 8 * MIB, 16 * MIB):
        fail(f"wrap {real}")
        with pytest.raises(PiimageError, match=f"wrap around after {real}"):
            flashed(device, image)


KILLED = """
import os, sys
from pathlib import Path
from piimage.flash import medium, source, write
from piimage.run import Runner
device, image = sys.argv[1:3]
with medium.opened(device, os.stat(device).st_rdev, None) as card:
    found = source.find(Path(image))
    print("go", flush=True)
    write.flash(card, found, Runner(), resume="resume" in sys.argv)
"""


def start(device: str, image: Path, *more: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, device, image, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


@pytest.mark.parametrize("block", range(10))
def test_a_kill_at_any_moment_leaves_all_or_nothing(
    tmp_path: Path, image: Path, block: int
) -> None:
    """Twenty kills in each of ten blocks, spread over the time that a whole flash takes."""
    chance = random.Random(block)
    file = tmp_path / "disk"
    file.write_bytes(bytes(510) + b"\x55\xaa" + b"\xde\xad\xbe\xef" * (8 * MIB - 128))
    with loop(file) as device:
        began = time.monotonic()
        assert start(device, image).wait() == 0
        whole = time.monotonic() - began
        for _ in range(20):
            process = start(device, image)
            time.sleep(chance.uniform(0, whole))
            process.send_signal(chance.choice([signal.SIGKILL, signal.SIGINT, signal.SIGTERM]))
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
            left = content(device)
            assert holds_image(left) or not bootable(left)
            if not bootable(left):
                assert start(device, image, "resume").wait() == 0
                assert holds_image(content(device))
