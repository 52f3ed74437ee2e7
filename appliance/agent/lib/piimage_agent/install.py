"""Installs a bundle from a server: fetches what the Pi lacks, and has it tried.

What comes is handed to the same writer and the same changes as what `piimage deploy` sends. Nothing
of a bundle is used before its description was found to be signed; the description has the size and
the digest of each part.
"""

from __future__ import annotations

import hashlib
import os
import time

from piimage import swu
from piimage.errors import PiimageError
from piimage_agent import arming, change, generations, order, places, signatures, slots, system
from piimage_agent.ddi import Trouble
from piimage_agent.layers import Incoming, find, incoming_layer
from piimage_agent.refusal import Refused, digest_of
from piimage_agent.root import Root, remove
from piimage_agent.status import manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from piimage.swu import Description, Part
    from piimage_agent.ranges import Remote

DEADLINE_S = 600
"""Seconds after its start in which a new version has to be up and to reach the server."""
_WAIT_S = 60  # for a service to be up, beside the start time of its check
_CONFIRM_S = 180.0  # for the server to be reached after the containers changed
_BLOCK = 4096
_LITTLE = 256
_ZEROS = 1 << 18
_PAUSE = 0.5


class Stream:
    """The beginning of a remote file: a block, and then little more than what is read of it."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._at = 0
        self._data = b""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; none at the end."""
        if not self._data:
            count = max(size, _LITTLE) if self._at else _BLOCK
            end = min(self._at + count, self._remote.size)
            self._data = b"".join(self._remote.read(self._at, end))
            self._at = end
        data, self._data = self._data[:size], self._data[size:]
        return data


class Bundle:
    """A bundle on the server, whose description a trusted key has signed.

    Raises Refused ``unsigned``, ``bad-bundle``, ``wrong-appliance``, ``downgrade``; Trouble.
    """

    def __init__(self, root: Root, remote: Remote) -> None:
        self._root = root
        self._remote = remote
        try:
            head = swu.Reader(Stream(remote)).head()
            signatures.require_text(root, head.text, head.signature)
            self.description: Description = swu.parse_description(head.text)
        except PiimageError as error:
            raise Refused("bad-bundle", error.message) from None
        self._places = swu.places(self.description, head.end)

    def require_fitting(self) -> None:
        """Raise Refused unless the bundle is for this appliance and not older than allowed."""
        own, found = manifest(self._root), self.description
        wanted = (own.get("board"), swu.revision(str(own.get("name"))))
        if (found.board, found.name) != wanted:
            raise Refused(
                "wrong-appliance",
                f"the bundle is for {found.name} on {found.board}, and this is {wanted[1]} on "
                f"{wanted[0]}",
            )  # fmt: skip
        order.require(self._root, found.order)

    @property
    def changes_system(self) -> bool:
        """Whether more than containers differs from what the booted slot has."""
        return self.description.system != swu.system_digest(manifest(self._root))

    def part(self, name: str) -> Part:
        """Return a part; raises Refused ``bad-bundle``."""
        found = self.description.part(name)
        if found is None:
            raise Refused("bad-bundle", f"the bundle has no part {name}")
        return found

    def file(self, digest: str) -> Part:
        """Return the part with this content; raises Refused ``bad-bundle``."""
        found = self.description.file(digest)
        if found is None:
            raise Refused("bad-bundle", f"the bundle lacks the file {digest}")
        return found

    def place(self, part: Part) -> int:
        """Return where a part begins in the file."""
        return self._places[part.name]

    def small(self, name: str, limit: int = 1 << 20) -> bytes:
        """Return a small part; raises Refused ``bad-bundle``."""
        part = self.part(name)
        if part.size > limit:
            raise Refused("bad-bundle", f"{name} of the bundle is too long")
        at = self.place(part)
        data = b"".join(self._remote.read(at, at + part.size))
        if hashlib.sha256(data).hexdigest() != part.sha256:
            raise Refused("bad-bundle", f"{name} of the bundle has another digest")
        return data

    def fetch(
        self, part: Part, make: Callable[[Root, str, int], Incoming], tell: Callable[[int], None]
    ) -> None:
        """Bring a part to the Pi, from where an earlier attempt ended; `tell` gets new bytes."""
        for left in (True, False):
            try:
                self._fetch(part, make, tell)
            except Refused as refused:
                if refused.code != "wrong-digest" or not left:
                    raise
            else:
                return

    def _fetch(
        self, part: Part, make: Callable[[Root, str, int], Incoming], tell: Callable[[int], None]
    ) -> None:
        incoming = make(self._root, part.sha256, part.size)
        try:
            at = self.place(part)
            end = max(part.size - part.zeros, incoming.offset)
            for data in self._remote.read(at + incoming.offset, at + end):
                incoming.add(data)
                tell(len(data))
            while left := part.size - incoming.offset:
                incoming.add(bytes(min(left, _ZEROS)))
            incoming.finish()
        finally:
            incoming.close()


