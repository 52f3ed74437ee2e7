"""An update of a Pi's whole system: sends what is missing, has it tried, and confirms the try.

docs/updates.md describes the states, and who decides what.
"""

from __future__ import annotations

import functools
import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from piimage.board import Board, PrefixLayout
from piimage.deploy import answers
from piimage.deploy.link import Answer, Link, linked
from piimage.deploy.recipe import Recipe, make_recipe
from piimage.deploy.release import Release
from piimage.deploy.sending import send
from piimage.deploy.slots import State, shown, state_of
from piimage.deploy.ssh import Ssh
from piimage.deploy.target import Tell
from piimage.deploy.text import printable_lines
from piimage.errors import InputError, PiimageError
from piimage.firmware.boot_loaders import boot_loader_of
from piimage.locking.inputs import Inputs
from piimage.plan.slot import (
    Order,
    Slots,
    Version,
    digest,
    firmware_files,
    partition_of,
    signer_of,
    slots,
)
from piimage.run import Runner
from piimage.signing import Signer, certificate_in
from piimage.steps import Job
from piimage.store import Store

FEATURE: Final = "system-1"
"""The feature of agents that can write and try another version of the system."""
FOLDERS: Final = "system-folders-1"
"""The feature of those that can do so if the slots are folders of one partition."""
_LOST: Final = frozenset({"deploy.lost", "deploy.no-connection", "deploy.no-login"})
_PAUSE_S: Final = 2.0
_WRITE_S: Final = 900.0  # between two events of a slow card
_HOOKS_S: Final = 600.0  # for all before_update of services
_RESTART_S: Final = 240.0  # to stop the services, restart, and start sshd
_MARGIN_S: Final = 300.0  # after the deadline, for the start of the old version


@dataclass(frozen=True)
class System:
    """A version of the system, and its recipes for the slots of a card."""

    board: Board
    lay_out: Callable[[], Slots]
    """Gives the version as either slot holds it, which takes a second: not every Pi needs it."""
    base: str
    """The digest of the containers layer that it ships."""
    note: str
    runner: Runner
    store: Store
    order: Order = (0, 0)
    signer: Signer | None = None
    firmware: Mapping[str, str] = field(default_factory=dict)
    """The digests of the boot firmware that no slot has, by name: folders share it."""
    _recipes: dict[str, Recipe] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def has_folders(self) -> bool:
        """Whether the slots are folders of one partition."""
        return isinstance(self.board.layout, PrefixLayout)

    @functools.cached_property
    def slots(self) -> Slots:
        """The version as either slot holds it."""
        return self.lay_out()

    def recipe(self, slot: str) -> Recipe:
        """Return the recipe for the slot called `slot`; made once for all Pis."""
        with self._lock:
            if slot not in self._recipes:
                partition, volume = self.slots.places[slot], self.slots.volumes[slot]
                with self.store.scratch() as scratch:
                    made = make_recipe(
                        volume, partition.start, self.slots.pieces, self.runner, scratch, self.order
                    )
                self._recipes[slot] = made
            return self._recipes[slot]

    def signature(self, recipe: Recipe) -> bytes:
        """Return the signature of a recipe; empty if versions are not signed."""
        return b"" if self.signer is None else self.signer.sign(recipe.data, self.runner)


def system_of(version: Version, job: Job, release: Release, inputs: Inputs) -> System:
    """Return the system of a version whose steps are made."""
    shared = {}
    if isinstance(version.board.layout, PrefixLayout):
        files = firmware_files(version, job).items()
        shared = {PurePosixPath(path).name: digest(data) for path, data in files}
    return System(
        version.board, lambda: slots(version, job), release.containers, release.note,
        inputs.runner, inputs.store, version.order, signer_of(version.appliance), shared,
    )  # fmt: skip


@dataclass(frozen=True)
class Consent:
    """What a user allows with an update of the system."""

    downgrade: bool = False
    """The version may be older than one that the Pi has kept."""
    other_firmware: bool = False
    """The Pi keeps its boot firmware if the version has another one that no slot holds."""


@dataclass(frozen=True)
class Ready:
    """An update that a Pi can take."""

    state: State
    system: System
    recipe: Recipe
    missing: tuple[str, ...]
    """The digests of the files that have to be sent; the recipe's own is among them."""
    begun: Mapping[str, int]
    """How many bytes of a file an earlier connection has brought, by its digest."""
    consent: Consent
    """What the user has allowed."""

    @property
    def amount(self) -> int:
        """The size of what has to be sent, as stored."""
        return sum(self.size(digest) for digest in self.missing)

    def content(self, digest: str) -> Path | bytes:
        """Return a file that has to be sent."""
        return self.recipe.data if digest == self.recipe.digest else self.recipe.files[digest]

    def size(self, digest: str) -> int:
        """Return the number of bytes of a file that have to be sent."""
        content = self.content(digest)
        whole = len(content) if isinstance(content, bytes) else content.stat().st_size
        return whole - self.begun.get(digest, 0)


