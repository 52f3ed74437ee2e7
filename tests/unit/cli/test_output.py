from __future__ import annotations

import ast
import io
import json
import os
import sys
from pathlib import Path

import pytest
from rich.console import Console

from piimage import events
from piimage.cli import main as cli
from piimage.cli import output
from piimage.errors import PiimageError

CLI = Path(output.__file__).parent
STEERING = "a\x1b[2Jb\x9bc\rd\x07e\u202ef\udcff"
WRITTEN_OUT = r"a\x1b[2Jb\x9bc\rd\x07e\u202ef\udcff"


def test_a_command_whose_files_are_deleted_says_so_in_a_comment_of_the_shell(
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain = output.PlainLines(verbose=True)
    plain(events.CommandStarted("qemu -kernel /tmp/p/kernel", Path("/tmp/p")))
    plain(events.CommandStarted("true"))
    assert capsys.readouterr().err.splitlines() == [
        "+ qemu -kernel /tmp/p/kernel  # its files in /tmp/p are deleted when it has ended",
        "+ true",
    ]


def test_what_steers_a_terminal_is_written_out_everywhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain = output.PlainLines(verbose=True)
    output.say(STEERING)
    output.tell(STEERING)
    output.show_error(PiimageError("a.b", STEERING, place=STEERING, hint=STEERING))
    plain(events.Note(STEERING))
    plain(events.Warning(STEERING))
    plain(events.CommandStarted(STEERING))
    plain(events.StepFinished("x", STEERING, 1.0))
    out, err = capsys.readouterr()
    assert out == WRITTEN_OUT + "\n"
    assert err.splitlines() == [
        WRITTEN_OUT,
        f"{WRITTEN_OUT}: {WRITTEN_OUT} [a.b]; {WRITTEN_OUT}",
        WRITTEN_OUT,
        f"warning: {WRITTEN_OUT}",
        f"+ {WRITTEN_OUT}",
        f"  1.00 s  {WRITTEN_OUT}",
    ]


@pytest.mark.parametrize(
    ("environment", "code"),
    [
        ({"TERM": "xterm"}, "\x1b[2m[a.b]\x1b[22m"),
        ({"TERM": "dumb"}, "[a.b]"),
        ({"TERM": "xterm", "NO_COLOR": "1"}, "[a.b]"),
    ],
)
def test_a_terminal_shows_the_code_of_an_error_dim(
    environment: dict[str, str], code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    output.show_error(PiimageError("a.b", "it failed", hint="try again"))
    assert terminal.getvalue() == f"piimage: it failed {code}; try again\n"


def test_lines_stay_lines(capsys: pytest.CaptureFixture[str]) -> None:
    output.say("one\n\ttwo é 字")
    assert capsys.readouterr().out == "one\n\ttwo é 字\n"


def test_json_stays_what_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    output.JsonLines()(events.Note(STEERING))
    text = capsys.readouterr().out
    assert json.loads(text) == {"event": "Note", "text": STEERING}
    assert text.isascii()
    assert "\x1b" not in text


def test_titles_on_a_terminal_are_neither_steering_nor_markup(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = io.StringIO()
    terminal = Console(file=shown, force_terminal=True, width=200, color_system=None)
    monkeypatch.setattr("rich.console.Console", lambda **_: terminal)
    with output._progress() as progress:
        live = output.LiveDisplay(progress, verbose=False)
        live(events.StepStarted("x", f"[/fetch] {STEERING}"))
        live(events.Progress("y", "[bold]one", 1, 2))
        progress.refresh()
    assert f"[/fetch] {WRITTEN_OUT}" in shown.getvalue()
    assert "[bold]one" in shown.getvalue()


def test_a_terminal_without_tasks_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine's console prints lines in pieces; a redraw between them would erase the line."""
    shown = io.StringIO()
    terminal = Console(file=shown, force_terminal=True, width=200, color_system=None)
    monkeypatch.setattr("rich.console.Console", lambda **_: terminal)
    with output._progress() as progress:
        live = output.LiveDisplay(progress, verbose=False)
        assert not progress.live.is_started
        live(events.StepStarted("x", "fetch"))
        live(events.Progress("y", "write", 1, 2))
        live(events.StepFinished("x", "fetch", 0.0))
        assert progress.live.is_started
        live(events.StepFinished("y", "write", 0.0))
        assert not progress.live.is_started
        drawn = shown.getvalue()
    assert shown.getvalue() == drawn


def test_only_one_module_of_the_verbs_prints() -> None:
    printing = {
        path.name
        for path in CLI.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and (getattr(node.func, "id", "") == "print" or getattr(node.func, "attr", "") == "echo")
    }
    assert printing == {"output.py"}


def test_a_defect_over_a_name_that_is_no_text_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise ZeroDivisionError(os.fsdecode(b"b\xff"))

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(cli, "command", lambda verb: failing)
    assert cli.execute(["doctor"]) == 1
    assert r"ZeroDivisionError: b\udcff" in capsys.readouterr().err
    (kept,) = tmp_path.glob("*.traceback")
    assert r"ZeroDivisionError: b\udcff" in kept.read_text()


def test_new_takes_a_name_that_is_no_utf8(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    strict = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict")
    monkeypatch.setattr(sys, "stdout", strict)
    file = tmp_path / os.fsdecode(b"n\xff.yml")
    assert cli.execute(["new", str(file), "--board", "pi4"]) == 0
    assert r"n\udcff.yml" in file.read_text()
    assert rb"n\udcff.yml: written" in strict.buffer.getvalue()  # type: ignore[attr-defined]
