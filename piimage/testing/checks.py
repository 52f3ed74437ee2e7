"""The checks of the section `test:`; each is retried until it passes or its timeout ends."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Final

from piimage.config.testing import Check
from piimage.errors import PiimageError
from piimage.testing.report import Outcome
from piimage.testing.sensors import CURRENT, sensor_fault
from piimage.testing.source import RootShell

_RUNC: Final = ("runc", "--root", "/run/containerd/runc/services.linuxkit", "exec")
_STATUS: Final = re.compile(r"HTTP/\d(?:\.\d)? (\d{3})")
_PAUSE: Final = 1.0
_LEAST: Final = 2.0  # seconds, the minimum for each try
_SHOWN: Final = 2000

Lines = Callable[[], Sequence[str]]
Try = Callable[[float], str | None]
"""Takes the seconds for one try; returns the reason of its failure, or None."""


def make_check(check: Check, shell: RootShell | None, console: Lines) -> Outcome:
    """Retry `check` until it passes or its timeout ends.

    `shell` may be None for a check of the console.
    """
    started = time.monotonic()
    attempt = _attempt(check, shell, console)
    previous = ""
    while True:
        left = started + check.timeout - time.monotonic()
        try:
            reason = attempt(max(left, _LEAST))
        except PiimageError as error:
            # The reason of the previous try says more than the timeout of the last one.
            reason = previous if previous and error.code == "run.timeout" else str(error)
        seconds = time.monotonic() - started
        if reason is None:
            return Outcome(check.title, seconds)
        previous = reason
        if seconds + _PAUSE >= check.timeout:
            failure = f"{reason}\n(tried for {check.timeout:g} s)"
            return Outcome(check.title, seconds, failure=failure)
        time.sleep(_PAUSE)


def _attempt(check: Check, shell: RootShell | None, console: Lines) -> Try:
    if check.console is not None:
        text = check.console
        return lambda _: _check_console(check, text, console())
    assert shell is not None  # noqa: S101  # verified before the boot
    board = shell
    if check.http is not None:
        address = check.http
        return lambda timeout: _check_http(check, address, board, timeout)
    if check.sensor is not None:
        return lambda timeout: sensor_fault(check, _current(board, timeout))
    return lambda timeout: _check_run(check, board, timeout)


def _check_console(check: Check, text: str, lines: Sequence[str]) -> str | None:
    matching = [line for line in lines if text in line]
    if not matching:
        last = "\n".join(lines[-10:])
        return f"the console never showed {text!r}; its last lines:\n{last}"
    return output_fault(check, "\n".join(matching))


def _check_run(check: Check, shell: RootShell, timeout: float) -> str | None:
    argv = check.run or ()
    if check.service is not None:
        argv = (*_RUNC, check.service, *argv)
    completed = shell.run(argv, timeout)
    output = (completed.stdout + completed.stderr).decode(errors="replace")
    if completed.status != check.exit_code:
        shown = output[-_SHOWN:]
        return f"the exit code is {completed.status}, not {check.exit_code}; the output:\n{shown}"
    return output_fault(check, output)


def _check_http(check: Check, address: str, shell: RootShell, timeout: float) -> str | None:
    seconds = str(max(1, int(timeout)))
    # A refused connection has no status line; after redirects the last of several counts.
    completed = shell.run(["wget", "-S", "-O", "-", "-T", seconds, address], timeout + 10)
    headers = completed.stderr.decode(errors="replace")
    statuses = _STATUS.findall(headers)
    if not statuses:
        return f"no response:\n{headers.strip()[-_SHOWN:]}"
    if int(statuses[-1]) != check.status:
        return f"the status is {statuses[-1]}, not {check.status}:\n{completed.text[-_SHOWN:]}"
    return output_fault(check, completed.text)


def _current(shell: RootShell, timeout: float) -> str:
    """Return what the service `sensors` publishes now, as JSON; empty if it does not answer."""
    return shell.run(["wget", "-q", "-O", "-", CURRENT], timeout + 10).text


def output_fault(check: Check, output: str) -> str | None:
    """Return the reason why `output` is not what `check` expects, or None."""
    if check.expect is not None and check.expect not in output:
        return f"the output does not contain {check.expect!r}:\n{output[-_SHOWN:]}"
    if check.matches is not None and not re.search(check.matches, output, re.MULTILINE):
        return f"the output does not match {check.matches!r}:\n{output[-_SHOWN:]}"
    return None
