"""The verb `test`: boot, wait for the services, run the checks."""

from __future__ import annotations

import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from piimage.board import Board
from piimage.card.ext4 import DataFile
from piimage.config.models import Appliance
from piimage.config.testing import TestPlan
from piimage.deploy.hosts import Host
from piimage.deploy.ssh import Ssh
from piimage.emulator.machine import emulator_of
from piimage.emulator.session import Options, boot
from piimage.errors import InputError, PiimageError
from piimage.run import Runner
from piimage.testing.checks import make_check
from piimage.testing.emulated import Emulated
from piimage.testing.pi import Pi, PiShell
from piimage.testing.report import Outcome, failures
from piimage.testing.services import failed_state, wait_for_boot, wait_for_services
from piimage.testing.shell import (
    Shell,
    card_with,
    new_key,
    require_shell,
    sealed,
    wait_for_shell,
)
from piimage.testing.source import RootShell, Source, State


def require_testable(appliance: Appliance, board: Board) -> None:
    """Raise an error before the build if the test could not run.

    Raises InputError ``emulator.no-machine``, ``testing.no-shell``.
    """
    emulator_of(board)
    if _needs_shell(plan_of(appliance)):
        require_shell(appliance, board)


def plan_of(appliance: Appliance) -> TestPlan:
    """Return the section `test:`, or the default, which only waits for the services."""
    return appliance.test or TestPlan()


def _needs_shell(plan: TestPlan) -> bool:
    return any(check.console is None for check in plan.checks)


def verify(
    appliance: Appliance,
    board: Board,
    image: Path,
    runner: Runner,
    *,
    timeout: float | None = None,
    seal: str | None = None,
    listen: Callable[[bytes], None] = lambda data: None,
    files: Mapping[str, DataFile] = {},
) -> tuple[Outcome, ...]:
    """Boot `image` and return the outcome of every service and every check.

    `timeout` (seconds, for the services) overrides the file's. `seal` marks the system's own lines
    on the console; the default is random. `files` are put on the data partition. Checks are skipped
    if a service is not up. Raises the errors of `require_testable` and `boot`.
    """
    require_testable(appliance, board)
    plan = plan_of(appliance)
    limit = plan.timeout if timeout is None else timeout
    seal = seal or secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="piimage-") as name:
        folder, files = Path(name), {**files, **sealed(seal)}
        if not _needs_shell(plan):
            card = card_with(runner, image, board, folder, files)
            with boot(card, board, runner, listen=listen) as session:
                return _outcomes(appliance, Emulated(session, seal), None, limit)
        key, public = new_key(runner, folder)
        card = card_with(runner, image, board, folder, {**files, **public})
        with boot(card, board, runner, Options(ssh_port=0), listen=listen) as session:
            assert session.ssh_port is not None  # noqa: S101  # requested by the options
            shell = Shell(runner, key, session.ssh_port)
            return _outcomes(appliance, Emulated(session, seal, shell), shell, limit)


def verify_pi(
    appliance: Appliance, ssh: Ssh, host: Host, *, timeout: float | None = None
) -> tuple[Outcome, ...]:
    """Return the outcome of every service and every check on a Pi that runs `appliance`.

    `timeout` is as in `verify`. Raises InputError ``testing.no-agent`` for a Docker engine.
    """
    if host.engine is not None:
        raise InputError(
            "testing.no-agent", "the checks need a Pi that runs piimage's system",
            place=host.name, hint="name the Pi as [USER@]HOST[:PORT]",
        )  # fmt: skip
    plan = plan_of(appliance)
    limit = plan.timeout if timeout is None else timeout
    shell = PiShell(ssh, host) if _needs_shell(plan) else None
    return _outcomes(appliance, Pi(appliance, ssh, host, threading.Event()), shell, limit)


def _outcomes(
    appliance: Appliance, source: Source, shell: RootShell | None, limit: float
) -> tuple[Outcome, ...]:
    names = [entry.name for entry in appliance.services]
    outcomes = [wait_for_boot(source, limit)]
    if failures(outcomes):
        return (*outcomes, *_skipped(appliance, "the system did not boot"))
    left = max(0.0, limit - source.seconds())
    outcomes += wait_for_services(source, names, left)
    if failures(outcomes):
        return (*outcomes, *_skipped(appliance, "a service is not up"))
    count = len(source.states())
    if shell is not None:
        outcomes.append(_log_in(shell, limit))
        if failures(outcomes):
            return (*outcomes, *_skipped(appliance, "the login over SSH failed"))
    checks = [make_check(check, shell, source.lines) for check in plan_of(appliance).checks]
    return (*_still_up(outcomes, names, source.states()[count:]), *checks)


def _skipped(appliance: Appliance, obstacle: str) -> Iterator[Outcome]:
    for check in plan_of(appliance).checks:
        yield Outcome(check.title, 0.0, skipped=obstacle)


def _log_in(shell: RootShell, limit: float) -> Outcome:
    started = time.monotonic()
    try:
        wait_for_shell(shell, limit)
    except PiimageError as error:
        return Outcome("log in over SSH", time.monotonic() - started, failure=str(error))
    return Outcome("log in over SSH", time.monotonic() - started)


def _still_up(
    outcomes: Sequence[Outcome], names: Sequence[str], later: Sequence[State]
) -> Iterator[Outcome]:
    """Give the outcomes; a service that failed in one of the states `later` has failed."""
    titles = {f"service {name} is up": name for name in names}
    for outcome in outcomes:
        name = titles.get(outcome.name)
        state = None if name is None else failed_state(later, name)
        if state is not None and outcome.failure is None:
            yield replace(outcome, failure=f"it was up, and then: {state}")
        else:
            yield outcome
