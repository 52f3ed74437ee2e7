"""How a running system tells its boot loader to try the other slot at the next start."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TryFlag:
    """The flag of a try: what sets it is appliance/rootfs/usr/lib/piimage/try-flag.sh."""

    kind: str
    """Its name there; the initramfs's setting `TRY`."""
    module: str
    """The kernel module through which it is set."""
    built: bool = False
    """Whether that module is built with the file, from piimage's folder kernel-modules; else it is
    one of the kernel package."""
