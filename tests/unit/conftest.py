"""Files of these tests do not wait for the disk."""

from __future__ import annotations

from tests.flushing import no_wait_for_the_disk

__all__ = ["no_wait_for_the_disk"]
