"""What stands at the start of a card while it is being written: never a partition table.

No boot loader takes such a card for one that boots, and a later ``--resume`` sees which image was
on its way.
"""

from __future__ import annotations

from typing import Final

from piimage.errors import PiimageError
from piimage.flash.medium import Medium, buffer
from piimage.flash.source import HEAD

_BLOCK: Final = 4096
_TEXT: Final = "piimage: this card was not written to its end; it does not boot\n"


def stamp(identity: str, size: int) -> memoryview:
    """Return the first `size` bytes (HEAD at most) of a card that gets the image `identity`.

    Every block of it is another, so that it shows where a block went that was lost.
    """
    data = buffer(HEAD)
    for at in range(0, HEAD, _BLOCK):
        line = f"{_TEXT}image {identity}\nblock {at // _BLOCK}\n".encode()
        data[at : at + len(line)] = line
    return data[: min(size, HEAD)]


def put(medium: Medium, identity: str) -> None:
    """Mark the card as not bootable, and see that it keeps what it is given.

    Raises PiimageError ``flash.ignores-writes``, and ``flash.fake-card`` when what was written at
    its start turns up again further on.
    """
    data = stamp(identity, medium.size)
    medium.write(0, data)
    medium.flush()
    if not is_there(medium, identity):
        raise PiimageError(
            "flash.ignores-writes",
            "the card does not keep what is written to it, and says that it does",
            place=medium.path,
            hint="its lock switch is set, or it is worn out: take another card",
        )
    at = HEAD
    while at + _BLOCK <= medium.size:
        echo = buffer(_BLOCK)
        medium.read(at, echo)
        if echo == data[:_BLOCK]:
            raise fake(medium, at)
        at *= 2


def is_there(medium: Medium, identity: str) -> bool:
    """Say whether the card still begins with the stamp of the image `identity`."""
    data = stamp(identity, medium.size)
    found = buffer(HEAD)[: len(data)]
    medium.read(0, found)
    return found == data


def begun(medium: Medium, identity: str) -> bool:
    """Say whether a flash of the image `identity` was begun on the card and not ended.

    Only the first block counts: the others may not have been written yet, or be the image's
    already.
    """
    found = buffer(_BLOCK)
    medium.read(0, found)
    return found == stamp(identity, medium.size)[:_BLOCK]


def fake(medium: Medium, real: int) -> PiimageError:
    """Return the error for a card that goes round after `real` bytes."""
    return PiimageError(
        "flash.fake-card",
        f"the card says that it has {medium.size} bytes, and begins again after {real}",
        place=medium.path,
        hint="it is a fake: give it back; it keeps nothing beyond its real size",
    )
