"""Judges the boot and the state of the services."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from typing import Final

from piimage.errors import PiimageError
from piimage.testing.report import Outcome
from piimage.testing.source import Restarted, Source, State

# A service that has done its work may stay down; what restarts it says so in the next line.
_UP: Final = ("healthy", "running", "exited with code 0", "scheduled")
_WAITING: Final = "waiting for "
_BROKEN: Final = re.compile(r"(unhealthy|exited with code [1-9]|FAILED)")


def wait_for_boot(source: Source, timeout: float) -> Outcome:
    """Wait until the onboot containers have ended and the system starts the services."""
    title = "the system boots"
    try:
        source.wait_for_boot(timeout)
    except PiimageError as error:
        return Outcome(title, source.seconds(), failure=str(error))
    return Outcome(title, source.seconds())


def wait_for_services(source: Source, names: Iterable[str], timeout: float) -> list[Outcome]:
    """Wait until all services are up at the same time.

    A service is up if it is healthy, runs without a health check, or has done its work. Returns one
    outcome for each service; its `seconds` count from the start of the test. If the system ends
    early, the services that are not up have failed; if it starts again, all of them.
    """
    expected = set(names)
    up: dict[str, float] = {}
    last: dict[str, str] = {}
    deadline = time.monotonic() + timeout
    reason = ""
    try:
        while expected - set(up):
            state = source.next_state(max(0.0, deadline - time.monotonic()))
            if state is None:
                break
            last[state.service] = state.text
            if state.text in _UP:
                up[state.service] = source.seconds()
            elif not state.text.startswith(_WAITING):
                up.pop(state.service, None)
    except Restarted as restarted:
        up.clear()
        reason = str(restarted)
    except PiimageError as error:
        reason = error.message
    outcomes = []
    for name in sorted(expected):
        title = f"service {name} is up"
        if name in up:
            outcomes.append(Outcome(title, up[name]))
        else:
            why = reason or f"not within {timeout:g} s{_quoted(source.last_words(name))}"
            outcomes.append(Outcome(title, source.seconds(), failure=_failure(name, last, why)))
    return outcomes


def _failure(name: str, last: dict[str, str], reason: str) -> str:
    state = f"; its last state: {last[name]}" if name in last else ""
    return f"{name} is not up{state}\n{reason}"


def _quoted(words: str) -> str:
    return f"; {words}" if words else ""


def failed_state(states: Sequence[State], name: str) -> str | None:
    """Return the first of `states` in which the service `name` failed, or None."""
    return next(
        (state.text for state in states if state.service == name and _BROKEN.match(state.text)),
        None,
    )
