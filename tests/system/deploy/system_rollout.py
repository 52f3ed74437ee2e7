"""Ten emulated Pis and a real goosebit: roll-outs in groups, a bad version, an interrupted one.

    python -m tests.system.deploy.system_rollout [--pis 10] [good] [bad] [interrupted]

A roll-out goes to a feed of two Pis first, and to the others if none of the first has failed: the
error threshold is kept by this program over goosebit's REST API, since goosebit has none. Each Pi
needs 1 GiB of memory and, for its start, a processor for half a minute. Prints a line for each
step, and ends with an AssertionError at the first that is not as it should be. GOOSEBIT_VENV names
an environment that has goosebit; else one is made.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from piimage.card.ext4 import DataFile
from piimage.store import default_root
from piimage.swu import Reader, parse_description
from piimage.testing.shell import card_with
from tests.system.deploy.calling_site import bundle_of, calling
from tests.system.deploy.counting_proxy import Proxy, counting
from tests.system.deploy.goosebit import Goosebit, goosebit
from tests.system.deploy.greenhouse import Greenhouse, booted, card_and_key
from tests.system.deploy.system_site import UPDATES, Site

POLL = "00:01:00"
PATIENCE = 1800.0
FIRST, OTHERS = "first", "others"
CRASHES = "#!/bin/sh\necho broken\nexit 3\n"
LAYER = 5_000_000
LOG_LINES = 5
Step = Callable[[], bool]


@dataclass(frozen=True)
class Fleet:
    """The Pis by their names, their server, and the way between."""

    server: Goosebit
    proxy: Proxy
    pis: dict[str, Site]

    @property
    def groups(self) -> dict[str, list[str]]:
        """The Pis of each feed, in the order of a roll-out."""
        names = list(self.pis)
        return {FIRST: names[:2], OTHERS: names[2:]}

    def states(self, names: Sequence[str]) -> Counter[str]:
        """How many of these Pis are in which state, as the server has it."""
        return Counter(str(self.server.device(name)["last_state"]) for name in names)

    def require(self, names: Sequence[str], version: str) -> None:
        """Raise AssertionError, with the cause for each, if not all of these Pis have a version."""
        found = {name: self.server.device(name) for name in names}
        others = [name for name in names if found[name]["sw_version"] != version]
        told = "".join(f"\n{self._account(name, found[name])}" for name in others)
        assert not others, f"{len(others)} of {len(names)} do not have {version}:{told}"

    def _account(self, name: str, found: Mapping[str, Any]) -> str:
        """What the server knows of a Pi, and the last lines that it has reported."""
        lines = self.server.log_of(name).strip().splitlines()[-LOG_LINES:]
        known = f"{name}: {found['last_state']}, {found['sw_version']}"
        return "\n  ".join([known, *(lines or ["it has reported nothing"])])

    def versions(self, names: Sequence[str]) -> set[str]:
        """The versions that these Pis report."""
        return {str(self.server.device(name)["sw_version"]) for name in names}


def told(text: str) -> None:
    """Print one line of the report."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def until(holds: Step, complaint: str) -> float:
    """Wait until something holds; return the seconds."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < PATIENCE, complaint
        time.sleep(2)
    return time.monotonic() - began


def version_of(bundle: Path) -> str:
    """The version that a bundle brings."""
    with bundle.open("rb") as file:
        return parse_description(Reader(file).head().text).version


def roll_out(fleet: Fleet, bundle: Path, threshold: int = 0) -> list[str]:
    """Roll a bundle out, group by group; return the names of the Pis that were reached.

    A group whose failures exceed `threshold` is the last one, and its roll-out is paused. No Pi may
    be in the state "Error": that of an earlier roll-out could not be told from one of this.
    """
    states = fleet.states(list(fleet.pis))
    assert "Error" not in states, f"some Pis failed in an earlier roll-out: {dict(states)}"
    number, version, reached = fleet.server.upload(bundle), version_of(bundle), []
    for feed, names in fleet.groups.items():
        body = {"name": f"{bundle.stem}-{feed}", "feed": feed, "software_id": number}
        rollout = fleet.server.ask("PUT", "/api/v1/rollouts", body)["id"]
        reached += names
        until(lambda: has_ended(fleet, names, version), f"{feed} did not end")  # noqa: B023
        listed = fleet.server.ask("GET", "/api/v1/rollouts")["rollouts"]
        (found,) = [entry for entry in listed if entry["id"] == rollout]
        if found["failure_count"] > threshold:
            fleet.server.ask("PATCH", "/api/v1/rollouts", {"ids": [rollout], "paused": True})
            break
    return reached


def has_ended(fleet: Fleet, names: Sequence[str], version: str) -> bool:
    """Whether each of these Pis has the version, or has failed."""
    try:
        devices = [fleet.server.device(name) for name in names]
    except OSError:  # the server is restarted
        return False
    return all(
        found["last_state"] == "Error"
        or (found["last_state"] == "Finished" and found["sw_version"] == version)
        for found in devices
    )


def good_one(fleet: Fleet) -> None:
    """One line of a service changes."""
    names = list(fleet.pis)
    bundle = bundle_of(fleet.pis[names[0]], "", "a-good-version")
    before, began = fleet.proxy.received, time.monotonic()
    reached = roll_out(fleet, bundle)
    seconds, received = time.monotonic() - began, fleet.proxy.received - before
    fleet.require(names, version_of(bundle))
    assert reached == names
    for site in fleet.pis.values():
        site.pi.session.wait_for("a-good-version", 60)
    told(
        f"one line changed: all {len(names)} in {seconds:.0f} s, "
        f"{received / len(names):.0f} bytes for each, calls and reports included"
    )
    assert received / len(names) < 20_000


def bad_one(fleet: Fleet) -> None:
    """A service that exits at once: the second group never sees it."""
    first = fleet.groups[FIRST]
    site = fleet.pis[first[0]]
    script = site.greenhouse.folder / "services/hello_world/hello.sh"
    kept, before = script.read_text(), fleet.versions(list(fleet.pis))
    script.write_text(CRASHES)
    try:
        bundle = bundle_of(site, "", "a-bad-version")
    finally:
        script.write_text(kept)
    began = time.monotonic()
    assert roll_out(fleet, bundle) == first
    assert fleet.states(first) == {"Error": len(first)}
    assert fleet.states(fleet.groups[OTHERS]) == {"Finished": len(fleet.groups[OTHERS])}
    assert fleet.versions(list(fleet.pis)) == before
    cause = fleet.server.log_of(first[0]).strip().splitlines()[-1]
    told(
        f"a bad version: {len(first)} failed in {time.monotonic() - began:.0f} s ({cause}), "
        f"{len(fleet.groups[OTHERS])} never saw it"
    )
    for name in first:
        fleet.server.ask("PATCH", "/api/v1/devices", {"devices": [name], "force_update": True})
    until(lambda: have_recovered(fleet, first), "those that failed were offered nothing again")


def have_recovered(fleet: Fleet, names: Sequence[str]) -> bool:
    """Whether these Pis have reported success since they failed.

    With `force_update` goosebit offers the last roll-out that is not paused. It is what these Pis
    run, so that they report success at their next call. "Error" stays until then.
    """
    return fleet.states(names) == {"Finished": len(names)}


def interrupted_one(fleet: Fleet) -> None:
    """A layer of 5 MB, while the network is cut and the server restarted."""
    names = list(fleet.pis)
    site = fleet.pis[names[0]]
    folder = site.greenhouse.folder / "services/hello_world"
    (folder / "five").write_bytes(random.Random(5).randbytes(LAYER))
    service = (folder / "service.yml").read_text()
    five = "files:\n  - {path: usr/share/five, source: five}\n"
    (folder / "service.yml").write_text(service.replace("files:\n", five, 1))
    bundle = bundle_of(site, "", "a-large-layer")
    before, began = fleet.proxy.received, time.monotonic()
    with interruptions(fleet, before):
        reached = roll_out(fleet, bundle)
    seconds, received = time.monotonic() - began, fleet.proxy.received - before
    fleet.require(names, version_of(bundle))
    assert reached == names
    for found in fleet.pis.values():
        found.pi.session.wait_for("a-large-layer", 60)
    told(
        f"a layer of {LAYER} bytes: all {len(names)} in {seconds:.0f} s, "
        f"{received / len(names):.0f} bytes for each, calls and reports included"
    )
    assert received / len(names) < 1.05 * LAYER


@contextmanager
def interruptions(fleet: Fleet, before: int) -> Iterator[None]:
    """Cut the network after a third of the bytes, and restart the server after two thirds."""
    every, stop = LAYER * len(fleet.pis), threading.Event()

    def has_sent(share: float) -> bool:
        while fleet.proxy.received - before < share * every:
            if stop.wait(0.2):
                return False
        return True

    def interrupt() -> None:
        if has_sent(1 / 3):
            fleet.proxy.cut()
            time.sleep(20)
            fleet.proxy.mend()
            told("the network was cut for 20 s")
        if has_sent(2 / 3):
            fleet.server.stop()
            time.sleep(5)
            fleet.server.start()
            told("the server was restarted")

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def is_known(server: Goosebit, name: str) -> bool:
    """Whether a Pi has told the server what it is."""
    return name in server.names() and bool(server.device(name)["sw_version"])


@contextmanager
def fleet_of(folder: Path, count: int, server: Goosebit, proxy: Proxy) -> Iterator[Fleet]:
    """Boot the Pis; each calls under its own host name."""
    greenhouse = Greenhouse.laid_out(folder / "greenhouse", default_root())
    text = calling(proxy.port)(greenhouse.file.read_text() + UPDATES, greenhouse.folder)
    greenhouse.file.write_text(text)
    card, key = card_and_key(greenhouse, folder)
    board = greenhouse.project().board
    with ExitStack() as stack:
        pis: dict[str, Site] = {}
        for number in range(count):
            name = f"pi-{number}"
            home = folder / name
            home.mkdir()
            named = {"piimage/provision/hostname": DataFile(f"{name}\n".encode(), 0o600)}
            own = card_with(greenhouse.sources.runner, card, board, home, named)
            (home / "key").write_bytes(key.read_bytes())
            (home / "key").chmod(0o600)
            pi = stack.enter_context(booted(greenhouse, own, home / "key"))
            pis[name] = Site(pi, greenhouse, own, home / "key")
            until(lambda: is_known(server, name), f"{name} does not call")  # noqa: B023
        yield Fleet(server, proxy, pis)


STEPS = {"good": good_one, "bad": bad_one, "interrupted": interrupted_one}


def main() -> int:
    """Go through it all."""
    parser = argparse.ArgumentParser(description="ten emulated Pis and goosebit")
    parser.add_argument("--pis", type=int, default=10)
    parser.add_argument(
        "steps", nargs="*", metavar="STEP", help=f"{', '.join(STEPS)}; default: all"
    )
    chosen = parser.parse_args()
    count, steps = chosen.pis, chosen.steps or list(STEPS)
    with tempfile.TemporaryDirectory(prefix="piimage-rollout-") as name, ExitStack() as stack:
        folder = Path(name)
        server = stack.enter_context(goosebit(folder / "goosebit", POLL))
        proxy = stack.enter_context(counting(server.port))
        began = time.monotonic()
        fleet = stack.enter_context(fleet_of(folder, count, server, proxy))
        told(f"{count} Pis started and registered in {time.monotonic() - began:.0f} s")
        for feed, names in fleet.groups.items():
            server.ask("PATCH", "/api/v1/devices", {"devices": names, "feed": feed})
        for step in steps:
            STEPS[step](fleet)
    return 0


if __name__ == "__main__":
    sys.exit(main())
