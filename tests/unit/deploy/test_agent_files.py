"""What the agent's files and folders are like, and what it takes for granted in requests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from piimage_agent import rehearsal, services
from piimage_agent.root import Root, make_folders, read_text, remove_folder, write_file
from piimage_agent.session import Session


@pytest.fixture
def _no_mask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_no_mask")
def test_files_and_folders_are_for_all_to_read_and_for_root_to_write(tmp_path: Path) -> None:
    make_folders(f"{tmp_path}/a/b")
    for folder in ("a", "a/b"):
        assert (tmp_path / folder).stat().st_mode & 0o7777 == 0o755
    make_folders(f"{tmp_path}/a/b")
    path = tmp_path / "a" / "file"
    path.write_text("old")
    (tmp_path / "a" / "file.new").write_text("left by a power cut")
    write_file(str(path), b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o7777 == 0o644
    assert sorted(os.listdir(tmp_path / "a")) == ["b", "file"]  # noqa: PTH208
    assert read_text(str(path), 2) == "ne"
    remove_folder(f"{tmp_path}/a/b")
    assert not (tmp_path / "a" / "b").exists()


def test_the_seconds_since_the_boot(tmp_path: Path) -> None:
    """proc(5): uptime, and the time that was spent idle."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "uptime").write_text("350735.47 234388.90\n")
    assert services.uptime(Root(str(tmp_path))) == 350735.47


@pytest.mark.usefixtures("_no_mask")
def test_copies_for_a_rehearsal_belong_to_whom_the_folder_belongs_to(tmp_path: Path) -> None:
    for name, mode in (("data/one", 0o1777), ("two", 0o750)):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name).chmod(mode)
    (tmp_path / "work" / "scratch").mkdir(parents=True)
    rehearsal._make_copies(Root(str(tmp_path)), f"{tmp_path}/work", ["/data/one", "/two"])
    assert (tmp_path / "work" / "copies").read_text() == "0 /data/one\n1 /two\n"
    for number, mode in ((0, 0o1777), (1, 0o750)):
        copy = tmp_path / "work" / "scratch" / str(number)
        modes = {part: (copy / part).stat().st_mode & 0o7777 for part in ("", "work", "merged")}
        assert modes == {"": 0o700, "work": 0o700, "merged": 0o700}
        assert (copy / "upper").stat().st_mode & 0o7777 == mode


@pytest.fixture
def service_calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the session asks of the services; a fake of these."""
    calls: list[tuple[Any, ...]] = []

    def noting(word: str, answer: object) -> Any:
        def call(_: Root, *arguments: Any) -> object:
            calls.append((word, *arguments))
            return answer

        return call

    for word, answer in (("start", "no"), ("stop", None), ("state", {}), ("printed", b"x"),
                         ("end_of_log", (7, 8)), ("follow", None)):  # fmt: skip
        monkeypatch.setattr(services, word, noting(word, answer))
    monkeypatch.setattr(services, "require", lambda _, name: name)
    return calls


@pytest.mark.parametrize(("request_", "wait"), [({}, 60), ({"wait": 1}, 1), ({"wait": 3600}, 3600)])
def test_a_service_has_a_minute_to_start_if_nobody_says_more(
    service_calls: list[tuple[Any, ...]], tmp_path: Path, request_: dict[str, Any], wait: int
) -> None:
    session = cast(Any, SimpleNamespace(root=Root(str(tmp_path)), _row=lambda *row: row))
    assert Session._start(session, {"service": "a", **request_}) == ("a", "no")
    assert Session._restart(session, {"service": "a", **request_}) == ("a", "no")
    assert service_calls == [("start", "a", wait), ("stop", "a"), ("start", "a", wait)]


@pytest.mark.parametrize(("follow", "followed"), [(True, True), (False, False), (1, False)])
def test_a_log_is_followed_where_that_is_asked_for(
    service_calls: list[tuple[Any, ...]], tmp_path: Path, follow: object, followed: bool
) -> None:
    shown: list[bytes] = []
    session = cast(Any, SimpleNamespace(
        root=Root(str(tmp_path)), _show=shown.append, _since=lambda _: None, _until=lambda _: 9.0,
        _has_request_within=lambda _: True,
    ))  # fmt: skip
    assert Session._logs(session, {"service": "a", "lines": 5, "follow": follow}) == {}
    end, (verb, name, lines, span, size), *more = service_calls
    assert [end, (verb, name, lines, size)] == [("end_of_log", "a"), ("printed", "a", 5, 8)]
    assert (span.since, span.until) == (None, 9.0)
    assert [call[:3] for call in more] == [("follow", "a", (7, 8))] * followed
    assert shown == [b"x"]


def test_what_a_rehearsal_that_fails_left_is_cleared_away(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[tuple[Any, ...]] = []

    def call(words: list[str], program: str, timeout: float, code: str) -> str:
        calls.append((words, Path(program).name, timeout, code))
        return "/run/piimage/rehearsal/a/config.json"  # which is not there

    monkeypatch.setattr(services, "call", call)
    with pytest.raises(ValueError, match="Expecting value"):
        rehearsal._rehearsed(Root(str(tmp_path)), "layer", "a", 5)
    assert calls == [
        (["rehearse", "--prepare", "layer", "a"], "rehearse", 60, "rehearse"),
        (["rehearse", "--clean", "layer", "a"], "rehearse", 60, "rehearse"),
    ]


def test_every_byte_of_a_compiled_profile_arrives(tmp_path: Path) -> None:
    profile = bytes(range(256)) + b"\r\n\r"
    (tmp_path / "apparmor").mkdir()
    (tmp_path / "apparmor/piimage-default").write_bytes(profile)
    found = services.files_of(str(tmp_path))
    assert found["apparmor/piimage-default"].encode("iso8859-1") == profile
