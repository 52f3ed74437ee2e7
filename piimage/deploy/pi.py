"""A Pi that runs the agent, as the target of a deploy."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from piimage.deploy import answers
from piimage.deploy.answers import Slot
from piimage.deploy.hosts import Host
from piimage.deploy.link import Link, linked
from piimage.deploy.release import (
    MACHINE,
    Release,
    changed_containers,
    digests_of,
    select_services,
)
from piimage.deploy.secrets import SECRETS
from piimage.deploy.sending import send
from piimage.deploy.ssh import Ssh
from piimage.deploy.system import FEATURE, FOLDERS, Consent, Ready, System, prepare, update
from piimage.deploy.target import Outcome, Plan, Tell
from piimage.deploy.text import printable
from piimage.deploy.watch import follow_change
from piimage.errors import InputError, PiimageError
from piimage.run import Runner
from piimage.store import Blob, Store

DEVICES: Final = "devices"
"""The feature of agents whose system can give devices to containers."""
SCHEDULES: Final = "schedule-1"
"""The feature of agents whose system runs services by a schedule."""


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
    system: System | None = None
    """The version of the system; None to deploy containers alone."""
    consent: Consent = field(default_factory=Consent)
    """What may happen to the system, beyond what always may."""


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
            ready = self._prepare(link)
            return _system_plan(ready) if isinstance(ready, Ready) else ready.plan

    def deploy(self, tell: Tell) -> Outcome:
        """Deploy the release and wait until it is healthy (see `Target`).

        If the system differs, the whole version is written to the other slot and tried. Raises
        PiimageError ``deploy.wrong-board``, ``deploy.needs-flash``, ``deploy.wrong-architecture``,
        ``deploy.rolled-back``, ``deploy.undone``, and the errors of `Link`.
        """
        start = time.monotonic()
        with linked(self.ssh, self.host, self.cancelled) as link:
            ready = self._prepare(link)
            if isinstance(ready, Ready):
                return self._update(link, ready, tell, start)
            for blob in ready.missing:
                tell(f"sending {blob.size - ready.begun.get(blob.sha256, 0)} bytes")
                send(link, "put", blob.sha256, self.store.verified(blob))
            changed: tuple[str, ...] = ()
            switched = time.monotonic()
            if ready.release.containers != ready.slot.running:
                changed = self._switch(link, ready, tell)
            now = time.monotonic()
            return Outcome(
                changed, link.sent, link.received, now - start, now - switched, ready.plan.notes
            )

    def _update(self, link: Link, ready: Ready, tell: Tell, start: float) -> Outcome:
        """Update the whole system; the connection is another one after the restart."""
        wait = self.wish.wait + self.wish.release.patience
        update(ready, link, self.ssh, self.cancelled, wait, tell)
        now = time.monotonic()
        return Outcome((), link.sent, link.received, now - start, system=True)

    def _prepare(self, link: Link) -> _Prepared | Ready:
        answer = link.ask("slot")
        slot = link.checked(lambda: answers.slot(answer))
        release = self.wish.release
        self._require_board(slot, release)
        parts = release.differences(slot)
        if parts and not self.wish.containers_only:
            return self._prepare_system(link, parts)
        notes = _notes(slot, parts)
        if self.wish.services:
            release = self._select_services(link, release)
        self._require_gifts(link, release)
        digests = (*release.needed(), release.containers)
        answer = link.ask("have", layers=list(digests))
        have = link.checked(lambda: answers.have(answer, digests))
        missing = tuple(
            self._blob(release, digest) for digest in digests if digest not in have.present
        )
        amount = sum(blob.size - have.partial.get(blob.sha256, 0) for blob in missing)
        plan = _plan(slot, release, Plan(amount, len(missing), notes=notes))
        return _Prepared(slot, release, missing, have.partial, plan)

    def _require_board(self, slot: Slot, release: Release) -> None:
        """Raise InputError if the release is not for this Pi."""
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

    def _prepare_system(self, link: Link, parts: list[str]) -> Ready:
        """Return the update of the whole system, of which `parts` differ."""
        system = self.wish.system
        feature = FOLDERS if system is not None and system.has_folders else FEATURE
        if system is not None and feature in link.features and not self.wish.services:
            return prepare(link, system, self.wish.consent)
        reason = "a deploy replaces only containers of this Pi"
        hint = "flash a new card (piimage flash), or deploy with --containers-only"
        if self.wish.services:
            reason = "--service replaces only containers"
            hint = "deploy the whole file, or deploy with --containers-only"
        raise InputError(
            "deploy.needs-flash", f"{reason}, and the system differs: {_listed(parts)}",
            place=self.name, hint=hint,
        )  # fmt: skip

    def _require_gifts(self, link: Link, release: Release) -> None:
        """Raise InputError if the Pi's system cannot do what the containers need."""
        needs = {
            DEVICES: ("give devices to", release.with_devices),
            SECRETS: ("give secrets to", release.with_secrets),
            SCHEDULES: ("keep the schedule of", release.with_schedules),
        }
        for feature, (what, names) in needs.items():
            if names and feature not in link.features:
                raise InputError(
                    "deploy.needs-flash",
                    f"the Pi's system is older and cannot {what} {', '.join(names)}",
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
    begun: Mapping[str, int]
    """How many bytes of a layer an earlier connection has brought, by its digest."""
    plan: Plan


def _listed(parts: list[str]) -> str:
    return ", ".join(printable(part) for part in parts[:6])


def _notes(slot: Slot, parts: list[str]) -> tuple[str, ...]:
    """Return notes for the user about a Pi whose system differs in `parts`."""
    notes = []
    if slot.temporary:
        notes.append("the deployed version is lost at the next boot, because the Pi has no /data")
    if parts:
        notes.append(f"the Pi runs another system version: {_listed(parts)}")
    return tuple(notes)


def _system_plan(ready: Ready) -> Plan:
    hooks = tuple(printable(name) for name in ready.state.hooks)
    return Plan(ready.amount, len(ready.missing), system=True, hooks=hooks)


def _plan(slot: Slot, release: Release, sending: Plan) -> Plan:
    """Return the plan that sends what `sending` does, with the containers that change."""
    new = digests_of(release.folders)
    changed, added, removed = changed_containers("services", new, slot.folders)
    at_boot = [
        f"{kind} changed; the new version runs at the next boot"
        for kind in ("onboot", "onshutdown")
        if kind == "onboot" and any(changed_containers(kind, new, slot.folders))
    ]
    return replace(
        sending, restart=changed, start=added, stop=tuple(printable(name) for name in removed),
        notes=(*sending.notes, *at_boot),
    )  # fmt: skip
