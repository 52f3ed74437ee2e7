"""The verb `test`: boot, wait for the services, run the checks."""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from piimage.boards import Board
from piimage.config.models import Appliance
from piimage.config.testing import Check, TestPlan
from piimage.emulator.machine import emulator_of
from piimage.emulator.session import Options, Session, boot
from piimage.errors import PiimageError
from piimage.run import Runner
from piimage.testing.checks import make_check
from piimage.testing.report import Outcome, failures
from piimage.testing.services import failed_state, wait_for_boot, wait_for_services
from piimage.testing.shell import Shell, card_with, new_key, require_shell, sealed


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
) -> tuple[Outcome, ...]:
    """Boot `image` and return the outcome of every service and every check.

    `timeout` (seconds, for the services) overrides the file's. `seal` marks the system's own lines
    on the console; the default is random. Checks are skipped if a service is not up. Raises the
    errors of `require_testable` and `boot`.
    """
    require_testable(appliance, board)
    plan = plan_of(appliance)
    limit = plan.timeout if timeout is None else timeout
    seal = seal or secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="piimage-") as name:
        folder, files = Path(name), sealed(seal)
        if not _needs_shell(plan):
            card = card_with(runner, image, board, folder, files)
            with boot(card, board, runner, listen=listen) as session:
                return _outcomes(appliance, plan, _Watch(session, seal), None, limit)
        key, public = new_key(runner, folder)
        card = card_with(runner, image, board, folder, {**files, **public})
        with boot(card, board, runner, Options(ssh_port=0), listen=listen) as session:
            assert session.ssh_port is not None  # noqa: S101  # requested by the options
            shell = Shell(runner, key, session.ssh_port)
            return _outcomes(appliance, plan, _Watch(session, seal), shell, limit)


@dataclass(frozen=True)
class _Watch:
    """A running machine, and the mark of the system's own lines."""

    session: Session
    seal: str


def _outcomes(
    appliance: Appliance, plan: TestPlan, watch: _Watch, shell: Shell | None, limit: float
) -> tuple[Outcome, ...]:
    session, seal = watch.session, watch.seal
    names = [entry.name for entry in appliance.services]
    outcomes = [wait_for_boot(session, seal, limit)]
    obstacle = "the system did not boot" if failures(outcomes) else None
    if obstacle is None:
        left = max(0.0, limit - session.seconds())
        outcomes += wait_for_services(session, seal, names, left)
        obstacle = "a service is not up" if failures(outcomes) else None
    line_count = len(session.lines())
    if obstacle is None and shell is not None:
        outcomes.append(_log_in(shell, limit))
        obstacle = "the login over SSH failed" if failures(outcomes) else None
    checks = tuple(_run_checks(plan.checks, shell, session, obstacle))
    return (*_still_up(outcomes, names, watch, line_count), *checks)


def _log_in(shell: Shell, limit: float) -> Outcome:
    started = time.monotonic()
    try:
        shell.wait(limit)
    except PiimageError as error:
        return Outcome("log in over SSH", time.monotonic() - started, failure=str(error))
    return Outcome("log in over SSH", time.monotonic() - started)


def _run_checks(
    checks: tuple[Check, ...], shell: Shell | None, session: Session, obstacle: str | None
) -> Iterator[Outcome]:
    for check in checks:
        if obstacle is not None:
            yield Outcome(check.title, 0.0, skipped=obstacle)
        else:
            yield make_check(check, shell, session.lines)


def _still_up(
    outcomes: list[Outcome], names: list[str], watch: _Watch, line_count: int
) -> Iterator[Outcome]:
    """Give the outcomes; a service that failed after the first `line_count` lines has failed."""
    titles = {f"service {name} is up": name for name in names}
    later = watch.session.lines()[line_count:]
    for outcome in outcomes:
        name = titles.get(outcome.name)
        state = None if name is None else failed_state(later, watch.seal, name)
        if state is not None and outcome.failure is None:
            yield replace(outcome, failure=f"it was up, and then: {state}")
        else:
            yield outcome
