"""Where the two slots are: in partitions of their own, or in folders of the first one.

A slot's name is the number of its partition, or its folder with a slash, as `os_prefix` names it.
"""

from __future__ import annotations

import os

from piimage_agent.disk import partition
from piimage_agent.folders import NAMES, Folders
from piimage_agent.refusal import Refused
from piimage_agent.root import Root, names
from piimage_agent.selector import Selector

PARTITIONS = ("2", "3")
"""The partitions of the two slots; boards/*.yml, layout `selector`."""
_FIRMWARE = (".bin", ".elf", ".dat")


class Room:
    """Where a slot may be written on a device.

    `head` is the offset of the part without which no boot loader takes it for a version; `parts`
    are the offsets between which it has to stay, or None for the whole device. A device that is
    `shared` is mounted while it is written.
    """

    def __init__(self, device: str, head: int, parts: list[tuple[int, int]] | None) -> None:
        self.device = device
        self.head = head
        self.parts = parts

    @property
    def shared(self) -> bool:
        """Whether the other slot is on the same device."""
        return self.parts is not None

    def holds(self, start: int, end: int) -> bool:
        """Return whether the bytes from `start` to `end` belong to the slot."""
        return self.parts is None or any(low <= start and end <= high for low, high in self.parts)


def booted(root: Root) -> str:
    """Return the slot that runs; empty if it is unknown."""
    facts = root.facts()
    return facts.get("PIIMAGE_SLOT_PREFIX") or facts.get("PIIMAGE_SLOT_PARTITION", "")


def other(root: Root) -> str:
    """Return the slot that does not run; empty if the card has one slot only."""
    name = booted(root)
    if not root.facts().get("PIIMAGE_DISK"):
        return ""
    for pair in (PARTITIONS, NAMES):
        if name in pair and (pair is PARTITIONS or _has_folders(root)):
            return pair[1 - pair.index(name)]
    return ""


def _has_folders(root: Root) -> bool:
    try:
        Folders(device(root, "1"))
    except (OSError, Refused):
        return False
    return True


def device(root: Root, number: str) -> str:
    """Return the block device of a partition of the card."""
    return root.at(partition(root.facts().get("PIIMAGE_DISK", ""), number).lstrip("/"))


def chooser(root: Root) -> Selector | Folders:
    """Return what names the slots on the first partition; raises Refused ``no-selector``."""
    first = device(root, "1")
    return Folders(first) if booted(root) in NAMES else Selector(first)


def room(root: Root, slot: str) -> Room:
    """Return where the slot is written; raises Refused ``no-selector``."""
    if slot not in NAMES:
        return Room(device(root, slot), 0, None)
    first = device(root, "1")
    folders = Folders(first)
    return Room(first, folders.head(slot), folders.room(slot))


def shared_firmware(root: Root) -> list[str]:
    """Return the files of the boot firmware that both slots share; none if each has its own."""
    if booted(root) not in NAMES:
        return []
    folder = os.path.dirname(root.slot())
    return [f"{folder}/{name}" for name in names(folder) if name.lower().endswith(_FIRMWARE)]
