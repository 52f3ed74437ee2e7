"""The stamp at the start of a card during a flash, in place of the partition table.

No boot loader accepts a card with the stamp, and a later ``--resume`` reads from it which image was
being written.
"""

from __future__ import annotations

from typing import Final

from piimage.errors import PiimageError
from piimage.flash.medium import Medium, buffer
from piimage.flash.source import HEAD

_BLOCK: Final = 4096
_TEXT: Final = "piimage: this card was not written completely; it does not boot\n"


def stamp(identity: str, size: int) -> memoryview:
    """Return the stamp for the image `identity`: the first `size` bytes of a card, at most HEAD.

    Every block differs, so that a block that the card stored elsewhere can be identified.
    """
    data = buffer(HEAD)
    for offset in range(0, HEAD, _BLOCK):
        line = f"{_TEXT}image {identity}\nblock {offset // _BLOCK}\n".encode()
        data[offset : offset + len(line)] = line
    return data[: min(size, HEAD)]


def put(medium: Medium, identity: str) -> None:
    """Write the stamp, which makes the card unbootable, and check that the card stores it.

    Raises PiimageError ``flash.ignores-writes``, and ``flash.fake-card`` if the stamp also appears
    at a higher address.
    """
    data = stamp(identity, medium.size)
    medium.write(0, data)
    medium.flush()
    if not is_present(medium, identity):
        raise PiimageError(
            "flash.ignores-writes",
            "the card accepts writes but does not store them",
            place=medium.path,
            hint="unlock its lock switch; if it is worn out, use another card",
        )
    offset = HEAD
    while offset + _BLOCK <= medium.size:
        block = buffer(_BLOCK)
        medium.read(offset, block)
        if block == data[:_BLOCK]:
            raise fake_card(medium, offset)
        offset *= 2


def is_present(medium: Medium, identity: str) -> bool:
    """Return whether the card still begins with the stamp of the image `identity`."""
    data = stamp(identity, medium.size)
    head = buffer(HEAD)[: len(data)]
    medium.read(0, head)
    return head == data


def is_interrupted(medium: Medium, identity: str) -> bool:
    """Return whether a flash of the image `identity` was begun on the card and did not end.

    Only the first block is compared: the others may be missing, or hold the image already.
    """
    block = buffer(_BLOCK)
    medium.read(0, block)
    return block == stamp(identity, medium.size)[:_BLOCK]


def fake_card(medium: Medium, real: int) -> PiimageError:
    """Return the error for a card whose addresses wrap around after `real` bytes."""
    return PiimageError(
        "flash.fake-card",
        f"the card claims {medium.size} bytes, but its addresses wrap around after {real}",
        place=medium.path,
        hint="the card is a fake and stores nothing beyond its real size; return it to the seller",
    )
