"""A Pi that runs the agent, as the target of a deploy."""

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
    select_services,
)
from piimage.deploy.ssh import Ssh
from piimage.deploy.target import Outcome, Plan, Tell
from piimage.deploy.text import printable
from piimage.deploy.watch import follow_change
from piimage.errors import InputError, PiimageError
from piimage.run import Runner
from piimage.store import Blob, Store

_PACKED_BELOW: Final = 1 << 20  # bytes; larger layers are compressed already
DEVICES: Final = "devices"
"""The feature of agents whose system can give devices to containers."""
_TRIES: Final = 2  # of a layer: an old partial transfer may be damaged


@dataclass(frozen=True)
class Wish:
    """What to deploy to every Pi, and how."""

    release: Release
    services: tuple[str, ...] = ()
    """Deploy only these services; all if empty."""
    containers_only: bool = False
    """Deploy even if the Pi runs another system version."""
    wait: int = 60
    """Seconds in which a service has to become healthy, after the start time of its check."""


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
        """The user's name for the Pi."""
        return self.host.name

    def plan(self) -> Plan:
        """Return what would be sent and restarted; raises the errors of `deploy`."""
        with linked(self.ssh, self.host, self.cancelled) as link:
            return self._prepare(link).plan

    def deploy(self, tell: Tell) -> Outcome:
        """Deploy the release and wait until it is healthy (see `Target`).

        Raises PiimageError ``deploy.wrong-board``, ``deploy.needs-flash``,
        ``deploy.wrong-architecture``, ``deploy.rolled-back``, and the errors of `Link`.
        """
        start = time.monotonic()
        with linked(self.ssh, self.host, self.cancelled) as link:
            ready = self._prepare(link)
            for blob in ready.missing:
                tell(f"sending {blob.size} bytes")
                self._send(link, blob)
            changed: tuple[str, ...] = ()
            switched = time.monotonic()
            if ready.release.containers != ready.slot.running:
                changed = self._switch(link, ready, tell)
            now = time.monotonic()
            return Outcome(
                changed, link.sent, link.received, now - start, now - switched, ready.plan.notes
            )

    def _prepare(self, link: Link) -> _Prepared:
        answer = link.ask("slot")
        slot = link.checked(lambda: answers.slot(answer))
        release = self.wish.release
        notes = self._check_slot(slot, release)
        if self.wish.services:
            release = self._select_services(link, release)
        self._require_devices(link, release)
        digests = (*release.needed(), release.containers)
        answer = link.ask("have", layers=list(digests))
        have = link.checked(lambda: answers.have(answer, digests))
        missing = tuple(
            self._blob(release, digest) for digest in digests if digest not in have.present
        )
        plan = _plan(slot, release, missing, notes)
        return _Prepared(slot, release, missing, plan)

    def _check_slot(self, slot: Slot, release: Release) -> tuple[str, ...]:
        """Raise InputError if the release does not fit the Pi; return notes for the user."""
        if slot.board != release.board:
            raise InputError(
                "deploy.wrong-board",
                f"the file is for {release.board}, but this is a {printable(slot.board)[:40]}",
                place=self.name, hint="deploy the file that the card was built from",
            )  # fmt: skip
        if slot.arch != MACHINE:
            raise PiimageError(
                "deploy.wrong-architecture",
                f"containers of {MACHINE} do not run on {printable(slot.arch)[:40]}",
                place=self.name, hint="deploy to a 64-bit Pi",
            )  # fmt: skip
        notes = [
            "the deployed version is lost at the next boot, because the Pi has no /data"
        ] * slot.temporary
        if not (parts := release.differences(slot)):
            return tuple(notes)
        named = ", ".join(printable(part) for part in parts[:6])
        if self.wish.containers_only:
            return (*notes, f"the Pi runs another system version: {named}")
        raise InputError(
            "deploy.needs-flash",
            f"a deploy replaces only containers, and the system differs: {named}",
            place=self.name,
            hint="flash a new card (piimage flash), or deploy with --containers-only",
        )

    def _require_devices(self, link: Link, release: Release) -> None:
        """Raise InputError if the Pi's system cannot give the containers their devices."""
        names = release.with_devices
        if names and DEVICES not in link.features:
            raise InputError(
                "deploy.needs-flash",
                f"the Pi's system is older and cannot give devices to {', '.join(names)}",
                place=self.name, hint="build the file again and flash the card",
            )  # fmt: skip

    def _select_services(self, link: Link, release: Release) -> Release:
        answer = link.ask("folders")
        files = link.checked(lambda: answers.mapping(answer, "files"))
        return select_services(release, self.wish.services, files, self.runner, self.store)

    def _blob(self, release: Release, digest: str) -> Blob:
        if digest not in release.layers:
            raise PiimageError(
                "deploy.bad-folders", "a layer of a service that is kept is missing on the Pi",
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
        return follow_change(link, run, wait, self.ssh, self.cancelled, tell)


@dataclass(frozen=True)
class _Prepared:
    slot: Slot
    release: Release
    missing: tuple[Blob, ...]
    plan: Plan


def _plan(slot: Slot, release: Release, missing: Collection[Blob], notes: tuple[str, ...]) -> Plan:
    new = digests_of(release.folders)
    changed, added, removed = changed_containers("services", new, slot.folders)
    at_boot = [
        f"{kind} changed; the new version runs at the next boot"
        for kind in ("onboot", "onshutdown")
        if kind == "onboot" and any(changed_containers(kind, new, slot.folders))
    ]
    return Plan(
        sum(blob.size for blob in missing), len(missing), changed, added,
        tuple(printable(name) for name in removed), (*notes, *at_boot),
    )  # fmt: skip


def send(link: Link, blob: Blob, store: Store) -> None:
    """Send a layer; resume an earlier transfer. Raises PiimageError ``deploy.refused``."""
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
    """Send the rest of a file in frames."""
    data = file.read(MAX_BODY)
    while True:
        next_data = file.read(MAX_BODY)
        link.say("data", data, last=not next_data)
        if not next_data:
            return
        data = next_data
