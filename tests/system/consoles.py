"""What the console of an emulated machine has shown."""

from __future__ import annotations

import time

from piimage.emulator.session import Session

PATIENCE = 240.0


def shown(machine: Session, text: str) -> None:
    """Wait until the console has shown `text`, in whatever order with other lines."""
    deadline = time.monotonic() + PATIENCE
    while not any(text in line.text for line in machine.lines()):
        assert time.monotonic() < deadline, text
        time.sleep(0.5)
