"""Versions of the whole system: what the Pi has of one, writes it to the other slot, and tries it.

docs/updates.md describes the states, and who decides what. Nothing here writes to the slot that
runs.
"""

from __future__ import annotations

import hashlib
import os

from piimage_agent import (
    arming,
    generations,
    hooks,
    journal,
    order,
    places,
    recipe,
    services,
    signatures,
    slots,
    versions,
)
from piimage_agent.change import Run
from piimage_agent.journal import ARMED, KEPT, RECEIVING, TRYING, UNDONE, WRITTEN, Journal
from piimage_agent.layers import Incoming, partial
from piimage_agent.refusal import Refused
from piimage_agent.root import Root, is_file, names, read_line, remove
from piimage_agent.status import manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_TELL_EVERY = 4 << 20  # bytes


def state(root: Root) -> dict[str, Any]:
    """Return the reply to `system`: the slots, the last update, and whether a try is possible."""
    found, obstacle = journal.load(root), arming.obstacle(root)
    return {
        "booted": places.booted(root),
        "other": places.other(root),
        "tried": is_tried(root),
        "kept": _active(root),
        "partitions": {number: _place(root, number) for number in ("1", *places.PARTITIONS)},
        "bootloader": bootloader_time(root),
        "can_try": not obstacle,
        "obstacle": obstacle,
        "journal": found.as_reply(),
        "versions": versions.of_slots(root, found),
        "trail": journal.trail(root),
        "trusted": signatures.trusted(root),
        "floor": list(order.floor(root)),
        "before_update": hooks.names_with_hooks(root),
        "firmware": {
            os.path.basename(path): digest_of_file(path) for path in places.shared_firmware(root)
        },
    }


def is_tried(root: Root) -> bool:
    """Return whether the boot loader started this slot as a try."""
    return root.facts().get("PIIMAGE_TRYBOOT") == "1"


def bootloader_time(root: Root) -> int | None:
    """Return when the boot loader was built, in seconds since 1970; None if it does not say so.

    Source: documentation of /chosen/bootloader, build-timestamp.
    """
    path = root.at("proc/device-tree/chosen/bootloader/build-timestamp")
    try:
        with open(path, "rb") as file:
            return int.from_bytes(file.read(4), "big")
    except OSError:
        return None


def _place(root: Root, number: str) -> list[int]:
    """Return the first byte and the size of a partition; zeros if it does not exist."""
    name = os.path.basename(places.device(root, number))
    texts = [read_line(root.at(f"sys/class/block/{name}/{file}")) for file in ("start", "size")]
    return [int(text) * 512 if text.isdigit() else 0 for text in texts]


def _active(root: Root) -> str:
    """Return the slot that an ordinary start boots; empty if it cannot be read."""
    try:
        return places.chooser(root).active()
    except (OSError, Refused):
        return ""


# --- files


def _files(root: Root) -> str:
    return f"{journal.folder(root)}/files"


def sources(root: Root) -> dict[str, str]:
    """Return a file for each digest that the Pi has: in its slot, deployed, or sent."""
    found = {}
    for folder, ending in ((root.layers, ".squashfs"), (_files(root), "")):
        for name in names(folder):
            digest = name.removesuffix(ending)
            if len(digest) == 64:
                found[digest] = f"{folder}/{name}"
    return {**found, **_of_slot(root)}


def _of_slot(root: Root) -> dict[str, str]:
    """Return the files of the running slot, and those that begin with a piece, by digest.

    The manifest lists all but itself.
    """
    slot, listed = root.slot(), manifest(root).get("files")
    known = listed if isinstance(listed, dict) else {}
    found = {
        digest: f"{slot}/{path}" for path, digest in known.items() if is_file(f"{slot}/{path}")
    }
    pieces = manifest(root).get("pieces")
    for path, digest in (pieces if isinstance(pieces, dict) else {}).items():
        if is_file(f"{slot}/{path}"):
            found.setdefault(digest, f"{slot}/{path}")
    for name in names(slot):
        if name not in known and is_file(f"{slot}/{name}"):
            found[digest_of_file(f"{slot}/{name}")] = f"{slot}/{name}"
    return found


