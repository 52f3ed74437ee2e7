"""Follows a change on a Pi to its end; reconnects if the connection is lost."""

from __future__ import annotations

import threading
import time
from typing import Final

from piimage.deploy import answers
from piimage.deploy.link import Answer, Link, linked
from piimage.deploy.ssh import Ssh
from piimage.deploy.target import Tell
from piimage.deploy.text import printable, printable_lines
from piimage.errors import PiimageError

_LOST: Final = frozenset({"deploy.lost", "deploy.no-connection"})
_CONFIRM_S: Final = 30.0  # for which a healthy Pi waits for the confirmation
_MARGIN_S: Final = 180.0  # to stop and start the services of a slow Pi


def follow_change(
    link: Link, run: str, wait: int, ssh: Ssh, cancelled: threading.Event, tell: Tell
) -> tuple[str, ...]:
    """Follow the change `run`, confirm it once it is healthy, and return the changed services.

    Raises PiimageError ``deploy.rolled-back`` if the Pi rolled back, and the errors of `Link`.
    """
    watch = _Watch(run, wait + _MARGIN_S, tell)
    try:
        return watch.follow(link)
    except PiimageError as error:
        if error.code not in _LOST or cancelled.is_set():
            raise
        tell("the connection was lost; reconnecting")
        return _reconnect(watch, link, ssh, cancelled, wait + _CONFIRM_S)


def _reconnect(
    watch: _Watch, link: Link, ssh: Ssh, cancelled: threading.Event, seconds: float
) -> tuple[str, ...]:
    """Follow the change over new connections, for as long as the Pi waits for one.

    The Pi was reachable before, so it is the new version that makes it unreachable.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end and not cancelled.is_set():
        try:
            with linked(ssh, link.host, cancelled) as new_link:
                return watch.follow(new_link)
        except PiimageError as error:
            if error.code not in _LOST:
                raise
            cancelled.wait(1.0)
    raise PiimageError(
        "deploy.lost", f"the host could not be reached within {seconds:.0f} s after the switch",
        place=link.host.name,
        hint="the Pi rolls back by itself; piimage status shows what it runs",
    )  # fmt: skip


class _Watch:
    """The events of a change that were shown so far."""

    def __init__(self, run: str, timeout: float, tell: Tell) -> None:
        self._run = run
        self._timeout = timeout
        self._tell = tell
        self._seen = 0
        self._changed: tuple[str, ...] = ()
        self._healthy = False

    def follow(self, link: Link) -> tuple[str, ...]:
        link.tell("watch", run=self._run, **{"from": self._seen})
        if self._healthy:  # a confirmation over the lost connection may not have arrived
            link.say("keep")
        while True:
            event, _ = link.event(self._timeout)
            self._seen += 1
            match event.get("event"):
                case "switched":
                    self._changed = link.checked(lambda: answers.texts(event, "changed"))  # noqa: B023
                    self._tell(f"switched; changed: {printable(', '.join(self._changed))}")
                case "rehearsing":
                    name = link.checked(lambda: answers.text(event, "service"))  # noqa: B023
                    self._tell(f"rehearsing {printable(name)}")
                case "up":
                    name = link.checked(lambda: answers.text(event, "service"))  # noqa: B023
                    self._tell(f"{printable(name)} is up")
                case "healthy":
                    self._healthy = True
                    link.say("keep")
                case "going-back":
                    self._tell("rolling back")
                case "end":
                    link.answer()
                    return self._ended(link, event)
                case _:
                    raise link.bad("an unknown event")

    def _ended(self, link: Link, event: Answer) -> tuple[str, ...]:
        if event.get("ok") is True:
            return self._changed
        message = printable_lines(link.checked(lambda: answers.text(event, "message")))
        bad = event.get("bad")
        failures = [
            f"\n  {printable_lines(f'{name}: {reason}'[:2000])}"
            for name, reason in (bad.items() if isinstance(bad, dict) else ())
        ]
        message += "".join(failures)
        restored = event.get("restored") is True
        if event.get("code") == "rehearsal":
            raise PiimageError(
                "deploy.rehearsal", message, place=link.host.name,
                hint="correct the service and deploy again",
            )  # fmt: skip
        if event.get("code") == "rolled-back" and restored:
            raise PiimageError(
                "deploy.rolled-back", f"rolled back to the previous version: {message}",
                place=link.host.name, hint="piimage logs shows more of the log",
            )  # fmt: skip
        raise PiimageError(
            "deploy.unhealthy", message, place=link.host.name,
            hint="see piimage ps and piimage logs; piimage rollback returns to an earlier version",
        )  # fmt: skip