def prepare(link: Link, system: System, consent: Consent) -> Ready:
    """Return the update of the Pi to `system`, within the `consent` of the user.

    Raises InputError ``deploy.needs-flash`` if the card or the boot loader cannot take it,
    ``deploy.boot-firmware``, ``deploy.unsigned`` and ``deploy.downgrade``.
    """
    state = ask_state(link)
    _require_fitting(link.host.name, state, system)
    _require_welcome(link.host.name, state, system, consent)
    recipe = system.recipe(state.other)
    digests = (*recipe.files, recipe.digest)
    answer = link.ask("system-have", files=list(digests))
    have = link.checked(lambda: answers.have(answer, digests))
    missing = tuple(digest for digest in digests if digest not in have.present)
    return Ready(state, system, recipe, missing, have.partial, consent)


def ask_state(link: Link) -> State:
    """Return the state of the Pi's slots."""
    answer = link.ask("system")
    return link.checked(lambda: state_of(answer))


def _require_fitting(place: str, state: State, system: System) -> None:
    def error(message: str, hint: str = "write a new card with piimage flash") -> InputError:
        return InputError("deploy.needs-flash", message, place=place, hint=hint)

    if state.update in ("armed", "trying"):
        raise PiimageError(
            "deploy.trial", "a version of the system is on trial on this Pi", place=place,
            hint="wait until it is kept or undone: piimage status shows it",
        )  # fmt: skip
    if state.other not in system.slots.volumes:
        raise error("the system differs, and this card has no second slot to try it in")
    if any(
        state.partitions.get(str(partition_of(slot))) != (partition.start, partition.size)
        for slot, partition in system.slots.places.items()
    ):
        raise error("the system differs, and the slots of this card have another place or size")
    if not state.can_try:
        raise error(*_cannot_try(state, system.board))
    eeprom = system.board.eeprom
    if eeprom is not None and state.bootloader is not None and state.bootloader < eeprom.since:
        raise error(
            f"the system differs, and the boot loader in this Pi's EEPROM {eeprom.lacks}",
            "update the EEPROM with Raspberry Pi OS (rpi-eeprom-update), then deploy again",
        )


def _cannot_try(state: State, board: Board) -> tuple[str, str]:
    """Return why the running system cannot try another one, and what a user can do."""
    message = "the system differs, and the running one cannot try another"
    lacks = (lack for lack in board.lacks if "slots.updates" in lack.sections)
    if (lack := next(lacks, None)) is not None:
        return message, f"{lack.what} Instead: {lack.instead}"
    if not boot_loader_of(board).try_flag.built and state.obstacle:
        return f"{message}: {printable_lines(state.obstacle)}", (
            "docs/updates.md says what a machine with UEFI or U-Boot needs; or write a new disk"
        )
    return message, (
        "build it with `slots: {updates: true}`, and write a new card with piimage flash once"
    )


def _require_welcome(place: str, state: State, system: System, consent: Consent) -> None:
    """Refuse at once what the Pi would refuse after everything was sent, or could not undo."""
    names = sorted({*system.firmware, *state.firmware}) if system.firmware else ()
    others = [name for name in names if system.firmware.get(name) != state.firmware.get(name)]
    if others and not consent.other_firmware:
        raise InputError(
            "deploy.boot-firmware",
            f"the system comes with another boot firmware, which both slots of this card share: "
            f"{printable_lines(', '.join(others))}",
            place=place,
            hint="write a new card with piimage flash, or try the system with the firmware that "
            "the card has: --keep-boot-firmware",
        )  # fmt: skip
    if state.trusted and (reason := _mistrust(state, system.signer)):
        raise InputError(
            "deploy.unsigned", f"the Pi takes only signed systems, and {reason}", place=place,
            hint="sign with a key that its running version trusts (signing:), or write a new card",
        )  # fmt: skip
    if system.order < state.floor and not consent.downgrade:
        raise InputError(
            "deploy.downgrade",
            f"the system ({shown(system.order)}) is older than one that the Pi has kept "
            f"({shown(state.floor)})",
            place=place, hint="update the lock, raise version:, or deploy with --allow-downgrade",
        )  # fmt: skip


