from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from piimage.store import Store
from piimage.unchanged import Memory


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "files").mkdir(parents=True)
    (folder / "pi.yml").write_text("hostname: ${NAME}\n")
    (folder / "files" / "motd").write_text("hello\n")
    (tmp_path / "out").mkdir()
    return folder


def memory(store: Store, project: Path, *options: str) -> Memory:
    return Memory(store, (project / "pi.yml",), project.parent / "out", options)


def build(memory: Memory, project: Path, environment: dict[str, str]) -> Path:
    """A build that reads everything in `project`."""
    image = memory.out / "pi.img"
    witness = memory.witness()
    with witness.watching():
        for path in sorted(project.rglob("*")):
            if path.is_file():
                path.read_bytes()
        image.write_bytes(b"image")
    memory.remember(witness, [image], "done", environment)
    return image


def test_the_same_again_is_known(store: Store, project: Path) -> None:
    env = {"NAME": "a", "OTHER": "x"}
    build(memory(store, project), project, env)
    assert memory(store, project).unchanged(env) == "done"
    assert memory(store, project).unchanged({**env, "OTHER": "y"}) == "done"


def test_nothing_is_known_at_first(store: Store, project: Path) -> None:
    assert memory(store, project).unchanged({}) is None


def test_other_options_are_another_build(store: Store, project: Path) -> None:
    build(memory(store, project), project, {})
    assert memory(store, project, "tar").unchanged({}) is None


@pytest.mark.parametrize("change", ["content", "new file", "gone", "mode", "lock", "board"])
def test_a_change_of_any_input_is_noticed(store: Store, project: Path, change: str) -> None:
    build(memory(store, project), project, {})
    assert memory(store, project).unchanged({}) == "done"
    time.sleep(0.02)  # longer than a tick of the file system's clock
    match change:
        case "content":
            (project / "files" / "motd").write_text("olleh\n")
        case "new file":
            (project / "files" / "issue").write_text("")
        case "gone":
            (project / "files" / "motd").unlink()
        case "mode":
            (project / "files" / "motd").chmod(0o755)
        case "lock":
            (project / "pi.lock").write_text("")
        case "board":
            (project / "boards").mkdir()
    assert memory(store, project).unchanged({}) is None


def test_a_variable_of_the_file_is_an_input(store: Store, project: Path) -> None:
    build(memory(store, project), project, {"NAME": "a"})
    assert memory(store, project).unchanged({"NAME": "b"}) is None
    assert memory(store, project).unchanged({}) is None


def test_an_output_that_was_touched_or_removed_is_made_again(store: Store, project: Path) -> None:
    image = build(memory(store, project), project, {})
    os.utime(image, ns=(0, 0))
    assert memory(store, project).unchanged({}) is None
    image.unlink()
    assert memory(store, project).unchanged({}) is None


def test_a_file_that_changed_during_the_build_is_not_forgotten(store: Store, project: Path) -> None:
    one = memory(store, project)
    witness = one.witness()
    with witness.watching():
        (project / "files" / "motd").read_bytes()
    time.sleep(0.02)
    (project / "files" / "motd").write_text("other\n")
    one.remember(witness, [], "done", {})
    assert one.unchanged({}) is None


def test_a_damaged_memory_is_no_memory(store: Store, project: Path) -> None:
    build(memory(store, project), project, {})
    for file in (store.root / "built").iterdir():
        file.write_text("[]")
    assert memory(store, project).unchanged({}) is None
