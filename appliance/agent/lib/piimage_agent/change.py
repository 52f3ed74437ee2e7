"""A change of the running containers, which a separate process makes, watches and undoes.

The process survives the SSH session that requested it. It writes its events, one a line, to a file
that the session shows, or another session after the connection was lost. A deploy is kept only
after the tool has confirmed that it still reaches the Pi.
"""

from __future__ import annotations

import abc
import json
import os
import time

from piimage_agent import generations, layers, rehearsal, secrets, services
from piimage_agent.refusal import Refused
from piimage_agent.root import Root, names, read_text, remove_folder
from piimage_agent.settling import Settling

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_KEPT_RUNS = 8
_PAUSE = 0.1
_SHORT_PAUSE = 0.02  # for an answer that is about to come
_UNSET = "no service was stopped: a service could not start"
_UNSTOPPED = "no service was stopped: the rehearsal of a service failed"


class Run(abc.ABC):
    """What a separate process does; its events are in a file of `folder`."""

    def __init__(self, root: Root, folder: str) -> None:
        self.root = root
        self.folder = folder
        self._began = time.monotonic()

    @abc.abstractmethod
    def run(self) -> None:
        """Do it; raise nothing."""

    def end(self, **fields: Any) -> None:  # noqa: ANN401  # fields of a JSON event
        """Write the last event."""
        self.tell("end", **fields)

    def tell(self, event: str, **fields: Any) -> None:  # noqa: ANN401  # likewise
        """Write an event."""
        seconds = round(time.monotonic() - self._began, 2)
        line = json.dumps({"event": event, "seconds": seconds, **fields})
        try:
            with open(f"{self.folder}/events", "a") as file:
                file.write(line + "\n")
        except OSError:
            return  # the watching session times out; the change itself matters more


class Change(Run):
    """A change to the containers of `target`, which is a generation or the slot.

    `wait`: seconds until a service has to be up, in addition to the start period of its check.
    """

    def __init__(self, root: Root, folder: str, target: str, wait: float) -> None:
        super().__init__(root, folder)
        self.target = target
        self.wait = wait
        self.before = generations.running(root)
        self.after = generations.containers_of(root, target)
        self.booted = generations.booted(root)
        self.behind = generations.linked(root, "previous") or generations.SLOT
        self.up = services.names_up(root)
        self.rehearsed: list[str] = []

    def run(self) -> None:
        """Make the change; undo it after any error."""
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001  # no other process would undo it
            self._go_back({}, f"{type(error).__name__}: {error}")

    @abc.abstractmethod
    def _run(self) -> None:
        """Make this kind of change."""

    def _changed(self) -> list[str]:
        """Return the new and the changed services; both layers have to be mounted."""
        old = services.folder_of(self.root, self.before)
        new = services.folder_of(self.root, self.after)
        return services.changed(old, new)

    def _switch(self, *words: str) -> None:
        program = self.root.at("usr/lib/piimage/switch")
        services.call(["switch", *words], program, 300, "switch")

    def _use(self, layer: str) -> None:
        """Replace the containers in use by those of a containers layer."""
        self._switch("--mount", layer)
        self._switch("--use", layer)

    def _keep_target(self) -> None:
        """Make the next boot use the target, and `rollback` lead to the present containers."""
        ran = generations.of_layer(self.root, self.before) or generations.SLOT
        generations.keep(self.root, self.target, ran)

    def _watch(self, fresh: list[str]) -> dict[str, str]:
        """Return what is wrong with which services; the fresh ones may fail at once."""
        bad = {}
        for name in fresh:
            if reason := self._watch_service(name):
                bad[name] = reason
                break
            self.tell("up", service=name)
        if not bad:
            bad = self._settle(fresh)
        known = services.services_in(f"{self.root.run}/containers")
        others = [name for name in self.up if name in known and name not in fresh]
        for name in others if not bad else ():
            if reason := services.wait_up(self.root, name, self.wait):
                bad[name] = f"{reason} (it did before)"
        return bad

    def _watch_service(self, name: str) -> str:
        reason = services.wait_up(self.root, name, self.wait)
        return self._with_log(name, reason) if reason else ""

    def _settle(self, fresh: list[str]) -> dict[str, str]:
        """Wait for a while, in which services without a health check may fail."""
        plain = [name for name in fresh if services.state(self.root, name)["health"] == "running"]
        settling = Settling(self.root, plain, self.rehearsed)
        while settling.names:
            time.sleep(_PAUSE)
            for name in settling.names:
                if reason := services.trouble(services.state(self.root, name)):
                    return {name: self._with_log(name, reason)}
            settling.look()
        return {}

    def _with_log(self, name: str, reason: str) -> str:
        reason = services.verdict(self.root, name) or reason
        lines = services.log_tail(self.root, name, 5)
        return "\n".join([reason, *(f"  {line}" for line in lines)])

    def _go_back(self, bad: dict[str, str], why: str) -> None:
        """Roll back to the previous containers."""
        self.tell("going-back", why=why, bad=bad)
        try:
            message = self._undone()
        except Refused as refused:
            message = f"the rollback failed: {refused.message}"
        if message:
            why = f"{why}; and {message}"
        self.end(ok=False, code="rolled-back", message=why, bad=bad, restored=not message)

    def _undone(self) -> str:
        """Undo the switch as far as it was made; return a message on services that are not back."""
        if generations.running(self.root) != self.before:
            self._use(self.before)
        if generations.booted(self.root) != self.booted:
            generations.keep(self.root, self.booted, self.behind)
        # An interrupted switch has stopped services and started none.
        for name in self.up:
            services.initctl(self.root, "start", name)
        late = [name for name in self.up if services.wait_up(self.root, name, self.wait)]
        self._collect()
        return f"{', '.join(late)} did not start again" if late else ""

    def _collect(self) -> None:
        """Remove unused generations and layers; the next change retries what fails."""
        try:
            generations.collect(self.root)
            layers.unmount_removed(self.root)
        except (OSError, Refused):
            return