def _mistrust(state: State, signer: Signer | None) -> str:
    """Return why the Pi would not take what `signer` signs; empty if it would."""
    if signer is None:
        return "the file has no signing:"
    certificate = hashlib.sha256(certificate_in(signer.certificate)).hexdigest()
    return "" if certificate in state.trusted else f"it does not trust {signer.certificate}"


def update(
    ready: Ready, link: Link, ssh: Ssh, cancelled: threading.Event, wait: int, tell: Tell
) -> None:
    """Send and write the version, have it tried, and confirm it; return when it is kept.

    `wait` is the time in seconds that its services may take. Raises PiimageError
    ``deploy.undone`` if the Pi returned to the version before, and the errors of `Link`.
    """
    recipe = ready.recipe
    if (ready.state.update, ready.state.id) != ("written", recipe.digest):
        for digest in ready.missing:
            tell(f"sending {ready.size(digest)} bytes")
            send(link, "system-put", digest, ready.content(digest))
        _write(link, ready, tell)
    deadline = round(_RESTART_S + wait)
    _restart(link, "system-try", recipe=recipe.digest, base=ready.system.base, deadline=deadline)
    tell("restarting into the new version")
    follow_trial(link, ssh, cancelled, ready.state.other, deadline, tell)


def roll_back(link: Link, ssh: Ssh, cancelled: threading.Event, wait: int) -> str:
    """Have the Pi try the version of its other slot; return the slot when it is kept."""
    state = ask_state(link)
    deadline = round(_RESTART_S + wait)
    _restart(link, "system-rollback", deadline=deadline)
    follow_trial(link, ssh, cancelled, state.other, deadline, lambda line: None)
    return state.other


def _restart(link: Link, operation: str, **fields: object) -> None:
    """Request a restart, which may end the connection before the response has arrived."""
    try:
        link.ask(operation, timeout=_HOOKS_S + 90, **fields)
    except PiimageError as error:
        if error.code not in _LOST:
            raise


def _write(link: Link, ready: Ready, tell: Tell) -> None:
    answer = link.ask(
        "system-write", recipe=ready.recipe.digest, note=ready.system.note,
        target=ready.state.other, downgrade=ready.consent.downgrade,
        signature=ready.system.signature(ready.recipe).hex(), timeout=300,
    )  # fmt: skip
    run = link.checked(lambda: answers.text(answer, "run"))
    link.tell("watch", run=run, **{"from": 0})
    tell(f"writing {ready.recipe.length} bytes to the other slot")
    end = _last_event(link)
    if end.get("ok") is not True:
        message = printable_lines(link.checked(lambda: answers.text(end, "message")))
        raise PiimageError(
            "deploy.not-written", f"the other slot could not be written: {message}",
            place=link.host.name, hint="the Pi runs what it ran before; deploy again",
        )  # fmt: skip
    link.answer()


def _last_event(link: Link) -> Answer:
    """Return the last event of the writing of a slot; the others tell how far it is."""
    event, _ = link.event(_WRITE_S)
    while event.get("event") == "written":
        event, _ = link.event(_WRITE_S)
    if event.get("event") != "end":
        raise link.bad("an unknown event")
    return event


def follow_trial(
    link: Link, ssh: Ssh, cancelled: threading.Event, target: str, deadline: int, tell: Tell
) -> None:
    """Reconnect to the Pi that restarts, and confirm the version in slot `target` once it is up.

    Raises PiimageError ``deploy.undone``, and ``deploy.lost`` if the Pi cannot be reached again.
    """
    end = time.monotonic() + _RESTART_S + deadline + _MARGIN_S
    seen = False
    while time.monotonic() < end and not cancelled.is_set():
        cancelled.wait(_PAUSE_S)
        try:
            with linked(ssh, link.host, cancelled) as new_link:
                state = ask_state(new_link)
                if state.booted == target and not seen:
                    tell("the new version is up; waiting for its services")
                    seen = True
                if _is_decided(new_link, state, target):
                    return
        except PiimageError as error:
            if error.code not in _LOST:
                raise
    raise PiimageError(
        "deploy.lost", "the Pi could not be reached again after its restart", place=link.host.name,
        hint="it returns to the version before by itself; piimage status then shows the cause",
    )  # fmt: skip


def _is_decided(link: Link, state: State, target: str) -> bool:
    """Confirm a trial; return whether the version is kept. Raises ``deploy.undone``."""
    if state.update == "undone":
        raise PiimageError(
            "deploy.undone",
            f"the Pi returned to the version before: {printable_lines(state.cause)}",
            place=link.host.name, hint="piimage status shows what it runs",
        )  # fmt: skip
    if state.booted == target and state.update == "trying":
        link.ask("system-confirm", recipe=state.id)
    return state.booted == target and state.update == "kept"
