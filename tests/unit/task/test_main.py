"""The command, with a containerd that a test plays."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from piimage_task import leader, processes, turns
from piimage_task import main as command
from piimage_task.locks import Lock
from piimage_task.protobuf import integer, text

from tests.unit.task.servers import Peer, answer, refusal, serving
from tests.unit.task.shims import shim

Reply = Callable[[int, bytes], bytes]
NOT_FOUND, UNKNOWN = 5, 2


def ok(message: bytes = b"") -> Reply:
    return lambda stream, _: answer(stream, message)


def refuses(code: int, message: str) -> Reply:
    return lambda stream, _: refusal(stream, code, message)


def playing(*replies: tuple[str, Reply]) -> Callable[[Peer], None]:
    """Expect these methods, one after another, and reply to each."""

    def act(peer: Peer) -> None:
        for method, reply in replies:
            stream, block, message = peer.call()
            assert f"{method}".encode() in block, (method, block)
            peer.send(reply(stream, message))

    return act


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The Pi's files, in the folder that the test works in."""
    (tmp_path / "config.json").write_text('{"ociVersion": "1.0.2"}')
    (tmp_path / "services").mkdir()
    (tmp_path / "online").write_text("0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "FOLDER", "services")
    monkeypatch.setattr(command, "PROCESSORS", "online")
    monkeypatch.setattr(command, "SOCKET", "nobody")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, folder: None) -> Callable[..., int]:
    def run(act: Callable[[Peer], None], *arguments: str) -> int:
        with serving(act) as path:
            monkeypatch.setattr(command, "SOCKET", path)
            return command.main(list(arguments))

    return run


START = ("run", "one", "config.json", "/run/output", "pid")


def test_a_start_makes_a_container_and_its_task_and_writes_the_number(
    run: Callable[..., int],
) -> None:
    seen: list[bytes] = []

    def noting(message: bytes) -> Reply:
        return lambda stream, request: (seen.append(request), answer(stream, message))[1]

    act = playing(
        ("containers.v1.Containers/Create", noting(b"")),
        ("tasks.v1.Tasks/Create", noting(text(1, "one") + integer(2, 99))),
        ("tasks.v1.Tasks/Start", noting(integer(1, 4711))),
    )
    assert run(act, *START) == 0
    assert Path("pid").read_text() == "4711"
    assert b'{"ociVersion": "1.0.2"}' in seen[0]
    assert b"io.containerd.runc.v2" in seen[0]
    assert seen[1].count(b"/run/output") == 2
    assert sorted(path.name for path in Path().iterdir()) == [
        "config.json",
        "online",
        "pid",
        "services",
    ]


@contextlib.contextmanager
def led_by(name: str) -> Iterator[None]:
    """The service `name` has a shim that others can share."""
    with shim(Path()) as process:
        leader.note("services", process.task, name)
        yield


def alone(stream: int, request: bytes) -> bytes:
    """Take a container that shares no shim."""
    assert text(11, "other") not in request
    return answer(stream, b"")


def beside_other(stream: int, request: bytes) -> bytes:
    """Take a container that shares the shim of the service `other`."""
    assert request.endswith(text(11, "other"))
    return answer(stream, b"")


def test_a_shim_that_runs_serves_the_next_task(run: Callable[..., int]) -> None:
    act = playing(
        ("Containers/Create", beside_other), ("Tasks/Create", ok()),
        ("Tasks/Start", ok(integer(1, 7))),
    )  # fmt: skip
    with led_by("other"):
        assert run(act, *START) == 0
        assert leader.find("services") == "other"


def test_a_task_with_a_shim_of_its_own_leads_the_next_ones(
    run: Callable[..., int], tmp_path: Path
) -> None:
    with shim(tmp_path) as process:
        act = playing(
            ("Containers/Create", alone), ("Tasks/Create", ok()),
            ("Tasks/Start", ok(integer(1, process.task))),
        )  # fmt: skip
        assert run(act, *START) == 0
        assert leader.find("services") == "one"


def test_a_task_whose_leader_has_ended_is_started_with_a_shim_of_its_own(
    run: Callable[..., int],
) -> None:
    act = playing(
        ("Containers/Create", beside_other),
        ("Tasks/Create", refuses(UNKNOWN, "failed to start shim: can't find sandbox other")),
        ("Containers/Delete", ok()),
        ("Containers/Create", alone), ("Tasks/Create", ok()), ("Tasks/Start", ok(integer(1, 7))),
    )  # fmt: skip
    with led_by("other"):
        assert run(act, *START) == 0
        assert leader.find("services") is None


