"""Services as the console tells of them (appliance/README.md, "What is printed on the console").

Services print on that console too. Only a line that begins with the seal is the system's own.
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


def _told(seal: str) -> re.Pattern[str]:
    """Return what the system says of a service: the whole line, as half a word says nothing.

    The seal stands at its beginning: what follows may quote a service's own words.
    """
    return re.compile(rf"\[{re.escape(seal)}\] piimage: service (\S+): ([^\n]*)\n")


def wait_for_boot(session: Session, seal: str, timeout: float) -> Outcome:
    """Wait until the onboot containers are through and the services' turn has come."""
    title = "the system boots"
    try:
        session.wait_for(f"[{seal}] piimage: phase services\n", timeout)
    except PiimageError as error:
        return Outcome(title, session.seconds(), failure=error.message)
    return Outcome(title, session.seconds())


def wait_for_services(
    session: Session, seal: str, names: Iterable[str], timeout: float
) -> list[Outcome]:
    """Wait until all services `names` are up at once: healthy, or running without a health check.

    Returns one outcome each, the service's place in time in `seconds`. A boot that ends early
    fails those that were not up.
    """
    wanted, pattern = set(names), _told(seal)
    up: dict[str, float] = {}
    last: dict[str, str] = {}
    end = time.monotonic() + timeout
    why = f"not within {timeout:g} s"
    try:
        while wanted - set(up):
            told = session.wait_for(pattern, max(0.0, end - time.monotonic()))
            name, what = pattern.fullmatch(told).groups()  # type: ignore[union-attr]
            last[name] = what
            if what in _UP:
                up[name] = session.seconds()
            elif not _STARTING.match(what):
                up.pop(name, None)
    except PiimageError as error:
        if error.code != "emulator.timeout":
            why = error.message
        elif lines := session.lines():
            why += "; the console's last line: " + lines[-1].text
    return [_outcome(name, up, last, why, session.seconds()) for name in sorted(wanted)]


def _outcome(
    name: str, up: dict[str, float], last: dict[str, str], why: str, now: float
) -> Outcome:
    title = f"service {name} is up"
    if name in up:
        return Outcome(title, up[name])
    said = f"; the last that was told of it: {last[name]}" if name in last else ""
    return Outcome(title, now, failure=f"{name} is not up{said}\n{why}")


def broken(lines: Sequence[Line], seal: str, name: str) -> str | None:
    """Return the first of `lines` that tells that the service failed."""
    pattern = _told(seal)
    for line in lines:
        told = pattern.search(line.text + "\n")
        if told and told[1] == name and _BROKEN.match(told[2]):
            return told[2]
    return None
