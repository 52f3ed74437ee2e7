"""How long the agent waits for process 1 to stop a service."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from piimage_agent import services
from piimage_agent.refusal import Refused
from piimage_agent.root import Root


@dataclass
class Late:
    """A service that is down `seconds` after it was told so: a stand-in for process 1 and time."""

    seconds: float
    root: Root
    now: float = 1000.0
    told: list[tuple[str, ...]] = field(default_factory=list)

    def initctl(self, root: Root, *words: str) -> None:
        self.told.append(words)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def state(self, root: Root, name: str) -> dict[str, object]:
        return {"state": "stopped" if self.now >= 1000 + self.seconds else "running"}


def stopped(late: Late, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "initctl", late.initctl)
    monkeypatch.setattr(services, "state", late.state)
    monkeypatch.setattr(services.time, "monotonic", lambda: late.now)
    monkeypatch.setattr(services.time, "sleep", late.sleep)
    services.stop(late.root, "one")


@pytest.mark.parametrize("seconds", [0, 1, 119])
def test_a_service_has_two_minutes_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """Process 1 itself ends a runner after a minute, and its container may take as long."""
    late = Late(seconds, Root(str(tmp_path)))
    stopped(late, monkeypatch)
    assert late.told == [("stop", "one")]
    assert late.now == pytest.approx(1000 + seconds, abs=1)


def test_a_service_that_does_not_end_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = Late(1e9, Root(str(tmp_path)))
    with pytest.raises(Refused) as caught:
        stopped(late, monkeypatch)
    assert caught.value.code == "not-stopped"
    assert late.now == pytest.approx(1120, abs=1)


@pytest.fixture
def scheduled(tmp_path: Path) -> Path:
    """The state of a service that waits for its time."""
    folder = tmp_path / "run/piimage/services/one"
    folder.mkdir(parents=True)
    (folder / "state").write_text("scheduled\n")
    os.mkfifo(folder / "events")
    return folder


@pytest.mark.parametrize(("code", "trouble"), [("0", ""), ("7", "it exited with code 7")])
def test_a_service_with_a_schedule_is_run_at_once(
    tmp_path: Path, scheduled: Path, code: str, trouble: str
) -> None:
    def runner() -> None:
        with (scheduled / "events").open("rb") as pipe:
            ready.set()
            pipe.readline()
        assert (scheduled / "due").exists()
        (scheduled / "exit").write_text(f"{code}\n")
        (scheduled / "due").unlink()

    ready = threading.Event()
    thread = threading.Thread(target=runner)
    thread.start()
    with (scheduled / "events").open("wb"):
        ready.wait(30)
        assert services.start(Root(str(tmp_path)), "one", 30) == trouble
    thread.join()


def test_a_service_whose_runner_is_gone_cannot_be_run(tmp_path: Path, scheduled: Path) -> None:
    with pytest.raises(Refused, match="the runner of one does not answer"):
        services.start(Root(str(tmp_path)), "one", 30)


@pytest.mark.parametrize(("code", "well"), [("", True), ("0", True), ("7", False)])
def test_between_its_runs_it_is_as_well_as_its_last_run(
    tmp_path: Path, scheduled: Path, code: str, well: bool
) -> None:
    if code:
        (scheduled / "exit").write_text(f"{code}\n")
    row = services.state(Root(str(tmp_path)), "one")
    assert services.is_up(row) == well
    assert services.trouble(row) == ("" if well else "it exited with code 7")


def test_a_service_that_starts_while_it_is_looked_at_has_not_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Root(str(tmp_path))
    folder = tmp_path / "run/piimage/services/web"
    folder.mkdir(parents=True)
    (folder / "state").write_text("waiting\n")
    read = services.read_line

    def starting(path: str) -> str:
        """Read a file of a service whose runner goes on right after it was read."""
        text = read(path)
        if path.endswith("/pid"):
            (folder / "pid").write_text("1\n")
            (folder / "state").write_text("running\n")
        return text

    monkeypatch.setattr(services, "read_line", starting)
    assert services.trouble(services.state(root, "web")) == ""
