from __future__ import annotations

import fcntl
import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from piimage import events
from piimage.run import Runner
from piimage.steps import Builder, Job, Step
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


def builder(store: Store, heard: list[events.Event]) -> Builder:
    return Builder(store, Runner(), heard.append)


def made_titles(heard: list[events.Event]) -> list[str]:
    return sorted(event.title for event in heard if isinstance(event, events.StepFinished))


def test_a_step_is_made_after_what_it_needs(store: Store) -> None:
    target = Joined((Text("a"), Text("b")), {"with": "-"})
    job = builder(store, []).build(target)
    assert job.file(target).read_text() == "a-b"


def test_what_has_not_changed_is_not_made_again(store: Store) -> None:
    builder(store, []).build(Joined((Text("a"), Text("b")), {"with": "-"}))
    heard: list[events.Event] = []
    builder(store, heard).build(Joined((Text("a"), Text("c")), {"with": "-"}))
    assert made_titles(heard) == ["joined", "text c"]
    heard.clear()
    builder(store, heard).build(Joined((Text("a"), Text("c")), {"with": "-"}))
    assert heard == []


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
    heard: list[events.Event] = []
    shared = Text("a")
    builder(store, heard).build(Joined((shared,), {"with": "1"}), Joined((shared,), {"with": "2"}))
    assert made_titles(heard) == ["joined", "joined", "text a"]


def test_inputs_of_a_made_step_are_not_needed(store: Store) -> None:
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


def test_a_field_that_cannot_be_hashed_is_refused() -> None:
    @dataclass(frozen=True)
    class Odd(Step):
        thing: object

    with pytest.raises(TypeError, match="field of type"):
        _ = Odd(object()).key  # type: ignore[abstract]


@dataclass(frozen=True)
class Packed(Text):
    tools = ("packer",)


def test_another_program_that_packs_gives_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Text("a").key
    keys = []
    for version in ("1", "2", "1"):
        monkeypatch.setattr("piimage.steps.identity", lambda name, it=version: f"{name} {it}")
        keys.append(Packed("a").key)
        assert Text("a").key == plain
    assert keys[0] == keys[2] != keys[1]


STEP = """\
from tests.unit.test_steps import Text

class Made(Text):
    uses = tuple(f"{__name__.partition('.')[0]}.{used}" for used in USES)
"""


@dataclass
class Packages:
    """Writes packages in which there is a step, each under a name of its own; imports the step."""

    folder: Path
    count: int = 0

    def key(self, module: str, files: Mapping[str, str], *uses: str) -> str:
        """The key of a step in `module` of a new package with further `files`."""
        self.count += 1
        package = f"{self.folder.name}_{self.count}"
        step = f"USES = {uses!r}\n{STEP}"
        for name, text in {"__init__.py": "", f"{module}.py": step, **files}.items():
            path = self.folder / package / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        importlib.invalidate_caches()
        made: Step = importlib.import_module(f"{package}.{module.replace('/', '.')}").Made("a")
        return made.key


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Packages:
    monkeypatch.syspath_prepend(tmp_path)
    return Packages(tmp_path)


def test_other_code_beside_a_step_gives_another_key(packages: Packages) -> None:
    files = {"card/__init__.py": "", "card/sizes.py": "BLOCK = 512\n"}
    first = packages.key("card/step", files)
    assert packages.key("card/step", files) == first
    assert packages.key("card/step", {**files, "card/sizes.py": "BLOCK = 4096\n"}) != first
    assert packages.key("card/step", {**files, "card/more.py": ""}) != first
    assert packages.key("card/step", {**files, "other.py": "X = 1\n"}) == first


def test_a_step_beside_everything_depends_on_its_own_code_only(packages: Packages) -> None:
    first = packages.key("step", {"other.py": "X = 1\n"})
    assert packages.key("step", {"other.py": "X = 2\n"}) == first
    assert packages.key("step", {"step.py": f"USES = ()  # changed\n{STEP}"}) != first


@pytest.mark.parametrize("used", ["library.py", "library/inner.py"])
def test_code_that_a_step_uses_gives_another_key(packages: Packages, used: str) -> None:
    package = {} if used == "library.py" else {"library/__init__.py": ""}
    first = packages.key("step", {**package, used: "X = 1\n"}, "library")
    assert packages.key("step", {**package, used: "X = 1\n"}, "library") == first
    assert packages.key("step", {**package, used: "X = 2\n"}, "library") != first


def test_code_that_is_not_there_is_no_code(packages: Packages) -> None:
    with pytest.raises(ValueError, match="nothing has no source to hash"):
        packages.key("step", {}, "nothing")


def test_what_would_be_made_is_told_before(store: Store) -> None:
    target = Joined((Text("a"), Text("b")), {"with": "-"})
    pending = builder(store, []).pending(target)
    assert sorted(step.title for step in pending) == ["joined", "text a", "text b"]


def test_a_step_that_many_ways_lead_to_is_looked_up_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    recall = Store.recall

    def noted(self: Store, key: str) -> Mapping[str, Blob] | None:
        asked.append(key)
        return recall(self, key)

    monkeypatch.setattr(Store, "recall", noted)
    layer: tuple[Step, ...] = (Text("a"),)
    for _ in range(5):
        layer = tuple(Joined(layer, {"with": sign}) for sign in "-+")  # type: ignore[arg-type]
    builder(store, []).pending(*layer)
    assert len(asked) == len(set(asked)) == 1 + 2 * 5


def test_what_another_build_made_meanwhile_is_not_made_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other build ends while this one waits for the lock: a stand-in for that moment."""
    step = Text("a")
    lock = Store.lock

    @contextmanager
    def late(self: Store, name: str) -> Iterator[None]:
        with lock(self, name):
            self.remember(step.key, {"text": self.add_bytes(b"theirs")})
            yield

    monkeypatch.setattr(Store, "lock", late)
    heard: list[events.Event] = []
    job = builder(store, heard).build(step)
    assert job.file(step).read_text() == "theirs"
    assert heard == []


def test_two_builds_of_one_step_wait_for_one_another(store: Store) -> None:
    """The first holds the lock of the step while it makes it, and a second would not get it."""
    seen: list[bool] = []

    @dataclass(frozen=True)
    class Looking(Text):
        def make(self, job: Job) -> Mapping[str, Blob]:
            with (job.store.root / "locks" / self.key[:2]).open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    seen.append(True)
                else:
                    seen.append(False)
            return super().make(job)

    builder(store, []).build(Looking("a"))
    assert seen == [True]


def test_a_steps_name_in_events_tells_nothing_and_is_the_same_at_its_end(store: Store) -> None:
    """Its key is a digest of all that goes in, and events go into logs."""
    heard: list[events.Event] = []
    step = Text("a secret")
    builder(store, heard).build(step)
    started, finished = heard
    assert isinstance(started, events.StepStarted)
    assert isinstance(finished, events.StepFinished)
    assert started.step == finished.step
    assert 0 <= finished.seconds < 60
    assert step.key[:8] not in started.step
