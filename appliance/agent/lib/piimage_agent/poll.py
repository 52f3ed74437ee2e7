"""One call at the update server: reports, takes what it offers, and says when to call again.

Each call is a process of its own (usr/lib/piimage/updates), so that nothing grows between two.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time

from piimage import swu
from piimage_agent import (
    action,
    consent,
    install,
    journal,
    offers,
    places,
    services,
    status,
    system,
    updates,
)
from piimage_agent.action import FAILURE, SUCCESS, TRYING, Action
from piimage_agent.ddi import Server, Trouble
from piimage_agent.ranges import Remote
from piimage_agent.refusal import Refused
from piimage_agent.root import Root, read_line, remove

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SOON_S = 5  # while a version is on trial
_FIRST_S, _MOST_S = 10, 3600  # of the waits after failures, each twice the one before
_REPORT_S = 10.0  # between two reports of progress
_FORBIDDEN = 403
_VALUE_LIMIT = 128  # hawkBit's, of an attribute
_LATER = frozenset({"busy", "trial"})
"""Refusals that pass by themselves: a deploy over SSH is running."""


class Cancelled(Exception):
    """The server has cancelled the action while its bundle was coming."""


def run(root: Root) -> int:
    """Call the server once, and print ``sleep SECONDS``; return the exit status."""
    settings = updates.load(root)
    if settings is None:
        sys.stderr.write("piimage-agent: the system names no update server\n")
        return 2
    os.makedirs(_scratch(root), mode=0o700, exist_ok=True)
    try:
        seconds = Call(root, Server(settings)).run()
        remove(f"{_scratch(root)}/failures")
    except Trouble as trouble:
        seconds = _waited(root, trouble)
    _print(f"sleep {seconds}")
    return 0


def _scratch(root: Root) -> str:
    return f"{root.run}/updates"


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _say(text: str) -> None:
    """Have the caller print a line on the console."""
    plain = "".join(char if char.isprintable() else " " for char in text)
    _print(f"say {plain[:500]}")


def _waited(root: Root, trouble: Trouble) -> int:
    """Return the seconds until the next call after a failure: more each time, and never equal."""
    path = f"{_scratch(root)}/failures"
    line = read_line(path)
    count = int(line) if line.isdigit() else 0
    with open(path, "w") as file:
        file.write(f"{min(count + 1, 30)}\n")
    if not count:
        _say(trouble.message)
    if journal.load(root).is_trial:
        return _SOON_S
    seconds = min(_FIRST_S << count, _MOST_S)
    spread = int.from_bytes(os.urandom(2), "big") % (seconds // 4 + 1)
    return max(seconds - spread, trouble.after)


class Call:
    """One call; `server` is asked nothing before `run`."""

    def __init__(self, root: Root, server: Server) -> None:
        self._root = root
        self._server = server
        self._action = action.load(root)
        self._told = time.monotonic()
        self._percent = -1  # of the last report of progress
        self._ended = ""  # the version of the last action

    def run(self) -> int:
        """Do what is due; return the seconds until the next call. Raises Trouble."""
        self._note(action.settled(self._root, self._action))
        resource = self._server.ask("GET", self._server.base)
        if self._action["state"] == TRYING:
            return self._confirm()
        if self._action.is_unreported:
            self._report_end()
            resource = self._server.ask("GET", self._server.base)  # it offers that no more
        self._send_attributes(resource)
        links = resource.get("_links")
        links = links if isinstance(links, dict) else {}
        self._tell_who_confirms()
        if "cancelAction" in links:
            self._cancel(links["cancelAction"])
        elif "confirmationBase" in links:
            self._answer(links["confirmationBase"])
        elif "deploymentBase" in links and not self._is_too_soon():
            self._deploy(links["deploymentBase"])
            if self._action["state"] == TRYING:
                return _SOON_S
        return offers.interval(resource)

    def _note(self, now: Action) -> None:
        self._action = now
        now.write(self._root)

    def _confirm(self) -> int:
        """Tell the trial that the server was reached from the new version."""
        if journal.load(self._root).state == journal.TRYING:
            system.confirm(self._root, self._action["recipe"])
        return _SOON_S

    # --- what the server is told

    def _send_attributes(self, resource: dict[str, Any]) -> None:
        data = self._attributes()
        digest = hashlib.sha256(json.dumps(data).encode()).hexdigest()
        asked_for = "configData" in (resource.get("_links") or {})
        if asked_for or digest != self._action["attributes"]:
            body = {"mode": "merge", "data": data}
            self._server.ask("PUT", f"{self._server.base}/configData", body)
            self._note(self._action.changed(attributes=digest))

    def _attributes(self) -> dict[str, str]:
        """Return what the server shows of this Pi; the first three have SWUpdate's names."""
        found = status.manifest(self._root)
        attributes = {
            "hw_boardname": str(found.get("board", "")),
            "hw_revision": swu.revision(str(found.get("name", ""))),
            "sw_version": action.running_version(self._root, self._action),
            "serial": updates.serial(self._root),
            "host": os.uname().nodename,
            "slot": places.booted(self._root),
            "kernel": os.uname().release,
        }
        return {name: swu.plain(value)[:_VALUE_LIMIT] for name, value in attributes.items()}

    def _feedback(
        self, number: str, execution: str, details: list[str], finished: str = "none",
        percent: int | None = None,
    ) -> None:  # fmt: skip
        result: dict[str, Any] = {"finished": finished}
        if percent is not None:
            result["progress"] = {"cnt": percent, "of": 100}
        body = {"id": number, "status": {
            "execution": execution, "result": result, "details": details,
        }}  # fmt: skip
        path = f"{self._server.base}/deploymentBase/{number}/feedback"
        self._server.ask("POST", path, body)

    def _mention(
        self, number: str, execution: str, details: list[str], percent: int | None = None
    ) -> None:
        """Report what does not end the action.

        hawkBit takes a limited number of such reports for an action (1000, if nobody has changed
        that), and refuses more with 403. The action goes on without them, and its end is always
        taken.
        """
        try:
            self._feedback(number, execution, details, percent=percent)
        except Trouble as trouble:
            if trouble.status != _FORBIDDEN:
                raise

    def _report_end(self) -> None:
        """Report how the last action ended; one that the server does not know any more is over."""
        now = self._action
        try:
            if now["state"] == SUCCESS:
                line = f"runs version {now['version']}"
                self._feedback(now["action"], "closed", [line], SUCCESS)
            else:
                self._mention(now["action"], "rejected", [now["cause"]])
                self._feedback(now["action"], "closed", [now["cause"]], FAILURE)
        except Trouble as trouble:
            if trouble.status not in (404, 410):
                raise
        self._note(now.changed(reported="yes"))
        consent.forget(self._root)

    # --- what the server offers

    def _cancel(self, link: object) -> None:
        """Answer a cancellation: what is installed already stays."""
        found = self._server.ask("GET", self._server.path_of(offers.href(link)))
        number, stop = offers.number(found.get("id")), found.get("cancelAction")
        stopped = str(stop.get("stopId")) if isinstance(stop, dict) else ""
        is_late = stopped == self._action["action"] and self._action["state"] == SUCCESS
        status = {
            "execution": "rejected" if is_late else "closed",
            "result": {"finished": "none" if is_late else SUCCESS},
            "details": ["the version is installed already" if is_late else "cancelled"],
        }
        path = f"{self._server.base}/cancelAction/{number}/feedback"
        self._server.ask("POST", path, {"id": number, "status": status})
        if not is_late:
            consent.forget(self._root)
            install.forget(self._root)
            _say("the server has cancelled the update")

    # --- whether it may begin

    def _tell_who_confirms(self) -> None:
        """Turn the server's auto-confirm on or off, once for each setting."""
        confirm = self._server.confirm
        wanted = consent.wants_auto_confirm(confirm, self._action["confirm"])
        if wanted is not None:
            try:
                consent.set_auto_confirm(self._server, wanted=wanted)
            except Trouble as trouble:
                if trouble.status not in (404, 405):  # a server without confirmations
                    raise
        if confirm != self._action["confirm"]:
            self._note(self._action.changed(confirm=confirm))

    def _answer(self, link: object) -> None:
        """Confirm or deny an action that waits for this; a denied one goes on waiting there."""
        found = self._server.ask("GET", self._server.path_of(offers.href(link)))
        number, wanted = offers.number(found.get("id")), found.get("confirmation")
        if not isinstance(wanted, dict):
            raise Trouble("the server's action has no deployment to confirm")
        answer, reason = self._person(number)
        if not answer and not self._action["answered"].startswith(f"{number} "):
            answer, reason = self._opinion(number, wanted)
        answered = f"{number} {answer}"
        if not answer or self._action["answered"] == answered:
            return
        consent.send_answer(self._server, number, answer, reason)
        _say(f"action {number}: {'confirmed' if answer == consent.YES else 'denied'}: {reason}")
        self._note(self._action.changed(answered=answered))

    @property
    def _asks(self) -> bool:
        """Whether a person at the Pi has to let an update begin."""
        return self._server.confirm == consent.PERSON

    def _opinion(self, number: str, deployment: dict[str, Any]) -> tuple[str, str]:
        """Return whether the Pi would take the bundle, and why; it fetches the bundle's head.

        Return nothing if a person has to decide.
        """
        if self._asks and consent.is_waiting(self._root, number):
            return "", ""
        try:
            bundle = self._bundle(deployment)
            bundle.require_fitting()
        except Refused as refused:
            return consent.NO, refused.message
        if not self._asks:
            return consent.YES, "the bundle is signed and fits"
        version = bundle.description.version
        consent.note_waiting(self._root, number, version)
        _say(f"version {version} waits: piimage-agent confirm, or deny REASON")
        return "", ""

    def _person(self, number: str) -> tuple[str, str]:
        """Return what a person has answered; nothing if nobody has, or nobody is asked."""
        return consent.answer_of(self._root, number) if self._asks else ("", "")

    def _is_allowed(self, number: str, deployment: dict[str, Any]) -> bool:
        """Return whether a person lets the update begin, if the file wants one to be asked."""
        if not self._asks:
            return True
        answer, reason = self._person(number)
        if not answer:  # what does not fit is rejected with its cause, without a person
            return self._opinion(number, deployment)[0] == consent.NO
        if answer == consent.NO:
            self._action = self._action.changed(
                action=number, version="", state="", recipe="", cause="", reported=""
            )
            self._end(FAILURE, f"a person has refused it: {reason}")
        return answer == consent.YES

    def _bundle(self, deployment: dict[str, Any]) -> install.Bundle:
        path, size = offers.artifact(self._server, deployment)
        return install.Bundle(self._root, Remote(self._server.beside(), path, size))

    def _deploy(self, link: object) -> None:
        found = self._server.ask("GET", self._server.path_of(offers.href(link)))
        number, deployment = offers.number(found.get("id")), found.get("deployment")
        if not isinstance(deployment, dict):
            raise Trouble("the server's action has no deployment")
        if not offers.is_due(deployment) or not self._is_allowed(number, deployment):
            return
        self._ended = self._action["version"]
        self._action = self._action.changed(
            action=number, version="", state="", recipe="", cause="", reported=""
        )
        try:
            self._install(number, deployment)
        except Refused as refused:
            if refused.code in _LATER:
                return
            self._end(FAILURE, refused.message)
        except OSError as error:
            self._end(FAILURE, f"{error.filename or 'the Pi'}: {error.strerror}")
        except Cancelled:
            self._action = action.load(self._root)

    def _end(self, state: str, cause: str) -> None:
        """Note how the action ended, and report it."""
        _say(f"version {self._action['version']}: {cause or 'installed'}")
        version = self._action["version"]
        if state == FAILURE and (not version or version != self._ended):
            self._delay_the_next()
        self._note(self._action.changed(state=state, cause=cause))
        self._report_end()

    def _install(self, number: str, deployment: dict[str, Any]) -> None:
        bundle = self._bundle(deployment)
        version = bundle.description.version
        self._action = self._action.changed(version=version)
        bundle.require_fitting()
        if version == action.running_version(self._root, self._action):
            self._end(SUCCESS, "")
            return
        if version == self._ended:
            self._delay_the_next()
        self._mention(number, "download", [f"fetches version {version}"])
        _say(f"fetches version {version}")

        def tell(percent: int) -> None:
            self._tell(number, percent)

        if bundle.changes_system:
            recipe = install.install_system(self._root, bundle, tell)
            self._mention(number, "proceeding", ["restarts into the new version"], percent=100)
            self._note(self._action.changed(state=TRYING, recipe=recipe))
            install.start_trial(self._root, bundle, recipe)
            return
        install.install_containers(self._root, bundle, tell, self._reach)
        containers = bundle.description.containers
        self._action = self._action.changed(containers=containers, containers_version=version)
        self._end(SUCCESS, "")

    def _reach(self) -> None:
        self._server.ask("GET", self._server.base)

    def _tell(self, number: str, percent: int) -> None:
        """Report progress now and then, and look whether the server has cancelled the action."""
        now = time.monotonic()
        if now - self._told < _REPORT_S:
            return
        self._told = now
        if percent != self._percent:
            self._percent = percent
            self._mention(number, "proceeding", [f"Downloaded {percent}%"], percent=percent)
        links = self._server.ask("GET", self._server.base).get("_links")
        if isinstance(links, dict) and "cancelAction" in links:
            self._cancel(links["cancelAction"])
            raise Cancelled

    # --- a server that offers again and again what ended before

    def _is_too_soon(self) -> bool:
        words = read_line(f"{_scratch(self._root)}/again").split()
        if len(words) != 2:
            return False
        return services.uptime(self._root) < float(words[1])

    def _delay_the_next(self) -> None:
        path = f"{_scratch(self._root)}/again"
        words = read_line(path).split()
        count = int(words[0]) if len(words) == 2 else 0
        due = services.uptime(self._root) + min(60 << count, _MOST_S)
        with open(path, "w") as file:
            file.write(f"{min(count + 1, 10)} {due}\n")