class Deploy(Change):
    """A deploy, which is kept only if it is healthy and the tool still reaches the Pi."""

    def __init__(
        self, root: Root, folder: str, target: str, wait: float, confirm: float, *, rehearse: bool
    ) -> None:
        """Take the seconds for the tool's confirmation, and whether to rehearse (`rehearsal`)."""
        super().__init__(root, folder, target, wait)
        self._confirm = confirm
        self._rehearse = rehearse

    def _run(self) -> None:
        try:
            self._switch("--mount", self.after)
            fresh = self._changed()
            if unset := self._unset(fresh):
                self._collect()
                self.end(ok=False, code="rehearsal", message=_UNSET, bad=unset)
                return
            objections = self._rehearsed(fresh) if self._rehearse else {}
            if objections:
                self._collect()
                self.end(ok=False, code="rehearsal", message=_UNSTOPPED, bad=objections)
                return
            self._switch("--use", self.after)
        except Refused as refused:
            self._go_back({}, f"the switch failed: {refused.message}")
            return
        self.tell("switched", changed=fresh)
        if bad := self._watch(fresh):
            self._go_back(bad, "a service is not healthy")
        elif not self._confirmed():
            self._go_back({}, "the deploy was not confirmed, because the connection was lost")
        else:
            self._keep()

    def _unset(self, fresh: list[str]) -> dict[str, str]:
        """Return the changed services that could not start, because a secret has no value."""
        new = services.folder_of(self.root, self.after)
        found = {name: secrets.missing(self.root, new, name) for name in fresh}
        return {name: services.unset(missing) for name, missing in found.items() if missing}

    def _rehearsed(self, fresh: list[str]) -> dict[str, str]:
        """Return what is wrong with the first changed service that fails its rehearsal."""
        for name in fresh:
            # A service that does not work may be replaced without a rehearsal.
            reason = self._objection(name) if name in self.up else None
            if reason:
                return {name: reason}
            if reason is not None:
                self.rehearsed.append(name)
        return {}

    def _objection(self, name: str) -> str | None:
        try:
            return rehearsal.objection(
                self.root, self.before, self.after, name, self.wait,
                lambda: self.tell("rehearsing", service=name),
            )  # fmt: skip
        except (Refused, OSError, ValueError, LookupError, TypeError, AttributeError):
            return None  # no rehearsal was possible: the real start decides

    def _confirmed(self) -> bool:
        """Wait until the tool confirms that it still reaches the Pi."""
        self.tell("healthy")
        end = time.monotonic() + self._confirm
        while not os.path.exists(f"{self.folder}/keep"):
            if time.monotonic() > end:
                return False
            time.sleep(_SHORT_PAUSE)
        return True

    def _keep(self) -> None:
        try:
            self._keep_target()
        except Refused as refused:
            self._go_back({}, f"the deploy cannot be kept: {refused.message}")
        else:
            self._collect()
            self.end(ok=True)


class Rollback(Change):
    """A rollback to a version that was healthy once; it is never undone automatically."""

    def _run(self) -> None:
        try:
            self._use(self.after)
            self._keep_target()
        except Refused as refused:
            self._go_back({}, f"the switch failed: {refused.message}")
            return
        self._collect()
        fresh = self._changed()
        self.tell("switched", changed=fresh)
        if bad := self._watch(fresh):
            self.end(ok=False, code="unhealthy", message="not all services are healthy", bad=bad)
        else:
            self.end(ok=True)


def begin(root: Root, make: Callable[[str], Run], lock: int) -> str:
    """Start a change in a separate process, which takes over the `lock`; return its name.

    `make` gets the folder for the events of the change.
    """
    name = _new_run(root)
    change = make(f"{root.runs}/{name}")
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return name
    try:
        os.setsid()
        if os.fork() == 0:
            _alone(lock)
            change.run()
    except BaseException as error:  # noqa: BLE001  # the last event of this process
        change.end(ok=False, code="internal", message=f"{type(error).__name__}: {error}")
    finally:
        os._exit(0)


def _alone(lock: int) -> None:
    """Close everything that belongs to the session, except for the lock."""
    import signal  # noqa: PLC0415  # slow to import, and only needed here

    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    os.closerange(3, lock)
    os.closerange(lock + 1, 256)


def _new_run(root: Root) -> str:
    os.makedirs(root.runs, mode=0o700, exist_ok=True)
    old = sorted(int(name) for name in names(root.runs) if name.isdigit())
    for number in old[:-_KEPT_RUNS]:
        remove_folder(f"{root.runs}/{number}")
    name = str(max(old, default=0) + 1)
    os.mkdir(f"{root.runs}/{name}", 0o700)
    return name


def require(root: Root, run: str) -> str:
    """Return the folder of a run; raises Refused ``no-run``."""
    if not run.isdigit() or not os.path.isdir(f"{root.runs}/{run}"):
        raise Refused("no-run", f"there is no change {run[:20]!r}")
    return f"{root.runs}/{run}"


def keep(root: Root, run: str) -> None:
    """Confirm a change; raises Refused ``no-run``, ``over``."""
    folder = require(root, run)
    if is_over(folder):
        raise Refused("over", f"change {run} has ended already")
    os.close(os.open(f"{folder}/keep", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def events(folder: str) -> list[dict[str, Any]]:
    """Return the events of a run so far, without an incomplete last line."""
    text = read_text(f"{folder}/events")
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def is_over(folder: str) -> bool:
    """Return whether a run has ended."""
    return any(event["event"] == "end" for event in events(folder))
