"""The facts about an emulated board: the console, where only sealed lines are the system's own.

appliance/README.md, "What is printed on the console", has the lines. Services print on the
console, too. Only a line that begins with the seal is the system's own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from piimage.deploy.text import printable
from piimage.emulator.session import Session
from piimage.errors import PiimageError
from piimage.testing.source import Restarted, RootShell, State

_PATIENCE: Final = 60.0  # seconds
_RESTART: Final = r"\[emulator\] restart \d+: \w+[^\n]*\n"
"""A line of `emulator.life`: no seal marks the system's lines after it."""


@dataclass(frozen=True)
class Emulated:
    """A running machine, the mark of the system's own lines, and a login for what else is asked."""

    session: Session
    seal: str
    shell: RootShell | None = None

    @property
    def _state_line(self) -> re.Pattern[str]:
        """The pattern of a complete line in which the system reports a service's state.

        The line begins with the seal, because later text may quote the service's own output.
        """
        return re.compile(rf"\[{re.escape(self.seal)}\] piimage: service (\S+): ([^\n]*)\n")

    def seconds(self) -> float:
        """Return the wall seconds since QEMU's start."""
        return self.session.seconds()

    def wait_for_boot(self, timeout: float) -> None:
        """Wait for the phase `services`; raises the errors of `Session.wait_for`."""
        try:
            self.session.wait_for(f"[{self.seal}] piimage: phase services\n", timeout)
        except PiimageError as error:
            raise PiimageError(error.code, error.message) from None  # the hint is for `piimage run`

    def next_state(self, timeout: float) -> State | None:
        """Return the next state that the console shows (see `Source`)."""
        state_line = self._state_line
        pattern = re.compile(f"(?:{state_line.pattern})|(?:{_RESTART})")
        try:
            line = self.session.wait_for(pattern, timeout)
        except PiimageError as error:
            if error.code != "emulator.timeout":
                raise
            return None
        match = state_line.fullmatch(line)
        if match is None:
            raise Restarted(f"the machine restarted: {line.strip()}")
        return State(*match.groups())

    def states(self) -> Sequence[State]:
        """Return all states that the console has shown."""
        found = (self._state_line.search(f"{line}\n") for line in self.lines())
        return [State(*match.groups()) for match in found if match]

    def lines(self) -> Sequence[str]:
        """Return the lines of the console."""
        return [line.text for line in self.session.lines()]

    def last_words(self, service: str) -> str:
        """Return the last line of the service's log, or of the console if nobody can log in."""
        if self.shell is not None and (logged := _last_line(self.shell, service)):
            return f"its log ends with: {logged}"
        lines = self.lines()
        return f"the console's last line: {lines[-1]}" if lines else ""


def _last_line(shell: RootShell, service: str) -> str:
    """Return the last line of a service's log; empty if there is none or no answer."""
    try:
        ended = shell.run(["tail", "-n", "1", f"/var/log/services/{service}/log"], _PATIENCE)
    except PiimageError:
        return ""
    return printable(ended.stdout.decode(errors="replace").strip())
