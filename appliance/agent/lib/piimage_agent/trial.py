"""The first process after a restart that an update asked for: keeps the new version or undoes it.

It runs in both slots. In the new one it waits until the services are up again and a tool has
reached the Pi, and then makes the slot the one that boots; or it restarts, so that the boot loader
takes the old slot. In the old one it notes that, and why, the try ended.
"""

from __future__ import annotations

import os
import time

from piimage_agent import journal, order, places, services, signatures, system, versions
from piimage_agent.journal import ARMED, KEPT, TRYING, UNDONE, Journal
from piimage_agent.refusal import Refused
from piimage_agent.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PAUSE = 0.5
_SETTLE = 6.0
"""Seconds for which all services have to stay up."""
_FAILED = "failed: "
_REASONS = {
    "armed": "the new version did not come as far as mounting /data",
    "data-mounted": "the new version ended after its initramfs, before process 1 had started",
    "process-1": "the new version ended while its services were starting",
    "services": "no tool reached the new version",
    "confirmed": "the new version ended while it was being kept",
}


def run(root: Root) -> None:
    """Decide about the update in the journal, if it is on trial."""
    now = journal.load(root)
    if not now.is_trial:
        return
    booted = places.booted(root)
    if booted == now.source:
        _note_the_end(root, now)
    elif booted == now.target and system.is_tried(root):
        _Trial(root, now).run()
    elif booted == now.target and places.chooser(root).active() == booted:
        # The power went between the sector that decides and the journal.
        _note_kept(root, now)


def _note_the_end(root: Root, now: Journal) -> None:
    phases = journal.trail(root)
    last = phases[-1] if phases else ""
    cause = now.cause or _REASONS.get(last, f"the new version ended after: {last}")
    if last.startswith(_FAILED):
        cause = f"the new version could not start: {last.removeprefix(_FAILED)}"
    now.changed(state=UNDONE, cause=cause).write(root)
    system.forget_files(root)


def _note_kept(root: Root, now: Journal) -> None:
    now.changed(state=KEPT, cause="").write(root)
    order.raise_floor(root)
    system.forget_files(root)
    with open(f"{root.run}/system-kept", "w"):
        pass


class _Trial:
    """The trial of the booted version."""

    def __init__(self, root: Root, now: Journal) -> None:
        self._root = root
        self._now = now

    def run(self) -> None:
        """Keep the version, or restart."""
        try:
            cause = self._kept_or_why_not()
        except (Refused, OSError) as error:
            cause = error.message if isinstance(error, Refused) else str(error.args[-1])
        if cause:
            try:
                self._now.changed(cause=cause).write(self._root)
            finally:
                services.initctl(self._root, "reboot")

    def _kept_or_why_not(self) -> str:
        """Keep the version, or return why not."""
        if self._now.state == ARMED:
            own = versions.running(self._root) or self._now.target_version
            self._now = self._now.changed(state=TRYING, to_version=own)
            self._now.write(self._root)
        journal.add_to_trail(self._root, "process-1")
        signatures.require_own(self._root)
        cause = self._waited()
        if not cause:
            self._keep()
        return cause

    def _waited(self) -> str:
        """Wait for the services and for a tool; return why one of them did not come."""
        if late := self._late(self._not_settled):
            return f"these services are not up after {self._now.deadline} s: {', '.join(late)}"
        journal.add_to_trail(self._root, "services")
        confirmed = system.confirmation(self._root)
        if self._late(lambda: [] if os.path.exists(confirmed) else ["confirmation"]):
            return f"no tool reached the new version within {self._now.deadline} s"
        journal.add_to_trail(self._root, "confirmed")
        return ""

    def _not_settled(self) -> list[str]:
        """Return the services that are not up, or do not stay up for a while."""
        before = self._restarts()
        missing = self._missing()
        if not missing:
            time.sleep(_SETTLE)
            now = self._restarts()
            missing = [name for name in before if before[name] != now.get(name)]
        return missing or self._missing()

    def _missing(self) -> list[str]:
        """Return the services that were up before the update, are still in it, and are not up."""
        known = services.services_in(f"{self._root.run}/containers")
        up = services.names_up(self._root)
        return [name for name in self._now.services if name in known and name not in up]

    def _restarts(self) -> dict[str, int]:
        return {row["name"]: row["restarts"] for row in services.states(self._root)}

    def _late(self, missing: Callable[[], list[str]]) -> list[str]:
        while True:
            found = missing()
            if not found or services.uptime(self._root) > self._now.deadline:
                return found
            time.sleep(_PAUSE)

    def _keep(self) -> None:
        places.chooser(self._root).set(self._now.target, self._now.source)
        _note_kept(self._root, self._now)
