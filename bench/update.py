"""What an update of the whole system costs: bytes sent and seconds, beside RAUC's bundle.

On an emulated Pi, one after another: everything at once (the kernel, the base layer, config.txt and
the containers), a layer of 5 MB with settings of the boot, and one word of the command line. The
first card has the kernel that Debian released, the update the one of its security archive. After
each, the slot on the card is compared with a fresh build, byte by byte, and what is outside of the
slot and of /data with the card before: the one sector of autoboot.txt differs. RAUC's figures are
for the first change, and for the other two together: its full bundle if `rauc` is on the PATH, and
the 4 KiB blocks that an adaptive update has to fetch at least, with the packed index of blocks.
From the top of the checkout:

    .venv/bin/python -m bench.update [--board pi4]
"""

from __future__ import annotations

import argparse
import hashlib
import mmap
import random
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

from piimage.deploy.pi import Wish
from piimage.locking import requests
from piimage.run import Runner
from piimage.store import default_root
from tests.system.deploy.system_site import Site, site

LAYER = 5_000_000
BLOCK = 4096
ALL = (
    "boot: { cmdline: [shed.version=0], config: { dtparam: audio=off } }\n"
    "files: [ { path: etc/of-the-base, contents: new } ]\n"
)
FIRST = "boot: { cmdline: [shed.version=1], config: { dtparam: audio=on } }\n"
FIVE = "files: [ { path: usr/share/five, source: five } ]\n"
NEW = "the new line"
MANIFEST = (
    "[update]\ncompatible=piimage\nversion=2\n[bundle]\nformat=plain\n"
    "[image.rootfs]\nfilename=slot.img\n"
)


def updated(found: Site, title: str, extra: str, line: str = NEW) -> Wish:
    """Update the Pi to a version, compare its card, and print the cost."""
    wish = found.wish(extra, line)
    slot = found.state().other
    with found.disk() as before:
        began = time.monotonic()
        outcome = found.deploy(wish)
        seconds = time.monotonic() - began
        state = found.state()
        assert (state.booted, state.update) == (slot, "kept"), state
        same, changed = found.compare(wish, slot), found.changed_outside(before, slot)
    assert [sector[:6] for sector in changed] == [b"[all]\n"], changed
    print(
        f"{title}: {outcome.sent} bytes sent, {seconds:.0f} s; {same} bytes of the slot are those "
        f"of a build, {len(changed)} sector outside of it changed"
    )
    return wish


@contextmanager
def older(folder: Path, board: str) -> Iterator[Site]:
    """Boot a card whose lock knows the packages of Debian's last point release alone."""
    released = requests.release_suites()[:1]
    with ExitStack() as stack:
        with mock.patch.object(requests, "release_suites", lambda: released):
            found = stack.enter_context(site(folder, default_root(), board))
        yield found


def with_another_kernel(found: Site) -> tuple[Wish, Wish]:
    """Update the Pi to what Debian's archives have now, settings and containers included.

    Returns the version before and the new one.
    """
    kernel = found.pi.sh("uname -r").strip()
    before = found.wish("", "HELLO")
    layers = set(before.release.system)
    found.greenhouse.file.with_suffix(".lock").unlink()
    wish = updated(found, "kernel, base layer, config.txt, containers", ALL, "a new kernel")
    now = found.pi.sh("uname -r").strip()
    assert now != kernel, kernel
    new = set(wish.release.system) - layers
    print(f"  kernel {kernel} -> {now}; {len(new)} of {len(layers)} layers of the system are new")
    return before, wish


def slot_image(wish: Wish, folder: Path) -> Path:
    """Write slot A of a version as a file, which is how RAUC takes it."""
    assert wish.system is not None
    volume = wish.system.slots.volumes["2"]
    path = folder / "slot.img"
    with path.open("wb") as file:
        file.truncate(volume.size)
    volume.write(wish.system.runner, path, 0)
    return path


def blocks(path: Path) -> Iterator[bytes]:
    """Yield the digest of each 4 KiB."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
        for at in range(0, len(data), BLOCK):
            yield hashlib.sha256(data[at : at + BLOCK]).digest()


def beside_rauc(title: str, before: Wish, after: Wish, runner: Runner, folder: Path) -> None:
    """Print what RAUC would send for the same change."""
    (folder / "before").mkdir(parents=True)
    (folder / "after").mkdir()
    old, new = slot_image(before, folder / "before"), slot_image(after, folder / "after")
    known, wanted = set(blocks(old)), list(blocks(new))
    missing = {digest for digest in wanted if digest not in known}
    index = len(zlib.compress(b"".join(wanted), 9))
    print(
        f"{title} by RAUC, adaptive: at least {len(missing) * BLOCK} bytes of blocks "
        f"and {index} of their index"
    )
    if shutil.which("rauc") is None:
        print(f"{title} by RAUC, full bundle: no rauc on the PATH (Debian's package rauc)")
        return
    (folder / "after/manifest.raucm").write_text(MANIFEST)
    key, certificate, bundle = (folder / name for name in ("key.pem", "cert.pem", "full.raucb"))
    runner.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=bench",
         "-keyout", key, "-out", certificate]
    )  # fmt: skip
    began = time.monotonic()
    runner.run(["rauc", "bundle", "--cert", certificate, "--key", key, folder / "after", bundle])
    print(
        f"{title} by RAUC, full bundle: {bundle.stat().st_size} bytes, "
        f"made in {time.monotonic() - began:.0f} s"
    )


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--board", default="qemu-virt", choices=("qemu-virt", "pi4"))
    board = parser.parse_args().board
    with tempfile.TemporaryDirectory(prefix="piimage-bench-") as made:
        folder = Path(made)
        with older(folder / "site", board) as found:
            (found.greenhouse.folder / "five").write_bytes(random.Random(5).randbytes(LAYER))
            first, before = with_another_kernel(found)
            updated(found, "a layer of 5 MB, config.txt, containers", FIRST + FIVE)
            after = updated(found, "one word of cmdline.txt", FIRST.replace("=1", "=2") + FIVE)
            beside_rauc("everything", first, before, Runner(), folder / "everything")
            beside_rauc("the layer and the word", before, after, Runner(), folder / "layer")


if __name__ == "__main__":
    main()
