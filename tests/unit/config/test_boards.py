"""Boards of the user's own: every verb finds them, and says where they are wrong."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from piimage import resources
from piimage.boards import known_boards, search_path
from piimage.cli.main import execute
from piimage.config.load import load
from tests.unit.syntax import nodes

PI4 = (resources.path("boards") / "pi4.yml").read_text()
CODE = Path(__file__).parents[3] / "piimage"


def board(folder: Path, name: str, text: str = PI4) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yml"
    path.write_text(text)
    return path


def test_a_board_that_lies_beside_the_file_is_known(tmp_path: Path) -> None:
    board(tmp_path / "boards", "greenhouse")
    file = tmp_path / "a.yml"
    file.write_text("board: greenhouse\nboot: { overlays: [i2c1, -disable-bt] }\n")
    read = load([file])
    assert read.board == "greenhouse"
    assert read.boot.overlays == ("i2c1", "-disable-bt")


def test_check_takes_a_board_that_an_option_names_from_beside_the_file(tmp_path: Path) -> None:
    board(tmp_path / "boards", "greenhouse")
    file = tmp_path / "a.yml"
    file.write_text("hostname: a\n")
    assert execute(["check", str(file), "--set", "board=greenhouse"]) == 0


def test_the_boards_of_every_merged_file_are_known(tmp_path: Path) -> None:
    board(tmp_path / "base/boards", "greenhouse")
    base, own = tmp_path / "base/a.yml", tmp_path / "own/b.yml"
    own.parent.mkdir()
    base.write_text("board: greenhouse\n")
    own.write_text("hostname: b\n")
    assert execute(["check", str(base), str(own)]) == 0


def test_new_and_check_know_the_boards_of_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIIMAGE_BOARDS", f"{tmp_path / 'none'}:{tmp_path / 'ours'}")
    board(tmp_path / "ours", "greenhouse")
    file = tmp_path / "a.yml"
    assert execute(["new", str(file), "--board", "greenhouse"]) == 0
    assert execute(["check", str(file)]) == 0


def test_new_knows_the_boards_beside_the_file_that_it_writes(tmp_path: Path) -> None:
    board(tmp_path / "boards", "greenhouse")
    assert execute(["new", str(tmp_path / "a.yml"), "--board", "greenhouse"]) == 0


def test_new_gives_a_valid_host_name_whatever_file_and_board_are_called(tmp_path: Path) -> None:
    board(tmp_path / "boards", "my_board.2")
    file = tmp_path / "_.yml"
    assert execute(["new", str(file), "--board", "my_board.2"]) == 0
    assert load([file], [], {}).hostname == "my-board-2"


def test_an_overlay_beside_a_board_is_one_that_the_file_may_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = PI4.replace("[bcm283x, bcm2711]", "[bcm283x, bcm2711, mine]")
    board(tmp_path / "boards", "greenhouse", text)
    overlay = tmp_path / "boards/overlays/mine/led.dtso"
    overlay.parent.mkdir(parents=True)
    file = tmp_path / "a.yml"
    file.write_text("board: greenhouse\nboot: { overlays: [led] }\n")
    assert execute(["check", str(file)]) == 2
    assert ":2:20: the board greenhouse has no overlay 'led'" in capsys.readouterr().err
    overlay.write_text("/dts-v1/;\n/plugin/;\n")
    assert execute(["check", str(file)]) == 0


@pytest.mark.provokes("boards.invalid")
def test_check_says_at_which_line_a_board_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = PI4.replace("  selector_mib: 16", "  selector_mib: none")
    path = board(tmp_path / "boards", "greenhouse", text)
    file = tmp_path / "a.yml"
    file.write_text("board: greenhouse\n")
    line = text.splitlines().index("  selector_mib: none") + 1
    assert execute(["check", str(file)]) == 2
    assert f"{path}:{line}:3: " in capsys.readouterr().err


@pytest.mark.provokes("boards.unknown")
def test_who_names_a_board_that_is_nowhere_is_told_where_boards_are_looked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["new", str(tmp_path / "a.yml"), "--board", "greenhouse"]) == 2
    output = capsys.readouterr().err
    assert "boards/ beside the file" in output
    assert "PIIMAGE_BOARDS" in output


def test_no_code_loads_a_board_without_the_search_path() -> None:
    calls = [
        (path.name, node.lineno, len(node.args) + len(node.keywords))
        for path, node in nodes(CODE, "load_board")
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "load_board"
    ]
    assert len(calls) > 5
    assert [call for call in calls if call[2] < 2] == []


def test_no_code_names_a_raspberry_pi() -> None:
    """What a model has is in its board's file; qemu-virt is the board of a file that names none."""
    models = {board.name for board in known_boards(search_path([])) if board.imager}
    assert {"pi3", "zero2w", "pi4", "pi5"} <= models
    named = [
        (path.name, node.lineno, node.value)
        for model in models
        for path, node in nodes(CODE, model)
        if isinstance(node, ast.Constant) and node.value == model
    ]
    assert named == []


def test_no_code_looks_for_boards_by_itself() -> None:
    quoted = {
        path.relative_to(CODE).as_posix()
        for path, node in nodes(CODE, "boards")
        if isinstance(node, ast.Constant) and node.value == "boards"
    }
    # The last two copy what piimage ships, and look for changes of it and of what is beside a file.
    assert quoted == {"boards.py", "samples.py", "unchanged.py"}
