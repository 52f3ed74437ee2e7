"""A change of what runs: made, watched and undone by a process of its own.

It outlives the SSH session that asked for it. What it does is written, line by line, to a file that
a session shows, or another session after the connection was lost. A deploy counts only once the
tool has confirmed that it still reaches the Pi.
"""

from __future__ import annotations

import json
import os
import time

from piimage_agent import generations, services
from piimage_agent.refusal import Refused
from piimage_agent.root import Root, names, read_text, remove_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KEPT_RUNS = 8
_SETTLE = 3.0
"""Seconds that a service without a health check has to live."""
_PAUSE = 0.1


class Change:
    """One change; `target` is a generation, or the slot."""

    def __init__(
        self, root: Root, folder: str, target: str, wait: float, confirm: float, *, undo: bool
    ) -> None:
        self.root = root
        self.folder = folder
        self.target = target
        self.wait = wait
        self.confirm = confirm
        self.undo = undo
        self._began = time.monotonic()

    def run(self) -> None:
        """Make the change, to its good or bad end."""
        before = services.folder_of(self.root, generations.running(self.root))
        up = [row["name"] for row in services.states(self.root) if services.is_up(row)]
        try:
            self._switch(self.target)
        except Refused as refused:
            self._go_back(before, up, {}, f"the switch failed: {refused.message}")
            return
        after = f"{self.root.run}/containers"
        fresh = services.changed(before, after)
        self._tell("switched", changed=fresh)
        known = services.services_in(after)
        bad = self._watch(fresh, [name for name in up if name in known and name not in fresh])
        if bad and self.undo:
            self._go_back(before, up, bad, "a service is not healthy")
        elif bad:
            self._end(ok=False, code="unhealthy", message="not all services are healthy", bad=bad)
        elif self.undo and not self._confirmed():
            self._go_back(before, up, {}, "nobody confirmed it: the connection was lost")
        else:
            self._keep()

    def _switch(self, *words: str) -> str:
        program = self.root.at("usr/lib/piimage/switch")
        return services.call(["switch", *words], program, 300, "switch")

    def _watch(self, fresh: list[str], others: list[str]) -> dict[str, str]:
        """Return what is wrong with which services; the fresh ones may fail at once."""
        bad = {}
        for name in fresh:
            if said := self._watch_one(name):
                bad[name] = said
                break
            self._tell("up", service=name)
        if not bad:
            bad = self._settle(fresh)
        for name in others if not bad else ():
            if said := services.wait_up(self.root, name, self.wait):
                bad[name] = f"{said} (it did before)"
        return bad

    def _watch_one(self, name: str) -> str:
        said = services.wait_up(self.root, name, self.wait)
        return self._with_log(name, said) if said else ""

    def _settle(self, fresh: list[str]) -> dict[str, str]:
        """Give services that have no health check a while to fall over."""
        end = time.monotonic() + _SETTLE
        plain = [name for name in fresh if services.state(self.root, name)["health"] == "running"]
        while plain and time.monotonic() < end:
            time.sleep(_PAUSE)
            for name in plain:
                if said := services.trouble(services.state(self.root, name)):
                    return {name: self._with_log(name, said)}
        return {}

    def _with_log(self, name: str, said: str) -> str:
        said = services.verdict(self.root, name) or said
        lines = services.log_tail(self.root, name, 5)
        return "\n".join([said, *(f"  {line}" for line in lines)])

    def _confirmed(self) -> bool:
        """Wait until the tool says that it still reaches us."""
        self._tell("healthy")
        end = time.monotonic() + self.confirm
        while not os.path.exists(f"{self.folder}/keep"):
            if time.monotonic() > end:
                return False
            time.sleep(_PAUSE)
        return True

    def _keep(self) -> None:
        try:
            if self.target != generations.SLOT:
                self._switch("--good", self.target)
            count, size = generations.collect(self.root)
        except (Refused, OSError) as error:
            self._end(ok=False, code="not-kept", message=f"it runs, but cannot be kept: {error}")
            return
        self._end(ok=True, collected=count, freed=size)

    def _go_back(self, before: str, up: list[str], bad: dict[str, str], why: str) -> None:
        """Return to the folder `before`, where the services `up` were up."""
        self._tell("going-back", why=why, bad=bad)
        try:
            message = self._undone(before, up)
        except Refused as refused:
            message = f"going back failed: {refused.message}"
        if message:
            why = f"{why}; and {message}"
        self._end(ok=False, code="rolled-back", message=why, bad=bad, restored=not message)

    def _undone(self, before: str, up: list[str]) -> str:
        """Undo the switch, as far as it came; return what is not as it was, in words."""
        if services.folder_of(self.root, generations.running(self.root)) != before:
            self._switch("--back")
        for name in up:
            # A switch that ended in the middle has stopped services and started none.
            if services.state(self.root, name)["state"] == "stopped":
                services.initctl(self.root, "start", name)
        late = [name for name in up if services.wait_up(self.root, name, self.wait)]
        generations.collect(self.root)
        return f"{', '.join(late)} did not come back" if late else ""

    def _end(self, **said: Any) -> None:  # noqa: ANN401  # what the tool is told, as JSON
        self._tell("end", **said)

    def _tell(self, event: str, **said: Any) -> None:  # noqa: ANN401  # likewise
        seconds = round(time.monotonic() - self._began, 2)
        line = json.dumps({"event": event, "seconds": seconds, **said})
        with open(f"{self.folder}/events", "a") as file:
            file.write(line + "\n")


def begin(root: Root, target: str, wait: float, confirm: float, *, undo: bool, lock: int) -> str:
    """Start a change in a process of its own, and return its name; it takes the `lock` along."""
    name = _new_run(root)
    folder = f"{root.runs}/{name}"
    change = Change(root, folder, target, wait, confirm, undo=undo)
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return name
    try:
        os.setsid()
        if os.fork() == 0:
            _alone(lock)
            change.run()
    except BaseException as error:  # noqa: BLE001  # the last words of a process of its own
        change._end(ok=False, code="internal", message=f"{type(error).__name__}: {error}")
    finally:
        os._exit(0)


def _alone(lock: int) -> None:
    """Let go of all that belongs to the session, but for the lock."""
    import signal  # noqa: PLC0415  # dear, and only needed here

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
        raise Refused("no-run", f"there is no change {run[:20]!r} here")
    return f"{root.runs}/{run}"


def keep(root: Root, run: str) -> None:
    """Confirm a change; raises Refused ``no-run``, ``over``."""
    folder = require(root, run)
    if is_over(folder):
        raise Refused("over", f"change {run} has ended already")
    os.close(os.open(f"{folder}/keep", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def events(folder: str) -> list[dict[str, Any]]:
    """Return what a run has told so far; a line that is being written is left out."""
    text = read_text(f"{folder}/events")
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def is_over(folder: str) -> bool:
    """Tell whether a run has come to its end."""
    return any(one["event"] == "end" for one in events(folder))
