"""Device tree overlays on the card, compiled from piimage's own sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from piimage.firmware.devicetree import compile_overlay
from piimage.steps import Job, Step
from piimage.store import Blob


@dataclass(frozen=True)
class CompiledOverlays(Step):
    """The compiled overlays; sources and outputs are by the overlay's name."""

    sources: Mapping[str, bytes]

    @property
    def title(self) -> str:
        """The name of the work."""
        return "compile the device tree overlays"

    def make(self, job: Job) -> Mapping[str, Blob]:
        """Compile each source."""
        overlays = {}
        with job.store.scratch() as folder:
            for name, text in sorted(self.sources.items()):
                source = folder / f"{name}.dtso"
                source.write_bytes(text)
                overlays[name] = job.store.add_bytes(compile_overlay(job.runner, source))
        return overlays
