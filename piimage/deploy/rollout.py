"""Many targets at once: canaries first, then the rest, and no further once it goes wrong."""

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
"""Errors of a host that was never reached: they say nothing against what is rolled out."""


class Named(Protocol):
    """Whatever has a name."""

    @property
    def name(self) -> str:
        """What the user calls it."""


N = TypeVar("N", bound=Named)


@dataclass(frozen=True)
class Policy:
    """How careful a roll-out is."""

    canary: int = 0
    """So many targets go first; if the version fails on one, no other gets it."""
    parallel: int = 8
    """So many targets are worked on at once."""
    max_failures: int | None = 0
    """When it fails on more than so many, no further target is begun; None: it never stops."""


@dataclass(frozen=True)
class Result(Generic[T_co]):
    """What became of one target: an outcome, an error, or neither, if it was never begun."""

    name: str
    outcome: T_co | None = None
    error: PiimageError | None = None

    @property
    def skipped(self) -> bool:
        """Whether the roll-out stopped before this target."""
        return self.outcome is None and self.error is None

    @property
    def reached(self) -> bool:
        """Whether the version itself was put to the test."""
        return not self.skipped and (self.error is None or self.error.code not in UNREACHED)


def roll_out(
    targets: Sequence[N],
    work: Callable[[N], T],
    policy: Policy,
    cancelled: threading.Event,
    listen: Callable[[Result[T]], None] = lambda result: None,
) -> tuple[Result[T], ...]:
    """Do `work` on the targets under the policy, and return the results in their order.

    `work` raises PiimageError for one target alone. A canary that cannot be reached is replaced by
    the next target. On KeyboardInterrupt `cancelled` is set, `work` is expected to end soon, and
    the interrupt passes through.
    """
    results: dict[int, Result[T]] = {}
    waiting = list(range(len(targets)))
    with ThreadPoolExecutor(max(1, policy.parallel)) as pool:

        def run(numbers: Sequence[int], limit: int | None) -> None:
            for number, result in _worked(pool, targets, numbers, work, limit, policy.parallel):
                results[number] = result
                listen(result)

        try:
            while waiting and _proven(results) < policy.canary:
                first = waiting[: policy.canary - _proven(results)]
                waiting = waiting[len(first) :]
                run(first, 0)
                if any(results[n].error and results[n].reached for n in first if n in results):
                    waiting = []
            run(waiting, policy.max_failures)
        except KeyboardInterrupt:
            cancelled.set()
            raise
    return tuple(results.get(number, Result(one.name)) for number, one in enumerate(targets))


def _proven(results: dict[int, Result[T]]) -> int:
    return sum(result.outcome is not None for result in results.values())


def _worked(
    pool: ThreadPoolExecutor,
    targets: Sequence[N],
    numbers: Sequence[int],
    work: Callable[[N], T],
    limit: int | None,
    parallel: int,
) -> Iterator[tuple[int, Result[T]]]:
    """Give results as they come; begin no more once more than `limit` have failed."""
    waiting = list(numbers)
    running: dict[Future[Result[T]], int] = {}
    failures = 0
    while waiting or running:
        while waiting and len(running) < parallel:
            number = waiting.pop(0)
            running[pool.submit(_one, targets[number], work)] = number
        # Slices, so that Ctrl-C is noticed at once.
        done, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
        for future in done:
            result = future.result()
            failures += result.error is not None and result.reached
            yield running.pop(future), result
        if limit is not None and failures > limit:
            waiting = []


def _one(target: N, work: Callable[[N], T]) -> Result[T]:
    try:
        return Result(target.name, work(target))
    except PiimageError as error:
        return Result(target.name, error=error)
