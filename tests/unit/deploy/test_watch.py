"""A change that is followed to its end, over connections that break."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from piimage.deploy import watch
from piimage.deploy.hosts import Host
from piimage.deploy.link import Link
from piimage.deploy.rollout import UNREACHED
from piimage.deploy.ssh import Ssh
from piimage.errors import PiimageError

GONE = PiimageError("deploy.no-connection", "no route")


class Line:
    """A link that gives events, then breaks, and notes what is said."""

    host = Host("pi", "pi")

    def __init__(self, *events: dict[str, Any] | PiimageError) -> None:
        self._events = list(events)
        self.requests: list[tuple[str, dict[str, Any]]] = []

    def tell(self, operation: str, **fields: Any) -> None:
        self.requests.append((operation, fields))

    say = tell

    def event(self, timeout: float) -> tuple[dict[str, Any], bytes]:
        found = self._events.pop(0)
        if isinstance(found, PiimageError):
            raise found
        return found, b""

    def answer(self) -> None:
        return

    def checked(self, parse: Callable[[], Any]) -> Any:
        return parse()


SWITCHED = {"event": "switched", "changed": ["one"]}
HEALTHY = {"event": "healthy"}
END = {"event": "end", "ok": True}


def follow(first: Line, seconds: int, *others: Line | PiimageError) -> tuple[str, ...]:
    waiting = list(others)

    @contextlib.contextmanager
    def linked(*where: object) -> Iterator[Line]:
        found = waiting.pop(0) if waiting else GONE
        if isinstance(found, PiimageError):
            raise found
        yield found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watch, "linked", linked)
        patch.setattr(watch, "_CONFIRM_S", 0.0)
        link, ssh = cast("Link", first), cast("Ssh", None)
        return watch.follow_change(link, "1", seconds, ssh, threading.Event(), lambda line: None)


def test_a_confirmation_that_may_have_been_lost_is_given_again() -> None:
    second = Line(END)
    assert follow(Line(SWITCHED, HEALTHY, GONE), 5, second) == ("one",)
    assert second.requests == [("watch", {"run": "1", "from": 2}), ("keep", {})]


@pytest.mark.slow
def test_a_connection_that_is_lost_before_is_taken_up_where_it_was() -> None:
    second = Line(HEALTHY, END)
    assert follow(Line(SWITCHED, GONE), 10, GONE, second) == ("one",)
    assert second.requests == [("watch", {"run": "1", "from": 1}), ("keep", {})]


@pytest.mark.slow
@pytest.mark.provokes("deploy.lost")
def test_a_pi_that_its_new_version_cuts_off_counts_against_that_version() -> None:
    with pytest.raises(PiimageError, match="could not be reached within") as caught:
        follow(Line(SWITCHED, GONE), 1)
    assert caught.value.code not in UNREACHED
