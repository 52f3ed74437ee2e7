"""A build is a graph of steps; a step is a frozen dataclass whose fields are all its inputs.

The key of a step is a hash of its class, the code that its module imports, and its fields (a field
that is a step counts by that step's key). A step is skipped if the store remembers outputs for its
key.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import time
import uuid
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel

from piimage import code, events
from piimage.packers import identity
from piimage.run import Runner
from piimage.store import Blob, Store


@dataclass(frozen=True)
class Step:
    """One step of a build: it makes blobs from its fields.

    A subclass is a frozen dataclass: its fields are plain data (str, int, bool, None, bytes, Blob,
    tuples, mappings, frozen dataclasses and models) and other steps. `tools` names the programs of
    this host that affect its bytes.
    """

    tools: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def title(self) -> str:
        """The name of the work, for the progress display."""

    @abstractmethod
    def make(self, job: Job) -> Mapping[str, Blob]:
        """Make the outputs from the fields alone; return them by name."""

    @functools.cached_property
    def key(self) -> str:
        """The digest of everything that affects the outputs."""
        fields = {
            field.name: plain(getattr(self, field.name)) for field in dataclasses.fields(self)
        }
        description = {
            "step": type(self).__qualname__,
            "code": code.digest(type(self).__module__),
            "fields": fields,
            "tools": [identity(name) for name in self.tools],
        }
        return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()

    def needs(self) -> tuple[Step, ...]:
        """Return the steps among the fields."""
        steps = {leaf.key: leaf for leaf in _fields(self) if isinstance(leaf, Step)}
        return tuple(steps.values())

    def blobs(self) -> tuple[Blob, ...]:
        """Return the blobs among the fields: they must be in the store before `make`."""
        return tuple(dict.fromkeys(leaf for leaf in _fields(self) if isinstance(leaf, Blob)))


@dataclass(frozen=True)
class Job:
    """What a step may use in `make`."""

    store: Store
    runner: Runner
    emit: events.Listener
    made: Mapping[str, Mapping[str, Blob]]

    def blob(self, step: Step, name: str = "") -> Blob:
        """Return the output `name` of a step among the fields (default: its first output)."""
        outputs = self.made[step.key]
        return outputs[name] if name else next(iter(outputs.values()))

    def file(self, step: Step, name: str = "") -> Path:
        """Return the verified path of the output `name` of `step`."""
        return self.store.verified(self.blob(step, name))


def plain(value: object) -> Any:  # noqa: ANN401  # JSON has no better type
    """Return `value` as JSON data; equal values, and only those, give equal data."""
    if isinstance(value, Step):
        return {"step": value.key}
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, bytes):
        return {"bytes": hashlib.sha256(value).hexdigest()}
    if isinstance(value, tuple | list | frozenset):
        items = [plain(item) for item in value]
        return sorted(items, key=json.dumps) if isinstance(value, frozenset) else items
    if isinstance(value, BaseModel) and value.model_config.get("frozen"):
        value = dict(value)
    if isinstance(value, Mapping):
        return {"map": {str(name): plain(item) for name, item in value.items()}}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    raise TypeError(f"a step cannot have a field of type {type(value).__name__}")


def _leaves(value: object) -> Iterator[object]:
    """Yield the steps, blobs and plain values in `value`, but not those inside of steps."""
    if isinstance(value, tuple | list):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, Step | Blob) or not dataclasses.is_dataclass(value):
        yield value
    else:
        yield from _fields(value)


def _fields(value: Any) -> Iterator[object]:  # noqa: ANN401  # any dataclass
    for field in dataclasses.fields(value):
        yield from _leaves(getattr(value, field.name))


@dataclass(frozen=True)
class Builder:
    """Makes the steps whose outputs the store lacks: in parallel, and each once."""

    store: Store
    runner: Runner
    emit: events.Listener = events.ignore
    workers: int = 2

    def pending(self, *targets: Step) -> tuple[Step, ...]:
        """Return the steps that `build` would make."""
        waiting: dict[str, Step] = {}
        for target in targets:
            self._plan(target, {}, waiting)
        return tuple(waiting.values())

    def build(self, *targets: Step) -> Job:
        """Make `targets` and the steps that they need; the returned job has their outputs."""
        made: dict[str, Mapping[str, Blob]] = {}
        waiting: dict[str, Step] = {}
        for target in targets:
            self._plan(target, made, waiting)
        job = Job(self.store, self.runner, self.emit, made)
        if waiting:
            self._make_all(waiting, made, job)
        return job

    def _plan(
        self, step: Step, made: dict[str, Mapping[str, Blob]], waiting: dict[str, Step]
    ) -> None:
        if step.key in made or step.key in waiting:
            return
        outputs = self.store.recall(step.key)
        if outputs is not None:
            made[step.key] = outputs
            return
        waiting[step.key] = step
        for need in step.needs():
            self._plan(need, made, waiting)

    def _make_all(
        self, waiting: dict[str, Step], made: dict[str, Mapping[str, Blob]], job: Job
    ) -> None:
        running: dict[Future[Mapping[str, Blob]], Step] = {}
        with ThreadPoolExecutor(self.workers) as pool:
            try:
                while waiting or running:
                    for step in _ready(waiting, made):
                        running[pool.submit(self._make, step, job)] = waiting.pop(step.key)
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        made[running.pop(future).key] = future.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _make(self, step: Step, job: Job) -> Mapping[str, Blob]:
        with self.store.lock(step.key[:2]):
            # Another build may have made the step while this build waited.
            outputs = self.store.recall(step.key)
            if outputs is None:
                # Not the key, which is a digest of all inputs, passphrases included.
                name, began = uuid.uuid4().hex, time.monotonic()
                self.emit(events.StepStarted(name, step.title))
                outputs = step.make(job)
                self.store.remember(step.key, outputs)
                self.emit(events.StepFinished(name, step.title, time.monotonic() - began))
        return outputs


def _ready(waiting: Mapping[str, Step], made: Mapping[str, Mapping[str, Blob]]) -> list[Step]:
    return [s for s in waiting.values() if all(need.key in made for need in s.needs())]
