"""The checks of the section `test:`, each tried until it passes or its time is over."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Final

from piimage.config.testing import Check
from piimage.emulator.console import Line
from piimage.errors import PiimageError
from piimage.testing.report import Outcome
from piimage.testing.shell import Shell

_RUNC: Final = ("runc", "--root", "/run/containerd/runc/services.linuxkit", "exec")
_STATUS: Final = re.compile(r"HTTP/\d(?:\.\d)? (\d{3})")
_PAUSE: Final = 1.0
_LEAST: Final = 2.0  # seconds that even the last try gets
_SHOWN: Final = 2000

Lines = Callable[[], Sequence[Line]]
Try = Callable[[float], str | None]
"""One try within so many seconds: why it failed, or None."""


def make_check(check: Check, shell: Shell | None, console: Lines) -> Outcome:
    """Try `check` until it passes or its timeout is over.

    `shell` may be None for a check of the console.
    """
    began = time.monotonic()
    attempt = _attempt(check, shell, console)
    reason = ""
    while True:
        left = began + check.timeout - time.monotonic()
        try:
            why = attempt(max(left, _LEAST))
        except PiimageError as error:
            # A last try that was cut short says less than the one before it.
            why = reason if reason and error.code == "run.timeout" else str(error)
        seconds = time.monotonic() - began
        if why is None:
            return Outcome(check.title, seconds)
        reason = why
        if seconds + _PAUSE >= check.timeout:
            return Outcome(check.title, seconds, failure=f"{why}\n(tried for {check.timeout:g} s)")
        time.sleep(_PAUSE)


def _attempt(check: Check, shell: Shell | None, console: Lines) -> Try:
    if check.console is not None:
        text = check.console
        return lambda _: _look(check, text, console())
    assert shell is not None  # noqa: S101  # required before anything is booted
    there = shell
    if check.http is not None:
        address = check.http
        return lambda timeout: _ask(check, address, there, timeout)
    return lambda timeout: _run(check, there, timeout)


def _look(check: Check, text: str, lines: Sequence[Line]) -> str | None:
    found = [line.text for line in lines if text in line.text]
    if not found:
        last = "\n".join(line.text for line in lines[-10:])
        return f"the console never showed {text!r}; its last lines:\n{last}"
    return answer_fault(check, "\n".join(found))


def _run(check: Check, shell: Shell, timeout: float) -> str | None:
    argv = check.run or ()
    if check.service is not None:
        argv = (*_RUNC, check.service, *argv)
    done = shell.run(argv, timeout)
    answer = (done.stdout + done.stderr).decode(errors="replace")
    if done.status != check.exit_code:
        return f"it exited with {done.status}, not {check.exit_code}, and said:\n{answer[-_SHOWN:]}"
    return answer_fault(check, answer)


def _ask(check: Check, address: str, shell: Shell, timeout: float) -> str | None:
    within = str(max(1, int(timeout)))
    # One that refuses the connection has no status line; of several (redirects) the last counts.
    done = shell.run(["wget", "-S", "-O", "-", "-T", within, address], timeout + 10)
    said = done.stderr.decode(errors="replace")
    statuses = _STATUS.findall(said)
    if not statuses:
        return f"no answer:\n{said.strip()[-_SHOWN:]}"
    if int(statuses[-1]) != check.status:
        return f"its status is {statuses[-1]}, not {check.status}:\n{done.text[-_SHOWN:]}"
    return answer_fault(check, done.text)


def answer_fault(check: Check, answer: str) -> str | None:
    """Return why `answer` is not what `check` expects, or None."""
    if check.expect is not None and check.expect not in answer:
        return f"the answer does not contain {check.expect!r}:\n{answer[-_SHOWN:]}"
    if check.matches is not None and not re.search(check.matches, answer, re.MULTILINE):
        return f"nothing in the answer matches {check.matches!r}:\n{answer[-_SHOWN:]}"
    return None
