"""A Pi with the agent, as a target."""

from __future__ import annotations

import io
import threading
import time
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import IO, Final

from piimage.deploy import answers
from piimage.deploy.answers import Slot
from piimage.deploy.hosts import Host
from piimage.deploy.link import Link, linked
from piimage.deploy.pipe import MAX_BODY
from piimage.deploy.release import (
    MACHINE,
    Release,
    changed_containers,
    digests_of,
    only,
)
from piimage.deploy.ssh import Ssh
from piimage.deploy.target import Outcome, Plan, Tell
from piimage.deploy.text import printable
from piimage.deploy.watch import watched
from piimage.errors import InputError, PiimageError
from piimage.run import Runner
from piimage.store import Blob, Store

_PACKED_BELOW: Final = 1 << 20  # bytes; larger layers are packed already, and worth no second try
DEVICES: Final = "devices"
"""The feature of agents whose system has `grant_device`, which containers with devices call."""
_TRIES: Final = 2  # of a layer: what was begun long ago may be damaged


@dataclass(frozen=True)
class Wish:
    """What the user wants of every Pi."""

    release: Release
    services: tuple[str, ...] = ()
    """Only these are deployed; all if empty."""
    containers_only: bool = False
    """Deploy although the system differs from the file's."""
    wait: int = 60
    """Seconds until a service has to be healthy, beside the start that its check allows."""


@dataclass(frozen=True)
class PiTarget:
    """One Pi over SSH."""

    host: Host
    wish: Wish
    ssh: Ssh
    store: Store
    runner: Runner
    cancelled: threading.Event

    @property
    def name(self) -> str:
        """What the user calls it."""
        return self.host.name

    def plan(self) -> Plan:
        """Return what would travel and restart; raises as `deploy`."""
        with linked(self.ssh, self.host, self.cancelled) as link:
            return self._prepared(link).plan

    def deploy(self, tell: Tell) -> Outcome:
        """Deploy, as `Target` says.

        Raises PiimageError ``deploy.wrong-board``, ``deploy.needs-flash``,
        ``deploy.wrong-architecture``, ``deploy.rolled-back``, and what `Link` raises.
        """
        began = time.monotonic()
        with linked(self.ssh, self.host, self.cancelled) as link:
            ready = self._prepared(link)
            for blob in ready.missing:
                tell(f"sends {blob.size} bytes")
                self._send(link, blob)
            changed: tuple[str, ...] = ()
            switched = time.monotonic()
            if ready.release.containers != ready.slot.running:
                changed = self._switch(link, ready, tell)
            now = time.monotonic()
            return Outcome(
                changed, link.sent, link.received, now - began, now - switched, ready.plan.notes
            )

    def _prepared(self, link: Link) -> _Prepared:
        answer = link.ask("slot")
        slot = link.checked(lambda: answers.slot(answer))
        release = self.wish.release
        notes = self._fitting(slot, release)
        if self.wish.services:
            release = self._partly(link, release)
        self._require_devices(link, release)
        asked = (*release.needed(), release.containers)
        said = link.ask("have", layers=list(asked))
        have = link.checked(lambda: answers.have(said, asked))
        missing = tuple(self._blob(release, one) for one in asked if one not in have.there)
        plan = _plan(slot, release, missing, notes)
        return _Prepared(slot, release, missing, plan)

    def _fitting(self, slot: Slot, release: Release) -> tuple[str, ...]:
        """Refuse a Pi that this release is not for; return what is worth a note."""
        if slot.board != release.board:
            raise InputError(
                "deploy.wrong-board",
                f"the file is for {release.board}, and this is a {printable(slot.board)[:40]}",
                place=self.name, hint="deploy the file that its card was built from",
            )  # fmt: skip
        if slot.arch != MACHINE:
            raise PiimageError(
                "deploy.wrong-architecture",
                f"containers of {MACHINE} do not run on {printable(slot.arch)[:40]}",
                place=self.name, hint="deploy to a 64-bit Pi",
            )  # fmt: skip
        notes = ["what is deployed is gone at its next boot: it has no /data"] * slot.temporary
        if not (parts := release.differences(slot)):
            return tuple(notes)
        named = ", ".join(printable(part) for part in parts[:6])
        if self.wish.containers_only:
            return (*notes, f"its system is not the file's: {named}")
        raise InputError(
            "deploy.needs-flash",
            f"a deploy replaces containers, and the file's system differs: {named}",
            place=self.name,
            hint="flash a new card (piimage flash), or deploy with --containers-only",
        )

    def _require_devices(self, link: Link, release: Release) -> None:
        """Refuse a system on which containers with devices would not start."""
        names = release.with_devices
        if names and DEVICES not in link.features:
            raise InputError(
                "deploy.needs-flash",
                f"its system is older and cannot give devices to {', '.join(names)}",
                place=self.name, hint="build the file anew and flash it",
            )  # fmt: skip

    def _partly(self, link: Link, release: Release) -> Release:
        answer = link.ask("folders")
        files = link.checked(lambda: answers.mapping(answer, "files"))
        return only(release, self.wish.services, files, self.runner, self.store)

    def _blob(self, release: Release, digest: str) -> Blob:
        if digest not in release.layers:
            raise PiimageError(
                "deploy.bad-folders", "a layer of a service that stays is not there any more",
                place=self.name, hint="deploy the whole file, without --service",
            )  # fmt: skip
        return release.layers[digest]

    def _send(self, link: Link, blob: Blob) -> None:
        for left in reversed(range(_TRIES)):
            try:
                send(link, blob, self.store)
            except PiimageError as error:
                if error.code != "deploy.refused" or not left:
                    raise
            else:
                return

    def _switch(self, link: Link, ready: _Prepared, tell: Tell) -> tuple[str, ...]:
        answer = link.ask(
            "switch",
            containers=ready.release.containers,
            layers=list(ready.release.needed()),
            base=ready.slot.containers,
            arch=MACHINE,
            wait=self.wish.wait,
            note=ready.release.note,
            rehearse="rehearse" in link.features,
        )
        run = link.checked(lambda: answers.text(answer, "run"))
        if not run:
            return ()
        wait = self.wish.wait + ready.release.patience
        return watched(link, run, wait, self.ssh, self.cancelled, tell)


