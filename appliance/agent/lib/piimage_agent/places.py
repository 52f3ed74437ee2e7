"""Where the two slots are: in partitions of their own, or in folders of the first one.

A slot's name is the number of its partition, or its folder with a slash, as `os_prefix` names it.
"""

from __future__ import annotations

import os

from piimage_agent import arming
from piimage_agent.choices import BY_KIND
from piimage_agent.disk import partition
from piimage_agent.folders import NAMES, Folders
from piimage_agent.refusal import Refused
from piimage_agent.root import Root, names
from piimage_agent.selector import Selector

PARTITIONS = ("2", "3")
"""The partitions of the two slots; boards/*.yml, layout `selector`."""
_FIRMWARE = (".bin", ".elf", ".dat")
_EFI = "EFI/BOOT"


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
        _folders(root)
    except (OSError, Refused):
        return False
    return True


def _folders(root: Root) -> Folders:
    choices = BY_KIND.get(arming.kind(root))
    if choices is None:
        raise Refused("no-selector", "this board's boot loader chooses between no two folders")
    return Folders(device(root, "1"), choices)


def device(root: Root, number: str) -> str:
    """Return the block device of a partition of the card."""
    return root.at(partition(root.facts().get("PIIMAGE_DISK", ""), number).lstrip("/"))


def chooser(root: Root) -> Selector | Folders:
    """Return what names the slots on the first partition; raises Refused ``no-selector``."""
    return _folders(root) if booted(root) in NAMES else Selector(device(root, "1"))


def room(root: Root, slot: str) -> Room:
    """Return where the slot is written; raises Refused ``no-selector``."""
    if slot not in NAMES:
        return Room(device(root, slot), 0, None)
    folders = _folders(root)
    return Room(device(root, "1"), folders.head(slot), folders.room(slot))


def shared_firmware(root: Root) -> list[str]:
    """Return the files of the boot firmware that both slots share; none if each has its own."""
    if booted(root) not in NAMES:
        return []
    folder = os.path.dirname(root.slot())
    own = [f"{folder}/{name}" for name in names(folder) if name.lower().endswith(_FIRMWARE)]
    efi = f"{folder}/{_EFI}"
    return own + [f"{efi}/{name}" for name in names(efi) if name.lower().endswith(".efi")]
