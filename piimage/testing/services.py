"""The state of services, read from the console.

appliance/README.md, "What is printed on the console", has the lines. Services print on the
console, too. Only a line that begins with the seal is the system's own.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from typing import Final

from piimage.emulator.console import Line
from piimage.emulator.session import Session
from piimage.errors import PiimageError
from piimage.testing.report import Outcome

_UP: Final = ("healthy", "running")
_STARTING: Final = re.compile(r"(waiting for|restarting in)\b")
_BROKEN: Final = re.compile(r"(unhealthy|exited with code [1-9]|FAILED)")


_RESTART: Final = r"\[emulator\] restart \d+: (\w+)[^\n]*\n"
"""A line of `emulator.life`: no seal marks the system's lines after it."""


def _state_line(seal: str) -> re.Pattern[str]:
    """Return the pattern of a complete line in which the system reports a service's state.

    The line begins with the seal, because later text may quote the service's own output.
    """
    return re.compile(rf"\[{re.escape(seal)}\] piimage: service (\S+): ([^\n]*)\n")


def wait_for_boot(session: Session, seal: str, timeout: float) -> Outcome:
    """Wait until the onboot containers have ended and the system starts the services."""
    title = "the system boots"
    try:
        session.wait_for(f"[{seal}] piimage: phase services\n", timeout)
    except PiimageError as error:
        return Outcome(title, session.seconds(), failure=error.message)
    return Outcome(title, session.seconds())


def wait_for_services(
    session: Session, seal: str, names: Iterable[str], timeout: float
) -> list[Outcome]:
    """Wait until all services are up at the same time: healthy, or running without a health check.

    Returns one outcome for each service; its `seconds` count from QEMU's start. If the boot ends
    early, or starts again, the services that are not up have failed.
    """
    expected, state_line = set(names), _state_line(seal)
    pattern = re.compile(f"(?:{state_line.pattern})|(?:{_RESTART})")
    up: dict[str, float] = {}
    last: dict[str, str] = {}
    deadline = time.monotonic() + timeout
    reason = f"not within {timeout:g} s"
    try:
        while expected - set(up):
            line = session.wait_for(pattern, max(0.0, deadline - time.monotonic()))
            match = state_line.fullmatch(line)
            if match is None:
                reason = f"the machine restarted: {line.strip()}"
                up.clear()
                break
            name, state = match.groups()
            last[name] = state
            if state in _UP:
                up[name] = session.seconds()
            elif not _STARTING.match(state):
                up.pop(name, None)
    except PiimageError as error:
        if error.code != "emulator.timeout":
            reason = error.message
        elif lines := session.lines():
            reason += "; the console's last line: " + lines[-1].text
    return [_outcome(name, up, last, reason, session.seconds()) for name in sorted(expected)]


def _outcome(
    name: str, up: dict[str, float], last: dict[str, str], reason: str, now: float
) -> Outcome:
    title = f"service {name} is up"
    if name in up:
        return Outcome(title, up[name])
    state = f"; its last state: {last[name]}" if name in last else ""
    return Outcome(title, now, failure=f"{name} is not up{state}\n{reason}")


def failed_state(lines: Sequence[Line], seal: str, name: str) -> str | None:
    """Return the first state in `lines` in which the service `name` failed, or None."""
    pattern = _state_line(seal)
    for line in lines:
        match = pattern.search(line.text + "\n")
        if match and match[1] == name and _BROKEN.match(match[2]):
            return match[2]
    return None