def digest_of_file(path: str) -> str:
    """Return the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def have(root: Root, wanted: list[str]) -> dict[str, Any]:
    """Return the reply to `system-have`: which files are there, and how much came of others."""
    found = sources(root)
    begun = {digest: size for digest in wanted if (size := partial(_files(root), digest))}
    return {"have": [digest for digest in wanted if digest in found], "partial": begun}


def incoming_file(root: Root, digest: str, size: int) -> Incoming:
    """Return the incoming file `digest` of a system, of `size` bytes."""
    return Incoming(_files(root), digest, size, "", b"")


# --- writing


class Proof:
    """Why the Pi should take a version: its signature, and whether it may be below the floor."""

    def __init__(self, signature: bytes, *, may_be_older: bool) -> None:
        self.signature = signature
        self.may_be_older = may_be_older


def prepare(root: Root, digest: str, note: str, target: str, proof: Proof) -> Callable[[str], Run]:
    """Return what writes the recipe `digest` to the other slot.

    Raises Refused ``trial``, ``no-other-slot``, ``bad-recipe``, ``unsigned``, ``downgrade``,
    ``incomplete``, ``wrong-slot``, ``no-selector``, ``no-try``.
    """
    journal.require_no_trial(root)
    _require_other(root, target)
    plan = slots.read_recipe(root, digest)
    signatures.require(root, f"{_files(root)}/{digest}", proof.signature)
    if not proof.may_be_older:
        order.require(root, plan.order)
    found = sources(root)
    if missing := [file for file in plan.digests if file not in found]:
        raise Refused("incomplete", f"{len(missing)} files are missing: {missing[0]}")
    places.chooser(root)
    slots.require_room(places.room(root, target), plan)
    arming.require(root)
    journal.reserve(root)
    return lambda folder: _Writing(root, folder, (digest, note, target), plan, found)


def _require_other(root: Root, target: str) -> None:
    if not places.other(root):
        raise Refused(
            "no-other-slot", "this card has no second slot that its boot loader could try",
            "write a new card with piimage flash",
        )  # fmt: skip
    if target != places.other(root):
        raise Refused("no-other-slot", "the Pi has restarted from the other slot", "deploy again")


class _Writing(Run):
    """Writes the other slot, and notes in the journal how far it came."""

    def __init__(
        self,
        root: Root,
        folder: str,
        version: tuple[str, str, str],
        plan: recipe.Recipe,
        found: dict[str, str],
    ) -> None:
        super().__init__(root, folder)
        self._id, self._note, self._target = version
        self._plan = plan
        self._sources = found
        self._told = 0

    def run(self) -> None:
        """Write it; the last event says whether it is there."""
        now = Journal({}).changed(
            state=RECEIVING, id=self._id, note=self._note, FROM=places.booted(self.root),
            to=self._target,
            from_base=generations.slot_containers(self.root),
            from_version=versions.running(self.root),
            to_version=versions.line(self._plan.order, self._note),
        )  # fmt: skip
        try:
            now.write(self.root)
            room = places.room(self.root, self._target)
            slots.write(room, self._plan, self._sources, self._tell_some)
            now.changed(state=WRITTEN).write(self.root)
        except Refused as refused:
            self._failed(now, refused.code, refused.message)
        except BaseException as error:  # noqa: BLE001  # the journal has to tell of it
            self._failed(now, "internal", f"{type(error).__name__}: {error}")
        else:
            self.end(ok=True)

    def _failed(self, now: Journal, code: str, message: str) -> None:
        now.changed(state=UNDONE, cause=message).write(self.root)
        self.end(ok=False, code=code, message=message)

    def _tell_some(self, done: int) -> None:
        if done - self._told >= _TELL_EVERY or done == self._plan.length:
            self._told = done
            self.tell("written", done=done, total=self._plan.length)


# --- trying


def start_trial(root: Root, digest: str, base: str, deadline: int) -> dict[str, Any]:
    """Restart into the version that was written, once; raises Refused ``not-written``.

    `base` is the digest of the containers layer that the version ships; the try has to be confirmed
    within `deadline` seconds after its start.
    """
    now = journal.load(root)
    if now.state != WRITTEN or now.id != digest or now.target != places.other(root):
        raise Refused("not-written", "this version is not in the other slot", "deploy again")
    hooks.run_hooks(root)
    _arm(root, now.changed(to_base=base), deadline)
    return {"restarting": True}


def roll_back(root: Root, deadline: int) -> dict[str, Any]:
    """Restart into the version of the other slot, as a try; raises Refused ``nothing-before``."""
    now, booted = journal.load(root), places.booted(root)
    if now.state != KEPT or now.target != booted or not places.other(root):
        raise Refused(
            "nothing-before", "the other slot has no version that was kept once",
            "deploy the file of the version that you want",
        )  # fmt: skip
    bases = [*now.bases, "", ""]
    back = Journal({}).changed(
        state=WRITTEN, id=now.id, note="rollback", FROM=booted, to=now.source,
        from_base=bases[1], to_base=bases[0],
        from_version=now.target_version, to_version=now.source_version,
    )  # fmt: skip
    _arm(root, back, deadline)
    return {"restarting": True}


def _arm(root: Root, now: Journal, deadline: int) -> None:
    """Set everything for a try, and restart; raises Refused ``no-try`` if that is impossible."""
    places.chooser(root).set(now.source, now.target)
    journal.begin_trail(root)
    up = " ".join(services.names_up(root))
    armed = now.changed(state=ARMED, tries=now.tries + 1, services=up, deadline=deadline, cause="")
    armed.write(root)
    try:
        services.call(["try-boot"], root.at("usr/lib/piimage/try-boot"), 60, "no-try")
    except Refused as refused:
        now.changed(state=WRITTEN, cause=refused.message).write(root)
        raise


def confirm(root: Root, digest: str) -> dict[str, Any]:
    """Note that a tool reached the Pi during the try of a version; return the journal.

    Raises Refused ``no-trial`` if that version is not on trial here.
    """
    now = journal.load(root)
    if now.id != digest or now.state not in (TRYING, KEPT):
        raise Refused("no-trial", "this version is not on trial", "see piimage status")
    if now.state == TRYING and is_tried(root):
        os.makedirs(f"{root.run}/system", mode=0o700, exist_ok=True)
        fd = os.open(confirmation(root), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.close(fd)
    return {"journal": now.as_reply(), "trail": journal.trail(root)}


def confirmation(root: Root) -> str:
    """Return the file that exists once a tool has confirmed the try."""
    return f"{root.run}/system/confirmed"


def forget_files(root: Root) -> None:
    """Remove what was sent for a version that is kept or undone."""
    for name in names(_files(root)):
        remove(f"{_files(root)}/{name}")
