"""What a roll-out goes to: a Pi with the agent, a Docker engine, a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

Tell = Callable[[str], None]
"""Takes one line about how far a target has come."""


@dataclass(frozen=True)
class Plan:
    """What a deploy would do to one target."""

    bytes: int
    """What would travel: the missing layers or blobs, as they are stored."""
    layers: int
    """How many of them are missing."""
    restart: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What the user should know besides."""

    @property
    def nothing(self) -> bool:
        """Whether the target runs this very version."""
        return not (self.restart or self.start or self.stop or self.bytes)


@dataclass(frozen=True)
class Outcome:
    """What a deploy did to one target that runs the new version now."""

    changed: tuple[str, ...]
    """The services that were started anew."""
    sent: int
    """Bytes that were sent, protocol included."""
    received: int
    seconds: float
    """From the first word to the last."""
    switched: float = 0.0
    """The part of them in which services were stopped, started and found healthy."""
    notes: Sequence[str] = ()


class Target(Protocol):
    """One place where the services of a file run."""

    @property
    def name(self) -> str:
        """What the user calls it."""

    def plan(self) -> Plan:
        """Return what `deploy` would do; nothing is changed."""

    def deploy(self, tell: Tell) -> Outcome:
        """Bring the new version there, wait until it is healthy, or go back.

        Raises PiimageError; ``deploy.no-connection`` (and its like, see `rollout.UNREACHED`) says
        nothing against the version.
        """
