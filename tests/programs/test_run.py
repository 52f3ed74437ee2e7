from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from piimage import events
from piimage.errors import MissingTool, PiimageError
from piimage.run import ENGINE, REGISTRIES, Runner, clean_environment, word


def test_run_returns_the_output_of_the_command(runner: Runner) -> None:
    done = runner.run(["sh", "-c", "echo out; echo err >&2"])
    assert (done.status, done.stdout, done.stderr) == (0, b"out\n", b"err\n")


def test_run_feeds_bytes_to_standard_input(runner: Runner) -> None:
    assert runner.run(["cat"], stdin=b"\0abc").stdout == b"\0abc"


def test_standard_input_is_closed_unless_given(runner: Runner) -> None:
    assert runner.run(["cat"]).stdout == b""


def test_commands_see_neither_locale_nor_time_zone_nor_secrets_of_the_user() -> None:
    outer = {"PATH": "/bin", "LANG": "de_DE", "TZ": "Asia/Tokyo", "TOKEN": "secret", "HOME": "/h"}
    environment = clean_environment(outer)
    assert environment["LC_ALL"] == "C.UTF-8"
    assert environment["TZ"] == "UTC"
    assert "TOKEN" not in environment
    assert "LANG" not in environment
    assert environment["PATH"].startswith("/bin:")
    assert "/usr/sbin" in environment["PATH"]


def test_a_command_that_needs_the_network_sees_the_users_proxies_and_nothing_else() -> None:
    outer = {"https_proxy": "http://p:1", "TOKEN": "secret", "DOCKER_HOST": "tcp://elsewhere"}
    runner = Runner(environment=clean_environment({"PATH": "/bin"}))
    assert set(runner.passing(REGISTRIES, outer).environment) - set(runner.environment) == {
        "https_proxy"
    }
    chosen = runner.with_environment(DOCKER_HOST="unix:///here").passing(ENGINE, outer)
    assert chosen.environment["DOCKER_HOST"] == "unix:///here"
    assert runner.passing(ENGINE, outer).environment["DOCKER_HOST"] == "tcp://elsewhere"


def test_the_umask_of_the_user_does_not_matter(runner: Runner, tmp_path, umask_077) -> None:
    runner.run(["touch", tmp_path / "file"])
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


@pytest.fixture
def umask_077() -> Iterator[None]:
    import os

    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.provokes("run.failed")
def test_a_failed_command_is_reported_with_its_last_lines_and_its_argv(
    runner: Runner,
) -> None:
    with pytest.raises(PiimageError) as caught:
        runner.run(["sh", "-c", "seq 1 30 >&2; exit 3"])
    text = str(caught.value)
    assert "ended with status 3" in text
    assert "\n  30" in text
    assert "\n  9\n" not in text
    assert "sh -c 'seq 1 30 >&2; exit 3'" in text


def test_an_accepted_status_is_not_a_failure(runner: Runner) -> None:
    assert runner.run(["sh", "-c", "exit 1"], accept=(0, 1)).status == 1


@pytest.mark.provokes("run.missing-tool")
def test_a_missing_program_is_named_with_its_package(runner: Runner) -> None:
    with pytest.raises(MissingTool) as caught:
        Runner(environment={"PATH": "/nowhere"}).run(["mksquashfs"])
    assert "mksquashfs is not installed" in str(caught.value)
    assert "apt-get install squashfs-tools" in str(caught.value)
    assert caught.value.exit_code == 3


@pytest.mark.provokes("run.timeout")
def test_a_command_that_hangs_is_ended(runner: Runner) -> None:
    with pytest.raises(PiimageError, match=r"did not end within 0\.2 s"):
        runner.run(["sleep", "60"], timeout=0.2)


def test_feed_streams_chunks(runner: Runner) -> None:
    assert runner.feed(["wc", "-c"], (b"x" * 1000 for _ in range(100))).text.strip() == "100000"


def test_feed_reports_the_command_that_stopped_reading(runner: Runner) -> None:
    with pytest.raises(PiimageError, match="full"):
        runner.feed(["sh", "-c", "echo full >&2; exit 1"], (b"x" * 65536 for _ in range(10_000)))


def test_an_exception_of_the_chunks_ends_the_command(runner: Runner) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x"
        raise ValueError("source")

    with pytest.raises(ValueError, match="source"):
        runner.feed(["cat"], broken())


def test_every_command_is_announced_ready_to_paste() -> None:
    emitted: list[events.Event] = []
    Runner(emitted.append).run(["echo", "two words"])
    assert emitted == [events.CommandStarted("echo 'two words'")]


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("pi4.yml", "pi4.yml"),
        ("my pi.yml", "'my pi.yml'"),
        ("a$(id).yml", "'a$(id).yml'"),
        ("-n.yml", "./-n.yml"),
        ("it's.yml", "'it'\"'\"'s.yml'"),
        ("two\nlines\x1b's\\.yml", "$'two\\012lines\\033\\'s\\\\.yml'"),
    ],
)
def test_a_path_is_shown_as_one_word_for_a_shell(path: str, shown: str) -> None:
    assert word(path) == shown
    done = subprocess.run(["bash", "-c", f"printf %s {shown}"], capture_output=True, check=True)
    assert done.stdout.decode() == ("./" + path if path.startswith("-") else path)