def test_without_a_shim_starts_go_one_after_another(run: Callable[..., int]) -> None:
    """Two shims that begin at once take the same socket; one that has waited shares the first's."""
    act = playing(
        ("Containers/Create", beside_other), ("Tasks/Create", ok()),
        ("Tasks/Start", ok(integer(1, 7))),
    )  # fmt: skip
    first = leader.lock("services")
    first.take()
    codes: list[int] = []
    waiting = threading.Thread(target=lambda: codes.append(run(act, *START)))
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    with led_by("other"):
        first.release()
        waiting.join(10)
    assert codes == [0]
    first = leader.lock("services")
    assert first.try_to_take()
    first.release()


def test_a_client_waits_for_its_turn(run: Callable[..., int]) -> None:
    turn = turns.take("services", 1)
    act = playing(("Tasks/Delete", ok()), ("Containers/Delete", ok()))
    codes: list[int] = []
    waiting = threading.Thread(target=lambda: codes.append(run(act, "delete", "one")))
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    turn.release()
    waiting.join(10)
    assert codes == [0]
    last = Lock("services/.turn0")
    assert last.try_to_take()
    last.release()


def test_nothing_is_asked_for_a_runner_that_died_while_its_client_waited(
    folder: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    parents = iter(["4711", "1", "1", "1"])
    monkeypatch.setattr(processes, "parent", lambda _: next(parents))
    assert command.main(["delete", "one"]) == 1
    assert command.main(["delete", "one"]) == command.AWAY  # this one does ask


def test_what_containerd_says_of_a_start_that_fails_is_printed(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    act = playing(
        ("Containers/Create", ok()), ("Tasks/Create", refuses(UNKNOWN, "exec: no such file"))
    )
    assert run(act, *START) == 1
    assert capsys.readouterr().out == "exec: no such file\n"
    turn = Lock("services/.turn0")
    assert turn.try_to_take()
    turn.release()


def test_a_task_that_ended_is_deleted_and_its_exit_code_printed(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    deleted = text(1, "one") + integer(2, 4711) + integer(3, 3)
    act = playing(("Tasks/Delete", ok(deleted)), ("Containers/Delete", ok()))
    assert run(act, "delete", "one") == 0
    assert capsys.readouterr().out == "3\n"


def test_a_task_that_runs_is_killed_first(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    def killed(stream: int, request: bytes) -> bytes:
        assert request == text(1, "one") + integer(3, 9) + integer(4, 1)
        return answer(stream, b"")

    act = playing(
        ("Tasks/Delete", refuses(9, "task must be stopped before deletion")),
        ("Tasks/Kill", killed),
        ("Tasks/Wait", ok()),
        ("Tasks/Delete", ok(integer(3, 137))),
        ("Containers/Delete", ok()),
    )
    assert run(act, "delete", "one") == 0
    assert capsys.readouterr().out == "137\n"


def test_what_is_gone_already_need_not_be_deleted(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    act = playing(
        ("Tasks/Delete", refuses(NOT_FOUND, "not found")),
        ("Containers/Delete", refuses(NOT_FOUND, "not found")),
    )
    assert run(act, "delete", "one") == 0
    assert capsys.readouterr().out == "\n"


def test_the_container_of_a_shim_that_died_is_deleted(run: Callable[..., int]) -> None:
    act = playing(
        ("Tasks/Delete", refuses(UNKNOWN, "ttrpc: closed")),
        ("Tasks/Kill", refuses(NOT_FOUND, "no task")),
        ("Tasks/Wait", refuses(NOT_FOUND, "no task")),
        ("Tasks/Delete", refuses(NOT_FOUND, "no task")),
        ("Containers/Delete", ok()),
    )
    assert run(act, "delete", "one") == 0


def test_a_containerd_that_is_away_has_an_exit_code_of_its_own(
    folder: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["delete", "one"]) == command.AWAY
    assert capsys.readouterr().out.startswith("containerd cannot be reached: ")


@pytest.mark.parametrize("reply", [ok(), lambda *_: b""], ids=["no number", "nothing"])
def test_an_answer_that_is_none_fails_the_start(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str], reply: Reply
) -> None:
    act = playing(("Containers/Create", ok()), ("Tasks/Create", ok()), ("Tasks/Start", reply))
    assert run(act, *START) == 1
    assert capsys.readouterr().out.startswith("containerd did not answer: ")
