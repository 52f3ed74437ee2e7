"""The service whose shim serves new tasks too."""

from __future__ import annotations

from pathlib import Path

import pytest
from piimage_task import leader

from tests.unit.task.shims import shim


def test_a_leader_is_one_as_long_as_its_shim_lives(tmp_path: Path) -> None:
    folder = str(tmp_path)
    with shim(tmp_path) as process:
        leader.note(folder, process.task, "one")
        assert (tmp_path / ".leader").read_text() == f"{process.pid} one\n"
        assert leader.find(folder) == "one"
    assert leader.find(folder) is None


def test_a_task_that_has_ended_makes_no_leader(tmp_path: Path) -> None:
    with shim(tmp_path) as process:
        pass
    leader.note(str(tmp_path), process.pid, "one")
    assert leader.find(str(tmp_path)) is None
    assert not (tmp_path / ".leader").exists()


def test_a_process_that_is_no_shim_leads_nobody(tmp_path: Path) -> None:
    (tmp_path / ".leader").write_text("1 one\n")
    assert leader.find(str(tmp_path)) is None


@pytest.mark.parametrize("text", ["", "4711", "a b c"])
def test_a_file_that_says_something_else_names_no_leader(tmp_path: Path, text: str) -> None:
    (tmp_path / ".leader").write_text(text)
    assert leader.find(str(tmp_path)) is None


def test_only_the_leader_itself_is_forgotten(tmp_path: Path) -> None:
    folder = str(tmp_path)
    leader.forget(folder, "one")
    with shim(tmp_path) as process:
        leader.note(folder, process.task, "one")
        leader.forget(folder, "other")
        assert leader.find(folder) == "one"
        leader.forget(folder, "one")
        assert leader.find(folder) is None


def test_two_clients_can_forget_a_leader_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".leader").write_text("1 web\n")
    read = leader._read

    def overtaken(folder: str) -> tuple[str, str]:
        found = read(folder)
        (tmp_path / ".leader").unlink()
        return found

    monkeypatch.setattr(leader, "_read", overtaken)
    leader.forget(str(tmp_path), "web")
    assert not (tmp_path / ".leader").exists()
