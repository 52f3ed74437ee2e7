from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from piimage.cli import main as cli
from piimage.errors import ErrorGroup, InputError, PiimageError


def test_without_arguments_the_verbs_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute([]) == 0
    out = capsys.readouterr().out
    assert all(verb in out for verb in cli.VERBS)


def test_an_unknown_verb_is_an_input_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["bild"]) == 2
    assert "there is no command 'bild'" in capsys.readouterr().err


@pytest.mark.parametrize("verb", list(cli.VERBS))
def test_every_verb_has_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute([verb, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"piimage {verb}" in out
    assert "Example" in out or "Commands" in out


def test_a_wrong_option_is_an_input_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["doctor", "--wrong"]) == 2
    assert "--wrong" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status"),
    [(PiimageError("a.b", "x"), 1), (InputError("a.b", "x"), 2), (KeyboardInterrupt(), 130)],
)
def test_the_exit_status_says_what_kind_of_failure_it_was(
    error: BaseException, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(cli, "command", lambda verb: failing)
    assert cli.execute(["doctor"]) == status


VERB_WITH_A_PROGRAM = """
import signal
import sys
from piimage.cli import main as cli
from piimage.run import Runner

def waiting(*_, **__):
    with Runner().start(["sleep", "1000"]) as program:
        print(program.pid, flush=True)
        program.wait()

cli.command = lambda verb: waiting
sys.argv = ["piimage", "doctor"]
# A shell without job control starts what is in its background with SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
cli.main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_who_ends_piimage_ends_the_programs_that_it_started(number: signal.Signals) -> None:
    """`timeout 60 piimage run` left an emulator behind, which nobody saw."""
    words = [sys.executable, "-c", VERB_WITH_A_PROGRAM]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        started = int(process.stdout.readline())
        process.send_signal(number)
        _, message = process.communicate(timeout=60)
    assert process.returncode == 130
    assert message == b"piimage: interrupted\n"
    with pytest.raises(ProcessLookupError):
        os.kill(started, 0)


@pytest.mark.slow
def test_a_signal_that_nohup_ignores_stays_ignored() -> None:
    words = ["nohup", sys.executable, "-c", VERB_WITH_A_PROGRAM]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.2)
        process.terminate()


def test_a_group_prints_every_error_and_exits_as_the_worst(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise ErrorGroup(
            [PiimageError("a.b", "one", place="f:1:2"), InputError("a.c", "two", hint="do this")]
        )

    monkeypatch.setattr(cli, "command", lambda verb: failing)
    assert cli.execute(["doctor"]) == 2
    assert capsys.readouterr().err == "f:1:2: one [a.b]\npiimage: two [a.c]; do this\n"


def test_a_defect_is_one_sentence_and_a_file_never_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise ZeroDivisionError("boom")

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(cli, "command", lambda verb: failing)
    assert cli.execute(["doctor"]) == 1
    err = capsys.readouterr().err
    assert "internal error: ZeroDivisionError: boom" in err
    assert "Traceback" not in err
    (kept,) = tmp_path.glob("*.traceback")
    assert "ZeroDivisionError" in kept.read_text()


@pytest.mark.provokes("doctor.missing-tools")
def test_doctor_names_what_is_missing_and_the_one_command_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda name, path: None if name == "mcopy" else name)
    assert cli.execute(["doctor"]) == 3
    output = capsys.readouterr()
    assert re.search("missing  mcopy +build", output.out)
    assert "apt-get install mtools" in output.err


def test_what_only_a_cluster_needs_is_not_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda name, path: None if name == "kubectl" else name)
    cli.execute(["doctor"])
    output = capsys.readouterr()
    assert re.search("absent   kubectl +deploy --apply", output.out)
    assert "kubectl" not in output.err


def test_doctor_tells_an_emulator_that_is_too_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "qemu-system-aarch64"
    program.write_text("#!/bin/sh\necho QEMU emulator version 8.2.2\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert cli.execute(["doctor"]) == 3
    output = capsys.readouterr()
    assert re.search("old +qemu-system-aarch64", output.out)
    assert "is 8.2; boards need 9.0 or newer [emulator.old-qemu]" in output.err
    assert cli.execute(["doctor", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["tools"]["qemu-system-aarch64"] == "old"
