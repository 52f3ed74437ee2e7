"""The whole update of an emulated Pi 3, whose slots are folders: sent, written, tried and kept.

    python -m tests.system.deploy.system_folders

QEMU's raspi3b writes slowly: three minutes, and a quarter of an hour on a busy processor.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from piimage.store import default_root
from tests.system.deploy.system_site import Site, site

FILES = (
    "files: [ { path: etc/of-the-base, contents: new }, { path: usr/share/five, source: five } ]\n"
)
KEPT = "boot: { cmdline: [shed.version=2], config: { gpu_mem: 48 } }\n" + FILES
LAYER = 5_000_000


def updated(pi: Site, kept: str, look: Callable[[Site], None]) -> str:
    """Update a machine with folders by the lines `kept` and a file of `LAYER` bytes.

    Looks at everything that it leaves, and by `look` at what its kind alone has; returns the
    figures.
    """
    (pi.greenhouse.folder / "five").write_bytes(random.Random(5).randbytes(LAYER))
    before = pi.state()
    assert (before.booted, before.other, before.kept) == ("a/", "b/", "a/")
    wish = pi.wish(kept, "a system of its own")
    outcome = pi.deploy(wish)
    assert LAYER < outcome.sent < 1.02 * LAYER + 100_000
    (tried,) = pi.pi.session.restarts
    assert (tried.partition, tried.tryboot) == (1, True)
    state = pi.state()
    assert (state.booted, state.kept, state.update) == ("b/", "b/", "kept")
    words = pi.pi.sh("cat /proc/cmdline").split()
    assert {"shed.version=2", "piimage.prefix=b/", "piimage.try=1"} <= set(words)
    assert pi.pi.sh("cat /etc/of-the-base") == "new"
    look(pi)
    same = pi.compare(wish, "b/")
    return f"{outcome.sent} bytes sent, {outcome.seconds:.0f} s; {same} bytes compared"


def look_at_config(pi: Site) -> None:
    """Look at what the firmware of a Pi reads."""
    config = pi.pi.sh("head -n 3 /run/piimage/slot/config.txt").split()
    assert config == ["[all]", "os_prefix=b/", "gpu_mem=48"]


def main() -> int:
    """Update one Pi, and print what it cost."""
    with (
        tempfile.TemporaryDirectory(prefix="piimage-folders-") as name,
        site(Path(name), default_root(), "pi3") as pi,
    ):
        sys.stdout.write(f"{updated(pi, KEPT, look_at_config)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
