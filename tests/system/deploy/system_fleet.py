"""A system that fails on the canary: other Pis are not touched, and none of them restarts.

    python -m tests.system.deploy.system_fleet --pis 10

Emulated Pis (virt) get a version whose initramfs misses a layer, with one canary. Each needs 1 GiB
of memory and, for its start, a processor for half a minute. On a busy computer they answer late:
the tool waits for ten minutes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from unittest import mock

from piimage.deploy import link
from piimage.deploy.rollout import Policy, Result, roll_out
from piimage.deploy.system import System
from piimage.deploy.target import Outcome
from piimage.plan.slot import Slots
from piimage.store import default_root
from tests.system.deploy.system_site import Site, others, site

Results = Sequence[Result[Outcome]]


def failing_on_the_canary(canary: Site, spared: Sequence[Site]) -> tuple[str, Results]:
    """Deploy a version without one of its layers to all; return the layer and the results."""
    wish = canary.wish("boot: { cmdline: [shed.version=5] }\n", "never seen")
    whole, layer = wish.system, next(iter(wish.release.system))
    assert whole is not None
    broken = replace(whole, lay_out=lambda: _without(whole, layer), _recipes={})
    cancelled = threading.Event()
    targets = [pi.target(replace(wish, system=broken), cancelled) for pi in (canary, *spared)]
    results = roll_out(
        targets, lambda pi: pi.deploy(lambda line: None), Policy(canary=1), cancelled
    )
    return layer, results


def _without(whole: System, layer: str) -> Slots:
    path, volumes = f"layers/{layer}.squashfs", {}
    for number, volume in whole.slots.volumes.items():
        assert path in volume.files
        files = {name: content for name, content in volume.files.items() if name != path}
        volumes[number] = replace(volume, files=files)
    return replace(whole.slots, volumes=volumes)


def main() -> int:
    """Start the Pis, deploy, and print what became of each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pis", type=int, default=10)
    count = parser.parse_args().pis
    patient = mock.patch.object(link, "_GREETING_S", 600.0)
    asking = mock.patch.dict(link.Link.ask.__kwdefaults__, timeout=600.0)
    with tempfile.TemporaryDirectory(prefix="piimage-fleet-") as name, patient, asking:
        folder = Path(name)
        with (
            site(folder / "first", default_root()) as canary,
            others(canary, folder / "others", count - 1) as spared,
        ):
            began = time.monotonic()
            _, results = failing_on_the_canary(canary, spared)
            sys.stdout.write(f"{time.monotonic() - began:.0f} s; canary: {results[0].error}\n")
            touched = [pi for pi in spared if pi.state().update or pi.pi.session.restarts]
            skipped = sum(result.skipped for result in results)
            sys.stdout.write(f"{skipped} of {count} skipped, {len(touched)} of them touched\n")
    return 1 if touched or skipped != count - 1 else 0


if __name__ == "__main__":
    sys.exit(main())