class Progress:
    """Tells how many percent have come; `tell` may raise to stop."""

    def __init__(self, total: int, tell: Callable[[int], None]) -> None:
        self._total = max(total, 1)
        self._tell = tell
        self._done = 0

    def add(self, count: int) -> None:
        """Note that bytes have come."""
        self._done += count
        self._tell(min(100, 100 * self._done // self._total))


def install_system(root: Root, bundle: Bundle, tell: Callable[[int], None]) -> str:
    """Write the version to the other slot; return the recipe's digest, for `start_trial`.

    Raises Refused, Trouble, OSError, and what `tell` raises.
    """
    other = places.other(root)
    if not other or (reason := arming.obstacle(root)):
        why = f": {reason}" if other else ""
        raise Refused(
            "no-other-slot", "the system differs, and this card has no second slot that can be "
            f"tried{why}", "write a new card with piimage flash",
        )  # fmt: skip
    name = swu.recipe_name(other)
    recipe = bundle.part(name)
    _require_firmware(root, bundle)
    lock = _locked(root)
    try:
        if recipe.sha256 not in system.sources(root):
            bundle.fetch(recipe, system.incoming_file, lambda count: None)
        signature = bundle.small(f"{name}.cms", 1 << 16)
        wanted = slots.read_recipe(root, recipe.sha256).digests
        _fetch_all(root, bundle, wanted, set(system.sources(root)), system.incoming_file, tell)
        proof = system.Proof(signature, may_be_older=False)
        note = bundle.description.note
        writing = system.prepare(root, recipe.sha256, note, other, proof)
        run = change.begin(root, writing, lock)
    finally:
        os.close(lock)
    end = _ended(root, run, lambda: None)
    if end.get("ok") is not True:
        raise Refused(str(end.get("code")), str(end.get("message")))
    return recipe.sha256


def _require_firmware(root: Root, bundle: Bundle) -> None:
    """Raise Refused ``boot-firmware`` unless the Pi has the firmware that no slot brings."""
    files = places.shared_firmware(root)
    if not files:
        return
    own = {os.path.basename(path): system.digest_of_file(path) for path in files}
    wanted = bundle.small(swu.FIRMWARE)
    if wanted and wanted != swu.firmware_lines(own):
        raise Refused(
            "boot-firmware", "the system comes with another boot firmware, which both slots of "
            "this card share", "write a new card, or make the bundle with --keep-boot-firmware",
        )  # fmt: skip


def start_trial(root: Root, bundle: Bundle, recipe: str) -> None:
    """Restart into the version that was written; raises Refused."""
    lock = _locked(root)
    try:
        system.start_trial(root, recipe, bundle.description.containers, DEADLINE_S)
    finally:
        os.close(lock)


def install_containers(
    root: Root, bundle: Bundle, tell: Callable[[int], None], reach: Callable[[], None]
) -> None:
    """Replace the containers; keep them if they are healthy and `reach` still reaches the server.

    Raises Refused, Trouble, OSError, and what `tell` raises.
    """
    containers = bundle.description.containers
    if containers == generations.running(root):
        return
    lock = _locked(root)
    try:
        text = bundle.small(swu.LAYERS).decode("ascii", "replace")
        layers = [digest_of(line) for line in text.split()]
        every = [*layers, containers]
        have = {digest for digest in every if find(root, digest)}
        _fetch_all(root, bundle, every, have, incoming_layer, tell)
        target = generations.create(root, containers, layers, bundle.description.note)

        def deploy(folder: str) -> change.Change:
            return change.Deploy(root, folder, target, _WAIT_S, _CONFIRM_S, rehearse=True)

        run = change.begin(root, deploy, lock)
    finally:
        os.close(lock)

    def confirm() -> None:
        reach()
        change.keep(root, run)

    end = _ended(root, run, confirm)
    if end.get("ok") is not True:
        raise Refused(str(end.get("code")), str(end.get("message")))


def _fetch_all(
    root: Root,
    bundle: Bundle,
    wanted: list[str],
    have: set[str],
    make: Callable[[Root, str, int], Incoming],
    tell: Callable[[int], None],
) -> None:
    """Bring what the Pi lacks, in the order of the file, so that one request is enough."""
    missing = [bundle.file(digest) for digest in dict.fromkeys(wanted) if digest not in have]
    missing.sort(key=bundle.place)
    progress = Progress(sum(part.size - part.zeros for part in missing), tell)
    for part in missing:
        bundle.fetch(part, make, progress.add)


def _ended(root: Root, run: str, confirm: Callable[[], None]) -> dict[str, object]:
    """Wait for the end of a change, and call `confirm` until it succeeds once it is healthy."""
    folder, confirmed = change.require(root, run), False
    for told in _news(folder):
        if told and told[-1]["event"] == "end":
            return told[-1]
        if not confirmed and any(event["event"] == "healthy" for event in told):
            confirmed = _succeeds(confirm)
    raise AssertionError


def _news(folder: str) -> Iterator[list[dict[str, object]]]:
    while True:
        yield change.events(folder)
        time.sleep(_PAUSE)


def _succeeds(confirm: Callable[[], None]) -> bool:
    try:
        confirm()
    except (Trouble, Refused):
        return False
    return True


def _locked(root: Root) -> int:
    """Return the lock; a process that has told its end may hold it for a moment more."""
    end = time.monotonic() + 5.0
    while True:
        try:
            return root.lock()
        except Refused:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def slot_version(root: Root) -> str:
    """Return the version that the booted slot has."""
    try:
        with open(f"{root.slot()}/appliance.json", "rb") as file:
            digest = swu.identity(manifest(root), file.read())
    except OSError:
        digest = ""
    try:
        place = order.order_of(manifest(root).get("order"))
    except ValueError:
        place = (0, 0)
    return swu.version_text(place, digest)


def forget(root: Root) -> None:
    """Remove what an update left on the way that was cancelled or refused."""
    system.forget_files(root)
    remove(f"{root.run}/signed-text")
