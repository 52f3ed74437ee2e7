from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from piimage.config.testing import Check
from piimage.run import Runner, clean_environment
from piimage.testing.checks import make_check, output_fault
from piimage.testing.report import Outcome
from piimage.testing.shell import Shell


def shell(tmp_path: Path, script: str) -> Shell:
    """A shell whose ssh is a script; the words for the board are its last argument."""
    program = tmp_path / "ssh"
    program.write_text(f'#!/bin/sh\nfor command; do :; done\necho "$command" >>{tmp_path}/log\n')
    with program.open("a") as file:
        file.write(script)
    program.chmod(0o755)
    environment = clean_environment()
    environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
    return Shell(Runner(environment=environment), tmp_path / "key", 2222)


def run(check: Check, present: Shell | None = None, *console: str) -> Outcome:
    return make_check(check, present, lambda: console)


def test_a_text_that_the_console_has_shown_passes() -> None:
    outcome = run(Check(console="HELLO"), None, "boot", "HELLO from pi4")
    assert (outcome.name, outcome.failure) == ("HELLO", None)


def test_a_text_that_never_came_fails_with_the_last_lines() -> None:
    outcome = run(Check(console="HELLO", timeout=1), None, "the last line")
    assert "the last line" in str(outcome.failure)
    assert "tried for 1 s" in str(outcome.failure)


@pytest.mark.slow
def test_a_check_is_tried_again_until_it_passes() -> None:
    tries: list[None] = []

    def console() -> tuple[str, ...]:
        tries.append(None)
        return ("HELLO",) if len(tries) > 1 else ()

    assert make_check(Check(console="HELLO", timeout=20), None, console).failure is None
    assert len(tries) == 2


def test_a_program_is_judged_by_its_exit_code(tmp_path: Path) -> None:
    present = shell(tmp_path, "echo said; exit 3")
    assert run(Check(run=("true",), exit_code=3), present).failure is None
    failure = run(Check(run=("true",), timeout=1), present).failure
    assert "the exit code is 3, not 0" in str(failure)
    assert "said" in str(failure)


def test_a_program_is_judged_by_what_it_says(tmp_path: Path) -> None:
    present = shell(tmp_path, "echo one; echo two >&2")
    assert run(Check(run=("x",), expect="two", matches="^one$"), present).failure is None
    assert run(Check(run=("x",), expect="three", timeout=1), present).failure is not None


def test_words_reach_the_board_as_they_are(tmp_path: Path) -> None:
    present = shell(tmp_path, "exit 0")
    run(Check.model_validate({"run": "echo 'a  b' | cat"}), present)
    run(Check(run=("ls", "a b"), service="web"), present)
    first, second = (tmp_path / "log").read_text().splitlines()
    assert shlex.split(first.partition(" || ")[0]) == ["sh", "-c", "echo 'a  b' | cat"]
    assert shlex.split(second.partition(" || ")[0])[-4:] == ["exec", "web", "ls", "a b"]


@pytest.mark.provokes("testing.no-answer")
def test_nobody_who_answers_is_a_failure_and_not_an_exit_code(tmp_path: Path) -> None:
    present = shell(tmp_path, "echo refused >&2; exit 255")
    failure = run(Check(run=("x",), exit_code=255, timeout=1), present).failure
    assert "the board does not answer over SSH (refused)" in str(failure)


def test_a_program_that_ends_with_255_has_answered(tmp_path: Path) -> None:
    """runc ends so if a container has no such program; ssh if the connection fails."""
    present = shell(tmp_path, 'exec sh -c "$command"')
    never = Check(run=("sh", "-c", "echo no such program >&2; exit 255"), timeout=1)
    failure = run(never, present).failure
    assert "the exit code is 255, not 0; the output:\nno such program" in str(failure)
    assert run(Check(run=("sh", "-c", "exit 255"), exit_code=255), present).failure is None
    assert run(Check(run=("sh", "-c", "exit 254"), exit_code=254), present).failure is None
    assert run(Check(run=("echo", "a  b"), matches="^a  b$"), present).failure is None


def test_an_address_is_judged_by_status_and_body(tmp_path: Path) -> None:
    present = shell(tmp_path, "echo '  HTTP/1.1 302 Found\n  HTTP/1.1 200 OK' >&2; echo body")
    assert run(Check(http="http://127.0.0.1/", expect="body"), present).failure is None
    missing = shell(
        tmp_path, "echo 'wget: server returned error: HTTP/1.1 404 Not Found' >&2; exit 1"
    )
    assert run(Check(http="http://127.0.0.1/", status=404), missing).failure is None
    failure = run(Check(http="http://127.0.0.1/", timeout=1), missing).failure
    assert "status is 404, not 200" in str(failure)
    closed = shell(tmp_path, "echo 'connection refused' >&2; exit 1")
    assert "no response" in str(run(Check(http="http://127.0.0.1/", timeout=1), closed).failure)


@pytest.mark.slow
def test_a_program_that_hangs_is_ended(tmp_path: Path) -> None:
    present = shell(tmp_path, "exec sleep 60")
    assert "did not end" in str(run(Check(run=("x",), timeout=1), present).failure)


@pytest.mark.slow
def test_a_last_try_that_is_cut_short_leaves_the_better_reason(tmp_path: Path) -> None:
    present = shell(
        tmp_path, f"[ -e {tmp_path}/again ] && exec sleep 60; : >{tmp_path}/again; exit 3"
    )
    failure = run(Check(run=("x",), timeout=2), present).failure
    assert "the exit code is 3, not 0" in str(failure)


def test_an_answer_without_expectation_is_good() -> None:
    assert output_fault(Check(run=("x",)), "anything") is None
    assert "does not match" in str(output_fault(Check(run=("x",), matches="^a"), "ba"))
