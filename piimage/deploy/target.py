"""The targets of a deploy: a Pi with the agent, or a Docker engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

Tell = Callable[[str], None]
"""Takes one line about the progress on a target."""


@dataclass(frozen=True)
class Plan:
    """The changes that a deploy would make on one target."""

    bytes: int
    """Size of the layers or blobs to send, as stored."""
    layers: int
    """Number of the layers or blobs to send."""
    restart: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """Further notes for the user."""
    system: bool = False
    """Whether the whole system changes, so that the target restarts."""
    hooks: tuple[str, ...] = ()
    """The services that run a command before the system changes."""

    @property
    def nothing(self) -> bool:
        """Whether the target already runs this version."""
        return not (self.restart or self.start or self.stop or self.bytes or self.system)


@dataclass(frozen=True)
class Outcome:
    """The result of a successful deploy to one target."""

    changed: tuple[str, ...]
    """The services that were restarted."""
    sent: int
    """Bytes that were sent, including the protocol."""
    received: int
    seconds: float
    """Duration of the whole deploy."""
    switched: float = 0.0
    """Time to stop and start the services until they were healthy."""
    notes: Sequence[str] = ()
    system: bool = False
    """Whether the target restarted into another version of the system."""


class Target(Protocol):
    """A host that runs the services of a file."""

    @property
    def name(self) -> str:
        """The user's name for the target."""

    def plan(self) -> Plan:
        """Return what `deploy` would do; change nothing."""

    def deploy(self, tell: Tell) -> Outcome:
        """Deploy the new version and wait until it is healthy; roll back if it is not.

        Raises PiimageError. The codes in `rollout.UNREACHED` mean that the host was not reached.
        """
