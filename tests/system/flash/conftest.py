"""Loop devices and a failing disk, which take root."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

MIB = 1 << 20


def sh(*words: str | Path) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


@contextlib.contextmanager
def loop(file: Path, *options: str) -> Iterator[str]:
    device = sh("losetup", "--find", "--show", *options, file)
    try:
        yield device
    finally:
        subprocess.run(["losetup", "-d", device], check=False, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Make loop devices over fresh files of random-looking bytes."""
    with contextlib.ExitStack() as stack:

        def make(size: int = 32 * MIB, *options: str, name: str = "disk") -> str:
            file = tmp_path / name
            if not file.exists():
                with file.open("wb") as opened:
                    opened.write(b"\xde\xad\xbe\xef" * (min(size, 256 * MIB) // 4))
                    opened.truncate(size)
            return stack.enter_context(loop(file, *options))

        yield make


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Callable[[str], None]]]:
    """A loop device over a FUSE file, and the function that says how it fails."""
    mount = tmp_path_factory.mktemp("faulty")
    server = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("faulty.py"), mount, str(32 * MIB)]
    )
    try:
        for _ in range(200):
            if (mount / "disk").exists():
                break
            time.sleep(0.05)
        with loop(mount / "disk", "--direct-io=on") as device:

            def fail(how: str) -> None:
                (mount / "control").write_text(how)
                subprocess.run(["blockdev", "--flushbufs", device], check=False)

            yield device, fail
    finally:
        subprocess.run(["umount", mount], check=False)
        server.terminate()
        server.wait()
