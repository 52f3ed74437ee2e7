"""The services of a Pi that runs piimage's system, through its agent."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from piimage.boards import known_boards, search_path
from piimage.deploy import answers
from piimage.deploy.answers import Service
from piimage.deploy.link import Link
from piimage.deploy.remote import Extract, Return, Show, not_up
from piimage.deploy.ssh import Ssh
from piimage.deploy.status import Status, parse
from piimage.deploy.system import FEATURE, roll_back
from piimage.deploy.watch import follow_change
from piimage.doctor.examine import Examination, examine
from piimage.doctor.facts import BadFacts
from piimage.errors import PiimageError

REPORT: Final = "report-1"
"""The feature of agents whose `report` has the facts that this tool examines."""
AGE: Final = "logs-age"
"""The feature of agents that take the age of the oldest line in seconds."""
UNTIL: Final = "logs-until"
"""The feature of agents that take the age of the newest line in seconds."""
_WAIT_S: Final = 60
# A service may take as long to start as its health check allows, which only the host knows. ssh
# notices earlier that a host is gone.
_LONGEST_S: Final = 3600
_FOREVER: Final = 10.0**9


@dataclass(frozen=True)
class AgentRemote:
    """A Pi that runs piimage's system."""

    link: Link
    ssh: Ssh
    cancelled: threading.Event

    @property
    def name(self) -> str:
        """The user's name for the host."""
        return self.link.host.name

    def services(self) -> tuple[Service, ...]:
        """Return the state of each service."""
        answer = self.link.ask("ps")
        return self.link.checked(lambda: answers.services(answer))

    def control(self, operation: str, service: str) -> Service:
        """Start, stop or restart a service through the agent."""
        answer = self.link.ask(operation, service=service, timeout=_LONGEST_S)
        if trouble := self.link.checked(lambda: answers.text(answer, "trouble")):
            raise not_up(self.name, service, trouble)
        return self.link.checked(lambda: answers.service(answer.get("service")))

    def log(self, service: str, extract: Extract, show: Show) -> None:
        """Show the part of the log that the agent reads from its log files."""
        self.link.tell(
            "logs", service=service, lines=extract.lines, follow=extract.follow,
            **self._begin(extract.age), **self._end(extract.until),
        )  # fmt: skip
        while True:
            event, body = self.link.event(_FOREVER if extract.follow else 120)
            if event.get("event") != "log":
                return
            show(body)

    def _begin(self, age: int | None) -> dict[str, int]:
        """Return the fields of a request that say where a log begins.

        Agents without `AGE` compare a time with the Pi's clock, which may be wrong.
        """
        if age is None:
            return {}
        if AGE in self.link.features:
            return {"age": age}
        return {"since": max(0, int(time.time()) - age)}

    def _end(self, until: int | None) -> dict[str, int]:
        """Return the field of a request that says where a log ends."""
        if until is None:
            return {}
        if UNTIL not in self.link.features:
            raise PiimageError(
                "deploy.cannot", "this agent cannot end a log at a time", place=self.name,
                hint="leave --until out, or deploy a newer system",
            )  # fmt: skip
        return {"until": until}

    def roll_back(self) -> Return:
        """Have the agent return to the previous generation."""
        link = self.link
        answer = link.ask("rollback", wait=_WAIT_S)
        run = link.checked(lambda: answers.text(answer, "run"))
        target = link.checked(lambda: answers.text(answer, "target"))
        changed = follow_change(link, run, _LONGEST_S, self.ssh, self.cancelled, lambda line: None)
        return Return(target, changed)

    def roll_back_system(self) -> str:
        """Have the agent try the other slot, and confirm it."""
        if FEATURE not in self.link.features:
            raise PiimageError(
                "deploy.cannot", "this agent cannot change the slot", place=self.name,
                hint="build the file again and flash the card: the agent is part of the system",
            )  # fmt: skip
        return roll_back(self.link, self.ssh, self.cancelled, _WAIT_S)

    def status(self) -> tuple[Status, Mapping[str, Any]]:
        """Return the status that the agent reports."""
        answer = self.link.ask("status")
        answer.pop("ok")
        return self.link.checked(lambda: parse(answer)), answer

    def examine(self, now: float) -> Examination:
        """Examine the agent's hardware report."""
        if REPORT not in self.link.features:
            raise PiimageError(
                "deploy.cannot", "this agent cannot report on its hardware", place=self.name,
                hint="build the file again and flash the card: the agent is part of the system",
            )  # fmt: skip
        answer = self.link.ask("report")
        try:
            return examine(answer.get("facts"), now, tuple(known_boards(search_path())))
        except BadFacts as bad:
            raise self.link.bad(str(bad)) from None
