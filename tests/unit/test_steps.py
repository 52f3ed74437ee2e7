from __future__ import annotations

import fcntl
import hashlib
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from pydantic import BaseModel, ConfigDict

from piimage import events
from piimage.run import Runner
from piimage.steps import Builder, Job, Step, plain
from piimage.store import Blob, Store


@dataclass(frozen=True)
class Text(Step):
    text: str

    @property
    def title(self) -> str:
        return f"text {self.text}"

    def make(self, job: Job) -> Mapping[str, Blob]:
        if self.text == "fail":
            raise ValueError(self.text)
        return {"text": job.store.add_bytes(self.text.encode())}


@dataclass(frozen=True)
class Joined(Step):
    parts: tuple[Text, ...]
    by: Mapping[str, str]

    @property
    def title(self) -> str:
        return "joined"

    def make(self, job: Job) -> Mapping[str, Blob]:
        texts = [job.file(part).read_text() for part in self.parts]
        return {"joined": job.store.add_bytes(self.by["with"].join(texts).encode())}


def builder(store: Store, emitted: list[events.Event]) -> Builder:
    return Builder(store, Runner(), emitted.append)


def made_titles(emitted: list[events.Event]) -> list[str]:
    return sorted(event.title for event in emitted if isinstance(event, events.StepFinished))


def test_a_step_is_made_after_the_steps_that_it_needs(store: Store) -> None:
    target = Joined((Text("a"), Text("b")), {"with": "-"})
    job = builder(store, []).build(target)
    assert job.file(target).read_text() == "a-b"


def test_an_unchanged_step_is_not_made_again(store: Store) -> None:
    builder(store, []).build(Joined((Text("a"), Text("b")), {"with": "-"}))
    emitted: list[events.Event] = []
    builder(store, emitted).build(Joined((Text("a"), Text("c")), {"with": "-"}))
    assert made_titles(emitted) == ["joined", "text c"]
    emitted.clear()
    builder(store, emitted).build(Joined((Text("a"), Text("c")), {"with": "-"}))
    assert emitted == []


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: str = "a"
    inner: Settings | None = None


@dataclass(frozen=True)
class Configured(Text):
    settings: BaseModel


def test_each_field_of_a_model_is_part_of_the_key() -> None:
    models = [Settings(), Settings(name="b"), Settings(inner=Settings()),
              Settings(inner=Settings(name="b"))]  # fmt: skip
    assert len({Configured("", model).key for model in models}) == len(models)
    # A default that is written out says nothing new.
    assert Configured("", Settings(name="a")).key == Configured("", Settings()).key
    # Models are copied without validation; such a copy has the key of its fields as well.
    copied = Settings().model_copy(update={"name": "b"})
    assert Configured("", copied).key == Configured("", Settings(name="b")).key


def test_a_model_that_could_change_after_its_key_is_refused() -> None:
    class Mutable(BaseModel):
        name: str = "a"

    with pytest.raises(TypeError, match="a field of type Mutable"):
        _ = Configured("", Mutable()).key


def test_a_step_that_two_others_need_is_made_once(store: Store) -> None:
    emitted: list[events.Event] = []
    shared = Text("a")
    builder(store, emitted).build(
        Joined((shared,), {"with": "1"}), Joined((shared,), {"with": "2"})
    )
    assert made_titles(emitted) == ["joined", "joined", "text a"]


def test_inputs_of_a_remembered_step_are_not_needed(store: Store) -> None:
    target = Joined((Text("a"),), {"with": "-"})
    job = builder(store, []).build(target)
    store.path(store.add_bytes(b"a")).chmod(0o644)
    assert builder(store, []).pending(target) == ()
    assert job.blob(target).size == 1


def test_a_failure_passes_through_and_is_not_remembered(store: Store) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="fail"):
            builder(store, []).build(Joined((Text("fail"),), {"with": "-"}))


def test_the_key_depends_on_every_field_and_the_class() -> None:
    keys = {Text("a").key, Text("b").key, Joined((Text("a"),), {"with": "-"}).key}
    keys |= {Joined((Text("a"),), {"with": "+"}).key, Joined((), {"with": "-"}).key}
    assert len(keys) == 5
    assert Text("a").key == Text("a").key


@dataclass(frozen=True)
class Other(Text):
    """The same fields in the same module."""


def test_another_class_with_the_same_fields_is_another_step() -> None:
    assert Other("a").key != Text("a").key


@dataclass(frozen=True)
class Pair:
    first: object
    second: object = None


def test_values_as_json() -> None:
    """A step by its key, bytes by their digest, sets sorted; mappings are told from all others."""
    digest = hashlib.sha256(b"x").hexdigest()
    assert plain(Text("a")) == {"step": Text("a").key}
    assert plain(b"x") == {"bytes": digest}
    assert plain({"b": (1, None, True, 0.5), "a": [b"x"]}) == {
        "map": {"b": [1, None, True, 0.5], "a": [{"bytes": digest}]}
    }
    assert plain(frozenset(["b", "a", "c"])) == ["a", "b", "c"]
    assert plain(Pair("a", Blob("00", 1))) == {"first": "a", "second": {"sha256": "00", "size": 1}}
    for odd in (Pair, object(), {1, 2}):
        with pytest.raises(TypeError, match="a step cannot have a field of type"):
            plain(odd)


