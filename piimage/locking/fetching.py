"""From a lock to made steps: what they need is fetched first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from piimage.lock import Lock
from piimage.locking.inputs import Inputs
from piimage.steps import Builder, Job, Step


def make(steps: Sequence[Step], lock: Lock, inputs: Inputs) -> Job:
    """Make `steps`; the pins of `lock` that they need are fetched first.

    Raises what `fetch` and the steps raise.
    """
    builder = Builder(inputs.store, inputs.runner, inputs.emit)
    fetch(builder.pending(*steps), lock, inputs)
    return builder.build(*steps)


def fetch(steps: Iterable[Step], lock: Lock, inputs: Inputs) -> None:
    """Fetch the packages and wheels of `lock` whose blobs are fields of `steps`.

    Nothing is opened if the store has them all. Raises what `Fetcher.fetch` and
    `WheelFetcher.fetch` raise.
    """
    digests = {blob.sha256 for step in steps for blob in step.blobs()}
    packages = [package for package in lock.packages if package.sha256 in digests]
    wheels = [wheel for wheel in lock.wheels if wheel.sha256 in digests]
    if not all(inputs.store.has(package.blob) for package in packages):
        inputs.fetcher().fetch(packages)
    if not all(inputs.store.has(wheel.blob) for wheel in wheels):
        from piimage.locking.wheels import fetch_wheels  # noqa: PLC0415  # rarely needed

        fetch_wheels(lock, digests, inputs.store, inputs.wheels)