@dataclass(frozen=True)
class _Prepared:
    slot: Slot
    release: Release
    missing: tuple[Blob, ...]
    plan: Plan


def _plan(slot: Slot, release: Release, missing: Collection[Blob], notes: tuple[str, ...]) -> Plan:
    new = digests_of(release.folders)
    differ, fresh, gone = changed_containers("services", new, slot.folders)
    later = [
        f"{kind} has changed, and runs at the next boot only"
        for kind in ("onboot", "onshutdown")
        if kind == "onboot" and any(changed_containers(kind, new, slot.folders))
    ]
    return Plan(
        sum(blob.size for blob in missing), len(missing), differ, fresh,
        tuple(printable(name) for name in gone), (*notes, *later),
    )  # fmt: skip


def send(link: Link, blob: Blob, store: Store) -> None:
    """Send a layer, from where an earlier try ended; raises PiimageError ``deploy.refused``."""
    path = store.verified(blob)
    packed = blob.size < _PACKED_BELOW and "put-zlib" in link.features
    answer = link.ask(
        "put", layer=blob.sha256, size=blob.size, packing="zlib" if packed else "none"
    )
    if answer.get("stored") is True:
        return
    offset = link.checked(lambda: answers.number(answer, "offset", 0, blob.size))
    with path.open("rb") as file:
        file.seek(offset)
        if packed:
            chunks(link, io.BytesIO(zlib.compress(file.read(), 9)))
        else:
            chunks(link, file)
    link.answer(timeout=600)


def chunks(link: Link, file: IO[bytes]) -> None:
    """Send what is left of a file, in frames."""
    data = file.read(MAX_BODY)
    while True:
        following = file.read(MAX_BODY)
        link.say("data", data, last=not following)
        if not following:
            return
        data = following
