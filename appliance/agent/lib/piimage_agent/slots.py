"""Writes the slot that does not run: invalid first, valid only after everything was read back.

The order makes every power cut harmless: the head is zeroed and synced before anything else is
written, so that no boot loader takes a half-written slot for a file system (or finds a file in a
half-written folder), and it is written last.
"""

from __future__ import annotations

import hashlib
import os

from piimage_agent import recipe
from piimage_agent.disk import Uncached
from piimage_agent.recipe import PAGE, File, Literal, Recipe
from piimage_agent.refusal import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from piimage_agent.places import Room
    from piimage_agent.root import Root

_CHUNK = 1 << 19


def write(room: Room, plan: Recipe, sources: dict[str, str], tell: Callable[[int], None]) -> None:
    """Make the slot in `room` what the recipe says; `sources` has a file for each digest.

    `tell` gets the number of bytes written so far. Raises Refused ``wrong-slot``,
    ``damaged-source``, ``card-lies``; the slot is then no file system.
    """
    device, head = room.device, plan.head
    # O_EXCL fails if the device is mounted, as that of folders is.
    fd = os.open(device, os.O_RDWR | os.O_CLOEXEC | (0 if room.shared else os.O_EXCL))
    try:
        if os.lseek(fd, 0, os.SEEK_END) != plan.size:
            raise Refused("wrong-slot", f"{device} is not as large as the slot of this version")
        require_room(room, plan)
        _write_at(fd, bytes(PAGE), head.at)
        os.fsync(fd)
        done = 0
        for part in plan.parts:
            _write_part(fd, part, sources)
            done += part.end - part.at
            tell(done)
        os.fsync(fd)
        _compare(device, Literal(head.at, bytes(PAGE)), plan.parts)
        _write_at(fd, head.data, head.at)
        os.fsync(fd)
        _compare(device, head, [])
    finally:
        os.close(fd)


def require_room(room: Room, plan: Recipe) -> None:
    """Raise Refused ``wrong-slot`` unless the recipe writes nothing but the slot in `room`."""
    every = (plan.head, *plan.parts)
    if plan.head.at != room.head or not all(room.holds(part.at, part.end) for part in every):
        raise Refused(
            "wrong-slot", "this version would write outside of the other slot",
            "flash the card once with this version of piimage",
        )  # fmt: skip


def _write_part(fd: int, part: File | Literal, sources: dict[str, str]) -> None:
    if isinstance(part, Literal):
        _write_at(fd, part.data, part.at)
        return
    at, digest = part.at, hashlib.sha256()
    for data in _content(sources[part.digest], part.size):
        digest.update(data)
        _write_at(fd, data, at)
        at += len(data)
    if at - part.at != part.size or digest.hexdigest() != part.digest:
        raise Refused(
            "damaged-source", f"{sources[part.digest]} is damaged: it has not its own digest",
            "flash the card again, or use another card",
        )  # fmt: skip
    _write_at(fd, bytes(part.end - at), at)


def _content(path: str, size: int) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while size > 0 and (data := file.read(min(size, _CHUNK))):
            yield data
            size -= len(data)


def _write_at(fd: int, data: bytes, at: int) -> None:
    rest = memoryview(data)
    while rest:
        count = os.pwrite(fd, rest, at)
        rest = rest[count:]
        at += count


def _compare(device: str, head: Literal, parts: list[File | Literal]) -> None:
    """Read back from the card itself; raises Refused ``card-lies``."""
    card = Uncached(device)
    try:
        for part in (head, *parts):
            if not _is_written(card, part):
                raise _lies(part.at)
    finally:
        card.close()


def _is_written(card: Uncached, part: File | Literal) -> bool:
    if isinstance(part, Literal):
        pieces = range(0, len(part.data), _CHUNK)
        return all(
            card.read(part.at + at, len(part.data[at : at + _CHUNK])) == part.data[at : at + _CHUNK]
            for at in pieces
        )
    digest = hashlib.sha256()
    for at in range(0, part.size, _CHUNK):
        digest.update(card.read(part.at + at, min(_CHUNK, part.size - at)))
    rest = part.end - part.at - part.size
    return digest.hexdigest() == part.digest and not any(card.read(part.end - rest, rest))


def _lies(at: int) -> Refused:
    return Refused(
        "card-lies", f"the card did not keep what was written to byte {at} of the slot",
        "the card is worn out or a counterfeit: use another one",
    )  # fmt: skip


def read_recipe(root: Root, digest: str) -> Recipe:
    """Return the recipe that the tool sent; raises Refused ``bad-recipe``."""
    try:
        with open(f"{root.store}/system/files/{digest}", "rb") as file:
            return recipe.parse(file.read())
    except FileNotFoundError:
        raise Refused("bad-recipe", "the recipe was not sent", "deploy again") from None
