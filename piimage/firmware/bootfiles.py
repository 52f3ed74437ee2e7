"""What a boot loader loads from a card."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BootFiles:
    """The files that the firmware of a board loads from a card."""

    partition: int
    """The booted partition."""
    prefix: str
    """The folder of the slot, if slots are folders: the `os_prefix` in force on a Pi."""
    tryboot: bool
    kernel_path: str
    kernel: bytes
    initramfs: bytes | None
    device_tree: bytes | None
    """The device tree with the overlays applied; None if the machine brings its own."""
    overlays: tuple[str, ...]
    cmdline: str
    remarks: tuple[str, ...]
    """Remarks on everything that the firmware silently ignores."""
