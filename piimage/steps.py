"""A build is a graph of steps; a step is a frozen dataclass whose fields are all its inputs.

The key of a step hashes its class, the code of the package it is written in, and its fields (a
field that is a step counts by that step's key). What the store remembers under a key is not made
again.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.util
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

from piimage import events
from piimage.packers import identity
from piimage.run import Runner
from piimage.store import Blob, Store


@dataclass(frozen=True)
class Step:
    """One thing to make out of others.

    A subclass is a frozen dataclass: its fields are plain data (str, int, bool, None, bytes, Blob,
    tuples, mappings, frozen dataclasses and models) and other steps. `uses` names further modules
    or packages whose code decides what comes out, `tools` the programs of this host that decide its
    bytes.
    """

    uses: ClassVar[tuple[str, ...]] = ()
    tools: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def title(self) -> str:
        """What is being made, for the progress display."""

    @abstractmethod
    def make(self, job: Job) -> Mapping[str, Blob]:
        """Make the outputs, by name, out of the fields alone."""

    @functools.cached_property
    def key(self) -> str:
        """The digest of everything that decides the outputs."""
        fields = {
            field.name: plain(getattr(self, field.name)) for field in dataclasses.fields(self)
        }
        described = {
            "step": type(self).__qualname__,
            "code": _code(type(self).__module__, self.uses),
            "fields": fields,
            "tools": [identity(name) for name in self.tools],
        }
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()

    def needs(self) -> tuple[Step, ...]:
        """Return the steps among the fields."""
        found = {leaf.key: leaf for leaf in _fields(self) if isinstance(leaf, Step)}
        return tuple(found.values())

    def blobs(self) -> tuple[Blob, ...]:
        """Return the blobs among the fields: what must be in the store before `make`."""
        return tuple(dict.fromkeys(leaf for leaf in _fields(self) if isinstance(leaf, Blob)))


@dataclass(frozen=True)
class Job:
    """What a step may use while it is made."""

    store: Store
    runner: Runner
    emit: events.Listener
    made: Mapping[str, Mapping[str, Blob]]

    def blob(self, step: Step, name: str = "") -> Blob:
        """Return the output `name` of a step among the fields (its only one if not named)."""
        outputs = self.made[step.key]
        return outputs[name] if name else next(iter(outputs.values()))

    def file(self, step: Step, name: str = "") -> Path:
        """Return the verified path of that output."""
        return self.store.verified(self.blob(step, name))


def plain(value: object) -> Any:  # noqa: ANN401  # JSON has no better type
    """Return `value` as JSON data that is equal when and only when `value` is."""
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
    """Give the steps, blobs and plain values that `value` is made of; steps are not looked into."""
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


@functools.cache
def _code(module: str, uses: tuple[str, ...]) -> str:
    """Return the digest of the code that a step is made of: its package and its `uses`."""
    own = module.rpartition(".")[0] if module.count(".") > 1 else module
    return hashlib.sha256("".join(_source(name) for name in (own, *uses)).encode()).hexdigest()


@functools.cache
def _source(module: str) -> str:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ValueError(f"{module} has no source to hash")
    origin = Path(spec.origin)
    files = sorted(origin.parent.glob("*.py")) if origin.name == "__init__.py" else [origin]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Builder:
    """Makes steps: what the store has not, in parallel, each once."""

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
        """Make `targets` and what they need; the returned job gives their outputs."""
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
            # Another build may have made it while this one waited.
            outputs = self.store.recall(step.key)
            if outputs is None:
                # Not its key: that is a digest of all that goes in, a passphrase among it.
                name, began = uuid.uuid4().hex, time.monotonic()
                self.emit(events.StepStarted(name, step.title))
                outputs = step.make(job)
                self.store.remember(step.key, outputs)
                self.emit(events.StepFinished(name, step.title, time.monotonic() - began))
        return outputs


def _ready(waiting: Mapping[str, Step], made: Mapping[str, Mapping[str, Blob]]) -> list[Step]:
    return [s for s in waiting.values() if all(need.key in made for need in s.needs())]