@dataclass(frozen=True)
class Nested(Text):
    within: object


def test_steps_and_blobs_are_found_wherever_they_are_but_not_in_other_steps() -> None:
    deep, blob, other = Text("deep"), Blob("00", 1), Blob("11", 2)
    inner = Nested("inner", (deep, other))
    step = Nested("", {"a": [Pair(inner, blob)], "b": (Text("b"), inner, blob, "text")})
    assert step.needs() == (inner, Text("b"))
    assert step.blobs() == (blob,)
    assert inner.needs() == (deep,)
    assert inner.blobs() == (other,)
    assert Text("a").needs() == Text("a").blobs() == ()


@dataclass(frozen=True)
class Twice(Text):
    def make(self, job: Job) -> Mapping[str, Blob]:
        return {name: job.store.add_bytes(name.encode()) for name in ("z", "a")}


def test_outputs_have_names_and_the_first_is_meant_without_one(store: Store) -> None:
    step = Twice("")
    job = builder(store, []).build(step)
    assert job.file(step).read_text() == "z"
    assert job.file(step, "a").read_text() == "a"
    assert job.blob(step, "a") == store.add_bytes(b"a")


def test_after_a_failure_what_waits_is_not_made(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    made: list[str] = []

    @dataclass(frozen=True)
    class Waiting(Text):
        def make(self, job: Job) -> Mapping[str, Blob]:
            gate.wait(10)
            made.append(self.text)
            return super().make(job)

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(False, cancel_futures=cancel_futures)
            gate.set()
            super().shutdown(wait)

    monkeypatch.setattr("piimage.steps.ThreadPoolExecutor", Pool)
    waiting = [Waiting(str(number)) for number in range(3)]
    with pytest.raises(ValueError, match="fail"):
        Builder(store, Runner(), workers=1).build(Text("fail"), *waiting)
    assert made in ([], ["0"])  # which the only worker may have begun


def test_a_field_that_cannot_be_hashed_is_refused() -> None:
    @dataclass(frozen=True)
    class Odd(Step):
        thing: object

    with pytest.raises(TypeError, match="field of type"):
        _ = Odd(object()).key  # type: ignore[abstract]


@dataclass(frozen=True)
class Packed(Text):
    tools = ("packer",)


def test_another_build_of_a_packer_gives_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Text("a").key
    keys = []
    for version in ("1", "2", "1"):
        monkeypatch.setattr("piimage.steps.identity", lambda name, it=version: f"{name} {it}")
        keys.append(Packed("a").key)
        assert Text("a").key == plain
    assert keys[0] == keys[2] != keys[1]


def test_other_code_gives_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("piimage.code.digest", lambda module: f"the code of {module}")
    before = Text("a").key
    monkeypatch.setattr("piimage.code.digest", lambda module: f"other code of {module}")
    assert Text("a").key != before


def test_pending_returns_the_steps_that_a_build_would_make(store: Store) -> None:
    target = Joined((Text("a"), Text("b")), {"with": "-"})
    pending = builder(store, []).pending(target)
    assert sorted(step.title for step in pending) == ["joined", "text a", "text b"]


def test_a_step_that_many_steps_need_is_looked_up_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[str] = []
    recall = Store.recall

    def recorded(self: Store, key: str) -> Mapping[str, Blob] | None:
        keys.append(key)
        return recall(self, key)

    monkeypatch.setattr(Store, "recall", recorded)
    layer: tuple[Step, ...] = (Text("a"),)
    for _ in range(5):
        layer = tuple(Joined(layer, {"with": sign}) for sign in "-+")  # type: ignore[arg-type]
    builder(store, []).pending(*layer)
    assert len(keys) == len(set(keys)) == 1 + 2 * 5


def test_a_step_that_another_build_made_meanwhile_is_not_made_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fake lock: the other build ends while this build waits for the lock."""
    step = Text("a")
    lock = Store.lock

    @contextmanager
    def late(self: Store, name: str) -> Iterator[None]:
        with lock(self, name):
            self.remember(step.key, {"text": self.add_bytes(b"theirs")})
            yield

    monkeypatch.setattr(Store, "lock", late)
    emitted: list[events.Event] = []
    job = builder(store, emitted).build(step)
    assert job.file(step).read_text() == "theirs"
    assert emitted == []


def test_two_builds_of_one_step_wait_for_one_another(store: Store) -> None:
    """A build holds the lock of a step while it makes the step."""
    blocked: list[bool] = []

    @dataclass(frozen=True)
    class Looking(Text):
        def make(self, job: Job) -> Mapping[str, Blob]:
            with (job.store.root / "locks" / self.key[:2]).open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    blocked.append(True)
                else:
                    blocked.append(False)
            return super().make(job)

    builder(store, []).build(Looking("a"))
    assert blocked == [True]


def test_the_id_of_a_step_in_its_events_does_not_tell_its_key(store: Store) -> None:
    """The key is a digest of all inputs, secrets included, and events are logged."""
    emitted: list[events.Event] = []
    step = Text("a secret")
    builder(store, emitted).build(step)
    started, finished = emitted
    assert isinstance(started, events.StepStarted)
    assert isinstance(finished, events.StepFinished)
    assert started.step == finished.step
    assert 0 <= finished.seconds < 60
    assert step.key[:8] not in started.step
