"""What the rest of sensorkit asks of a driver."""

from __future__ import annotations

from typing import Protocol

from sensorkit.measurement import Channel, Sample


class Driver(Protocol):
    """A chip that is started and then sampled. Not for several threads."""

    @property
    def model(self) -> str:
        """The chip's name, as its maker writes it."""
        ...

    @property
    def channels(self) -> tuple[Channel, ...]:
        """What a sample contains; a channel that has no valid value is left out of a sample."""
        ...

    def start(self) -> None:
        """Reset, identify and configure the chip. Raises `SensorError`."""
        ...

    def sample(self) -> Sample:
        """Take one sample. Raises `SensorError`; after `LostSettings`, start again."""
        ...
