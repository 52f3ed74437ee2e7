"""What piimage answers to the completion script of a shell."""

from __future__ import annotations

import subprocess
import sys

import pytest

from piimage.boards import board_names
from piimage.cli import main as cli
from piimage.cli.completion import complete


@pytest.fixture
def answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):  # a function from a command line to the words that bash would show
    def ask(line: str) -> list[str]:
        words = line.split(" ")
        monkeypatch.setenv("_PIIMAGE_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", "\n".join(words))
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        with pytest.raises(SystemExit) as end:
            complete()
        assert end.value.code in (0, 1)
        return capsys.readouterr().out.split()

    return ask


def test_verbs_are_completed(answer) -> None:
    assert answer("piimage fl") == ["flash"]
    assert set(answer("piimage ")) == set(cli.VERBS)


def test_the_parts_of_a_verb_are_completed(answer) -> None:
    assert answer("piimage pkg ") == ["build", "push", "manifest", "show-tag", "ls"]


def test_options_are_completed(answer) -> None:
    assert answer("piimage build --ke") == ["--keyring"]
    assert answer("piimage pkg build --lo") == ["--load", "--lock", "--locked"]


def test_values_are_completed(answer) -> None:
    assert answer("piimage completion f") == ["fish"]
    assert answer("piimage new greenhouse.yml --board pi5") == ["pi5"]
    assert set(answer("piimage new --board ")) == set(board_names())


def test_files_are_left_to_the_shell(answer) -> None:
    assert answer("piimage build g") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["completion", shell]) == 0
    assert "_PIIMAGE_COMPLETE=complete_" + shell in capsys.readouterr().out


def test_another_shell_is_an_input_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["completion", "tcsh"]) == 2


def test_a_list_of_verbs_imports_none_of_them() -> None:
    code = (
        "import sys\n"
        "from piimage.cli.completion import complete\n"
        "try:\n    complete()\n"
        "except SystemExit:\n    print(*(m for m in sys.modules if m.startswith('piimage.cli')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True,
        env={"_PIIMAGE_COMPLETE": "complete_bash", "COMP_WORDS": "piimage", "COMP_CWORD": "1",
             "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    verbs, modules = done.stdout.rsplit("\n", 2)[0], done.stdout.splitlines()[-1].split()
    assert "flash" in verbs
    assert set(modules) == {
        "piimage.cli", "piimage.cli.completion", "piimage.cli.main", "piimage.cli.output"
    }  # fmt: skip
