"""Versions that fail on trial, each in its own way: the Pi returns by itself, and says why.

    python -m tests.system.deploy.system_faults

An emulated Pi (virt) gets one after the other. test_system_update.py has those that are quick.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

from piimage.deploy import system
from piimage.errors import PiimageError
from piimage.store import default_root
from tests.system.deploy.system_site import Site, site


@dataclass(frozen=True)
class Fault:
    """A version that fails: what is different in it, and what the Pi says of it afterwards."""

    name: str
    cause: str
    """Words of what the tool and `piimage status` say."""
    extra: str = "boot: { cmdline: [shed.version=9] }\n"
    """Lines of its file."""
    replaced: tuple[str, str, str] | None = None
    """A file of the greenhouse, and words in it with their replacement."""
    restart: str = "restart"
    """Why the emulator restarted out of it."""


HANGS = Fault(
    "kernel that hangs",
    "the new version ended",
    extra="modules: [ { build: hang } ]\n",
    restart="watchdog",
)
NETWORK = Fault(
    "network that is gone",
    "no tool reached the new version within",
    extra="boot: { cmdline: [module_blacklist=virtio_net] }\n",
)
SICK = Fault(
    "service that is never healthy",
    ": web",
    replaced=("web/service.yml", '"http://127.0.0.1:8080/"', '"http://127.0.0.1:9/"'),
)
NO_DATA = Fault(
    "/data that is lost",
    "the new version did not come as far as mounting /data",
    extra="boot: { cmdline: [module_blacklist=ext4] }\n",
)
FAULTS = (HANGS, NETWORK, SICK, NO_DATA)


def undone(pi: Site, fault: Fault, deadline: float = 100.0) -> str:
    """Deploy a version with `fault`; return the cause that the Pi has noted.

    Its services have to be up within `deadline` seconds after its start.
    """
    before = pi.state()
    with _replaced(pi, fault), mock.patch.object(system, "_RESTART_S", deadline):
        wish = pi.wish(fault.extra, "never seen")
        try:
            pi.deploy(replace(wish, wait=1))
        except PiimageError as error:
            assert error.code == "deploy.undone", error  # its text is looked at
            assert fault.cause in str(error), error
        else:
            raise AssertionError(f"a version with a {fault.name} was kept")
    state, restarts = pi.state(), pi.pi.session.restarts
    assert (state.booted, state.kept, state.update) == (before.booted, before.kept, "undone")
    assert not state.tried
    assert fault.cause in state.cause
    assert restarts[-1].cause == fault.restart, restarts
    return state.cause


@contextlib.contextmanager
def _replaced(pi: Site, fault: Fault) -> Iterator[None]:
    if fault.replaced is None:
        yield
        return
    path, old, new = fault.replaced
    file = pi.greenhouse.folder / path
    kept = file.read_text()
    assert old in kept, path
    file.write_text(kept.replace(old, new))
    try:
        yield
    finally:
        file.write_text(kept)


def main() -> int:
    """Try each fault, and print the cause and the time."""
    with (
        tempfile.TemporaryDirectory(prefix="piimage-faults-") as name,
        site(Path(name), default_root()) as pi,
    ):
        for fault in FAULTS:
            began = time.monotonic()
            cause = undone(pi, fault)
            sys.stdout.write(f"{fault.name}: {time.monotonic() - began:.0f} s; {cause}\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
