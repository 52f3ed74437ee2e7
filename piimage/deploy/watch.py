"""A change on a Pi, followed to its end; over a new connection if the first one is lost."""

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
_CONFIRM_S: Final = 30.0  # that the Pi waits for its confirmation, once all is healthy
_MARGIN_S: Final = 180.0  # for stopping and starting the services of a slow Pi


def watched(
    link: Link, run: str, wait: int, ssh: Ssh, cancelled: threading.Event, tell: Tell
) -> tuple[str, ...]:
    """Follow the change `run`, confirm it once it is healthy, and return the changed services.

    Raises PiimageError ``deploy.rolled-back`` when the Pi went back, and what `Link` raises.
    """
    watch = _Watch(run, wait + _MARGIN_S, tell)
    try:
        return watch.follow(link)
    except PiimageError as error:
        if error.code not in _LOST or cancelled.is_set():
            raise
        tell("the connection was lost; looking for it again")
        return _again(watch, link, ssh, cancelled, wait + _CONFIRM_S)


def _again(
    watch: _Watch, link: Link, ssh: Ssh, cancelled: threading.Event, seconds: float
) -> tuple[str, ...]:
    """Follow the change over new connections, for as long as the Pi may wait for one.

    A Pi that does not come back was reached before: it is the version that cut it off.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end and not cancelled.is_set():
        try:
            with linked(ssh, link.host, cancelled) as second:
                return watch.follow(second)
        except PiimageError as error:
            if error.code not in _LOST:
                raise
            cancelled.wait(1.0)
    raise PiimageError(
        "deploy.lost", f"it could not be reached again within {seconds:.0f} s of the switch",
        place=link.host.name,
        hint="it goes back by itself to what ran before; piimage status shows what it runs",
    )  # fmt: skip


class _Watch:
    """How much of a change has been told."""

    def __init__(self, run: str, timeout: float, tell: Tell) -> None:
        self._run = run
        self._timeout = timeout
        self._tell = tell
        self._seen = 0
        self._changed: tuple[str, ...] = ()
        self._healthy = False

    def follow(self, link: Link) -> tuple[str, ...]:
        link.tell("watch", run=self._run, **{"from": self._seen})
        if self._healthy:  # what was said over the lost connection may not have arrived
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
                    self._tell(f"{printable(name)} is tried beside what runs")
                case "up":
                    name = link.checked(lambda: answers.text(event, "service"))  # noqa: B023
                    self._tell(f"{printable(name)} is up")
                case "healthy":
                    self._healthy = True
                    link.say("keep")
                case "going-back":
                    self._tell("goes back")
                case "end":
                    link.answer()
                    return self._ended(link, event)
                case _:
                    raise link.bad("an event that it does not have")

    def _ended(self, link: Link, event: Answer) -> tuple[str, ...]:
        if event.get("ok") is True:
            return self._changed
        message = printable_lines(link.checked(lambda: answers.text(event, "message")))
        bad = event.get("bad")
        said = [
            f"\n  {printable_lines(f'{name}: {why}'[:2000])}"
            for name, why in (bad.items() if isinstance(bad, dict) else ())
        ]
        restored = event.get("restored") is True
        if event.get("code") == "rehearsal":
            raise PiimageError(
                "deploy.rehearsal", f"{message}{''.join(said)}", place=link.host.name,
                hint="mend the service and deploy again",
            )  # fmt: skip
        if event.get("code") == "rolled-back" and restored:
            raise PiimageError(
                "deploy.rolled-back", f"it runs what it ran before: {message}{''.join(said)}",
                place=link.host.name, hint="piimage logs shows more",
            )  # fmt: skip
        raise PiimageError(
            "deploy.unhealthy", f"{message}{''.join(said)}", place=link.host.name,
            hint="look at it: piimage ps, piimage logs; piimage rollback goes further back",
        )  # fmt: skip
