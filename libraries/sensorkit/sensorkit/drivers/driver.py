"""The interface of a driver."""

from __future__ import annotations

from typing import Protocol

from sensorkit.measurement import Channel, Sample


class Driver(Protocol):
    """A chip that is started and then sampled. Only one thread may use it."""

    @property
    def model(self) -> str:
        """The chip's name as its manufacturer writes it."""
        ...

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channels of a sample, which leaves out those without a valid value."""
        ...

    def start(self) -> None:
        """Reset, identify and configure the chip. Raises `SensorError`."""
        ...

    def sample(self) -> Sample:
        """Take one sample. Raises `SensorError`; after `LostSettings`, start again."""
        ...
