"""Deploys to many targets: canaries first, then the rest; stops after too many failures."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from piimage.errors import PiimageError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

UNREACHED: Final = frozenset(
    {"deploy.no-connection", "deploy.no-login", "deploy.host-key", "deploy.no-agent"}
)
"""Errors of hosts that were not reached, which do not count as failures of the version."""


class Named(Protocol):
    """Anything that has a name."""

    @property
    def name(self) -> str:
        """The user's name for it."""


N = TypeVar("N", bound=Named)


@dataclass(frozen=True)
class Policy:
    """The limits of a roll-out."""

    canary: int = 0
    """Number of targets to deploy to first; a failure on one of them stops the roll-out."""
    parallel: int = 8
    """Number of targets to work on at the same time."""
    max_failures: int | None = 0
    """Number of failures after which no further target is started; None: no limit."""


@dataclass(frozen=True)
class Result(Generic[T_co]):
    """The result for one target: an outcome, an error, or neither if it was skipped."""

    name: str
    outcome: T_co | None = None
    error: PiimageError | None = None

    @property
    def skipped(self) -> bool:
        """Whether the roll-out stopped before this target."""
        return self.outcome is None and self.error is None

    @property
    def reached(self) -> bool:
        """Whether the version was tested on the target."""
        return not self.skipped and (self.error is None or self.error.code not in UNREACHED)


def roll_out(
    targets: Sequence[N],
    work: Callable[[N], T],
    policy: Policy,
    cancelled: threading.Event,
    listen: Callable[[Result[T]], None] = lambda result: None,
) -> tuple[Result[T], ...]:
    """Do `work` on the targets within the policy, and return the results in the same order.

    A PiimageError of `work` concerns only its target. The next target replaces a canary that cannot
    be reached. KeyboardInterrupt sets `cancelled`, upon which `work` has to end soon, and is raised
    again.
    """
    results: dict[int, Result[T]] = {}
    waiting = list(range(len(targets)))
    with ThreadPoolExecutor(max(1, policy.parallel)) as pool:

        def run(numbers: Sequence[int], limit: int | None) -> None:
            for number, result in _run(pool, targets, numbers, work, limit, policy.parallel):
                results[number] = result
                listen(result)

        try:
            while waiting and _successes(results) < policy.canary:
                first = waiting[: policy.canary - _successes(results)]
                waiting = waiting[len(first) :]
                run(first, 0)
                if any(results[n].error and results[n].reached for n in first if n in results):
                    waiting = []
            run(waiting, policy.max_failures)
        except KeyboardInterrupt:
            cancelled.set()
            raise
    return tuple(results.get(number, Result(target.name)) for number, target in enumerate(targets))


def _successes(results: dict[int, Result[T]]) -> int:
    return sum(result.outcome is not None for result in results.values())


def _run(
    pool: ThreadPoolExecutor,
    targets: Sequence[N],
    numbers: Sequence[int],
    work: Callable[[N], T],
    limit: int | None,
    parallel: int,
) -> Iterator[tuple[int, Result[T]]]:
    """Yield results as they arrive; start no target after more than `limit` failures."""
    waiting = list(numbers)
    running: dict[Future[Result[T]], int] = {}
    failures = 0
    while waiting or running:
        while waiting and len(running) < parallel:
            number = waiting.pop(0)
            running[pool.submit(_result_of, targets[number], work)] = number
        # With a timeout, so that Ctrl-C is noticed at once.
        done, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
        for future in done:
            result = future.result()
            failures += result.error is not None and result.reached
            yield running.pop(future), result
        if limit is not None and failures > limit:
            waiting = []


def _result_of(target: N, work: Callable[[N], T]) -> Result[T]:
    try:
        return Result(target.name, work(target))
    except PiimageError as error:
        return Result(target.name, error=error)
