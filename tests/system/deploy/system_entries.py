"""The whole life of updates on a machine with UEFI, or with U-Boot: kept, undone, rolled back.

    python -m tests.system.deploy.system_entries [--board virt-uboot] [update restart …]

QEMU starts Debian's firmware, that systemd-boot, and that an entry; or U-Boot, that the card's
script, and that an entry: nothing stands in for them.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from piimage.deploy import system
from piimage.deploy.link import linked
from piimage.store import default_root
from tests.system.deploy.greenhouse import PATIENCE
from tests.system.deploy.system_faults import SICK, Fault, undone
from tests.system.deploy.system_folders import FILES, updated
from tests.system.deploy.system_site import Site, site

KEPT = "boot: { cmdline: [shed.version=2] }\n" + FILES
PANIC = Fault(
    "kernel that panics",
    "the new version did not come as far as mounting /data",
    extra="boot: { cmdline: [rdinit=/nothing, init=/nothing] }\n",
    restart="panic",
)
HANGS = Fault(
    "process 1 that hangs",
    "before process 1 had started",
    extra="files:\n  - { path: usr/sbin/finit, "
    'contents: "#!/bin/sh\\nwhile :; do sleep 1000; done\\n", mode: "0755" }\n',
    restart="watchdog",
)
UEFI = "arm64-uefi"
BOARDS = Path(__file__).parents[1] / "boot/appliances/boards"
ONE_SHOT = "LoaderEntryOneShot-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
LISTED = "mkdir -p /tmp/v; mount -t efivarfs v /tmp/v; ls /tmp/v; umount /tmp/v"


def update(pi: Site) -> str:
    """Update the machine, look at everything that it leaves, and return the figures."""
    before = pi.state()
    assert before.can_try, before.obstacle
    uefi = pi.pi.board.name == UEFI
    assert set(before.firmware) == ({"BOOTAA64.EFI"} if uefi else set())
    return updated(pi, KEPT, look_at_variables if uefi else lambda pi: None)


def look_at_variables(pi: Site) -> None:
    """Look at what an update left in the firmware: nothing."""
    variables = pi.pi.sh(LISTED).split()
    assert ONE_SHOT not in variables
    assert not [name for name in variables if name.startswith("Piimage")]


def restarted(pi: Site) -> str:
    """Restart in order; the version that was kept starts, and not as a try."""
    session, number = pi.pi.session, len(pi.pi.session.restarts)
    pi.pi.sh("(sleep 1; initctl reboot) </dev/null >/dev/null 2>&1 &")
    end = time.monotonic() + PATIENCE
    while len(session.restarts) == number and time.monotonic() < end:
        time.sleep(0.5)
    pi.pi.shell.wait(PATIENCE)
    last = session.restarts[number]
    assert (last.cause, last.tryboot) == ("restart", False)
    assert "piimage.try=1" not in pi.pi.sh("cat /proc/cmdline").split()
    return f"{pi.state().booted} without the word of a try"


def rolled_back(pi: Site) -> str:
    """Return to the version before, as a try that is kept."""
    with linked(pi.pi.ssh, pi.pi.host, threading.Event()) as link:
        slot = system.roll_back(link, pi.pi.ssh, threading.Event(), 60)
    state = pi.state()
    assert (slot, state.booted, state.kept, state.update) == ("a/", "a/", "a/", "kept")
    assert "shed.version=2" not in pi.pi.sh("cat /proc/cmdline")
    return "a/ again"


def with_boards(text: str, folder: Path) -> str:
    """Put the boards of the tests beside the file, which stays as it is, and beside its card."""
    for place in (folder, folder.parent):
        shutil.copytree(BOARDS, place / "boards")
    return text


@contextmanager
def machine(folder: Path, board: str, store: Path) -> Iterator[Site]:
    """Boot a machine that can be updated."""
    with site(folder, store, board, with_boards) as found:
        yield found


def main() -> int:
    """Do all of it, or the parts that are named, and print the time of each part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help="update comes first; without any, all")
    parser.add_argument("--board", default=UEFI)
    given = parser.parse_args()
    # QEMU's virt has a watchdog only if the board's file gives it one.
    faults = (PANIC, SICK, HANGS) if given.board == UEFI else (PANIC, SICK)
    parts: dict[str, Callable[[Site], str]] = {
        "update": update,
        "restart": restarted,
        # Only a version that was kept can be returned to: what fails replaces it.
        "rollback": rolled_back,
        **{
            fault.name: lambda pi, fault=fault: undone(pi, fault)  # type: ignore[misc]
            for fault in faults
        },
    }
    with (
        tempfile.TemporaryDirectory(prefix="piimage-entries-") as name,
        machine(Path(name), given.board, default_root()) as pi,
    ):
        for title in given.parts or parts:
            began = time.monotonic()
            told = parts[title](pi)
            sys.stdout.write(f"{title}: {time.monotonic() - began:.0f} s; {told}\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
