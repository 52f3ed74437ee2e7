"""Stand-ins for QEMU."""

from __future__ import annotations

from tests.unit.emulator.conftest import stand_in

__all__ = ["stand_in"]
