"""The verb `test`: boot, wait for the services, make the checks."""

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
from piimage.testing.services import broken, wait_for_boot, wait_for_services
from piimage.testing.shell import Shell, card_with, new_key, require_shell, sealed


def require_testable(appliance: Appliance, board: Board) -> None:
    """Raise what would stop the test before a build is spent on it.

    InputError ``emulator.no-machine``, ``testing.no-shell``.
    """
    emulator_of(board)
    if _needs_shell(plan_of(appliance)):
        require_shell(appliance, board)


def plan_of(appliance: Appliance) -> TestPlan:
    """Return the section `test:`, or that which only waits for the services."""
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
    """Boot `image` and return what became of every service and every check.

    `timeout` (seconds, for the services) stands in for the file's. The system's own lines are known
    by `seal`: without it, by a word that nobody can guess. Checks are skipped when a service did
    not come up. Raises as `require_testable` and `boot`.
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
                return _watched(appliance, plan, _Watch(session, seal), None, limit)
        key, public = new_key(runner, folder)
        card = card_with(runner, image, board, folder, {**files, **public})
        with boot(card, board, runner, Options(ssh_port=0), listen=listen) as session:
            assert session.ssh_port is not None  # noqa: S101  # asked for
            shell = Shell(runner, key, session.ssh_port)
            return _watched(appliance, plan, _Watch(session, seal), shell, limit)


@dataclass(frozen=True)
class _Watch:
    """A machine that runs, and how its system's own lines are known."""

    session: Session
    seal: str


def _watched(
    appliance: Appliance, plan: TestPlan, watch: _Watch, shell: Shell | None, limit: float
) -> tuple[Outcome, ...]:
    session, seal = watch.session, watch.seal
    names = [entry.name for entry in appliance.services]
    found = [wait_for_boot(session, seal, limit)]
    why = "it did not boot" if failures(found) else None
    if why is None:
        left = max(0.0, limit - session.seconds())
        found += wait_for_services(session, seal, names, left)
        why = "a service is not up" if failures(found) else None
    seen = len(session.lines())
    if why is None and shell is not None:
        found.append(_entered(shell, limit))
        why = "nobody can log in" if failures(found) else None
    checks = tuple(_checked(plan.checks, shell, session, why))
    return (*_still_up(found, names, watch, seen), *checks)


def _entered(shell: Shell, limit: float) -> Outcome:
    began = time.monotonic()
    try:
        shell.wait(limit)
    except PiimageError as error:
        return Outcome("log in over SSH", time.monotonic() - began, failure=str(error))
    return Outcome("log in over SSH", time.monotonic() - began)


def _checked(
    checks: tuple[Check, ...], shell: Shell | None, session: Session, why: str | None
) -> Iterator[Outcome]:
    for check in checks:
        if why is not None:
            yield Outcome(check.title, 0.0, skipped=why)
        else:
            yield make_check(check, shell, session.lines)


def _still_up(
    found: list[Outcome], names: list[str], watch: _Watch, seen: int
) -> Iterator[Outcome]:
    """Give what was `found`; a service that broke while the checks were made has failed."""
    titles = {f"service {name} is up": name for name in names}
    later = watch.session.lines()[seen:]
    for one in found:
        told = broken(later, watch.seal, titles[one.name]) if one.name in titles else None
        if told is not None and one.failure is None:
            yield replace(one, failure=f"it was up, and then: {told}")
        else:
            yield one
