"""Where the facts about a running appliance come from: the emulator's console, or a Pi."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from piimage.run import Completed


@dataclass(frozen=True)
class State:
    """A state that a service has reached, in the words of the console.

    appliance/README.md, "What is printed on the console", has the words.
    """

    service: str
    text: str


class Restarted(Exception):
    """The system has started again, so that what was known of its services is past."""


class Source(Protocol):
    """A running appliance, as its checks see it."""

    def seconds(self) -> float:
        """Return the wall seconds since the test began."""

    def wait_for_boot(self, timeout: float) -> None:
        """Wait until the system starts the services; raises PiimageError if it does not."""

    def next_state(self, timeout: float) -> State | None:
        """Return the next change of a service's state; None after `timeout` seconds.

        Raises PiimageError if the system has ended, Restarted if it has started again.
        """

    def states(self) -> Sequence[State]:
        """Return all changes so far."""

    def lines(self) -> Sequence[str]:
        """Return the lines of the console."""

    def last_words(self, service: str) -> str:
        """Return what a person reads first if `service` does not come up; may be empty."""


class RootShell(Protocol):
    """The shell of root on the appliance, outside the containers."""

    def run(self, argv: Sequence[str], timeout: float) -> Completed:
        """Run `argv`; raises PiimageError if the connection fails, and ``run.timeout``."""
