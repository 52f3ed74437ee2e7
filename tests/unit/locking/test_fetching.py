"""What is fetched before steps are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from piimage import events
from piimage.debian.package import Package
from piimage.lock import Lock, LockedEnvironment, LockedWheel
from piimage.locking.fetching import make
from piimage.locking.inputs import Inputs
from piimage.run import Runner
from piimage.steps import Job, Step
from piimage.store import Blob, Store


@dataclass(frozen=True)
class Read(Step):
    """Gives the bytes of a pinned file."""

    source: Blob

    @property
    def title(self) -> str:
        return "read"

    def make(self, job: Job) -> Mapping[str, Blob]:
        return {"": job.store.add_bytes(job.store.verified(self.source).read_bytes())}


@dataclass
class Fetcher:
    """A fake archive and index: has two files, and notes what is fetched."""

    store: Store
    fetched: list[str]

    def fetch(self, files: Any, *_: object) -> None:
        for file in files:
            self.fetched.append(file.name)
            self.store.add_bytes(file.name.encode())

    def __enter__(self) -> Fetcher:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def blob(name: str, store: Store) -> Blob:
    made = store.add_bytes(name.encode())
    store.path(made).unlink()
    return made


@pytest.fixture
def fetched(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    monkeypatch.setattr(Inputs, "fetcher", lambda _: Fetcher(store, names))
    monkeypatch.setattr(Inputs, "wheels", lambda _: Fetcher(store, names))
    return names


def test_only_what_pending_steps_name_is_fetched(store: Store, fetched: list[str]) -> None:
    needed, other, wheel = (blob(name, store) for name in ("needed", "other", "wheel"))
    pin = LockedWheel("wheel", "1", "wheel-1-py3-none-any.whl", wheel.size, wheel.sha256)
    lock = Lock(
        packages=tuple(
            Package(name, "1", "arm64", "p/x", b.size, b.sha256, name, "1", "trixie")
            for name, b in (("needed", needed), ("other", other))
        ),
        environments=(
            LockedEnvironment("container/x", ("wheel",), "arm64", "3.13", "2.41", (pin.filename,)),
        ),
        wheels=(pin,),
    )
    inputs = Inputs(store, Runner(), events.ignore, lambda: 0.0)
    steps = [Read(needed), Read(wheel)]
    job = make(steps, lock, inputs)
    assert [job.file(step).read_bytes() for step in steps] == [b"needed", b"wheel"]
    assert fetched == ["needed", "wheel"]
    make(steps, lock, inputs)
    assert fetched == ["needed", "wheel"]  # what is made needs nothing
