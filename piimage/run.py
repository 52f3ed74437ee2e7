"""The only place that starts a process.

Every command gets an argv list, a clean environment, a closed standard input unless the caller
gives one, and an event that shows the command as a shell takes it.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Final

from piimage import events, host, tools
from piimage.errors import MissingTool, PiimageError

NETWORK: Final = (
    *("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"),
)
"""Variables that a program needs to reach the network through a proxy."""

REGISTRIES: Final = (*NETWORK, "REGISTRY_AUTH_FILE", "DOCKER_CONFIG")
"""Variables that a client of container registries needs."""

ENGINE: Final = (
    *REGISTRIES,
    *("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "BUILDX_CONFIG"),
)
"""Variables that a client of a container engine needs."""

KEPT: Final = ("PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "SSH_AUTH_SOCK")
_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TAIL_LINES: Final = 20


def clean_environment(outer: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for host tools: no locale, time zone or settings of the user."""
    outer = os.environ if outer is None else outer
    kept = {name: outer[name] for name in KEPT if name in outer}
    # On Debian, a user's PATH lacks sbin, the folder of mkfs and sfdisk.
    # A relative folder in PATH would take programs from the working folder.
    own = [folder for folder in kept.get("PATH", "").split(":") if folder.startswith("/")]
    kept["PATH"] = ":".join([*own, _SYSTEM_PATH])
    return kept | {"LC_ALL": "C.UTF-8", "TZ": "UTC"}


@dataclass(frozen=True)
class Completed:
    """The exit status and the output of a finished command."""

    status: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.stdout.decode(errors="replace")


@dataclass(frozen=True)
class Runner:
    """Starts host programs."""

    emit: events.Listener = events.ignore
    environment: Mapping[str, str] = field(default_factory=clean_environment)

    def with_environment(self, **extra: str) -> Runner:
        """Return a runner whose commands also see the variables `extra`."""
        return replace(self, environment={**self.environment, **extra})

    def passing(self, names: Sequence[str], outer: Mapping[str, str] | None = None) -> Runner:
        """Return a runner whose commands also see those variables `names` that the user has set."""
        outer = os.environ if outer is None else outer
        passed = {name: outer[name] for name in names if name in outer}
        return self.with_environment(**{**passed, **self.environment})

    def run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        stdin: bytes | IO[bytes] | None = None,
        cwd: Path | None = None,
        timeout: float | None = None,
        accept: Sequence[int] = (0,),
    ) -> Completed:
        """Run `argv` to its end and return its output.

        Raises MissingTool if the program is not installed, PiimageError ``run.failed`` (with the
        last lines of output) if its exit status is not in `accept`, and ``run.timeout`` if it
        takes more than `timeout` seconds.
        """
        data = stdin if isinstance(stdin, bytes) else None
        source: int | IO[bytes] = subprocess.PIPE
        if not isinstance(stdin, bytes):
            source = subprocess.DEVNULL if stdin is None else stdin
        with self.start(argv, stdin=source, cwd=cwd) as process:
            try:
                stdout, stderr = process.communicate(data, timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise PiimageError(
                    "run.timeout",
                    f"{argv[0]} did not end within {timeout:g} s",
                    hint=f"the command was: {paste(argv)}",
                ) from None
        done = Completed(process.returncode, stdout or b"", stderr or b"")
        if done.status not in accept:
            raise failure(argv, done, cwd)
        if done.status != 0 and (known := _of_host(argv, done, cwd)):
            raise known  # `accept` is for the program's own statuses
        return done

    def feed(
        self,
        argv: Sequence[str | os.PathLike[str]],
        chunks: Iterable[bytes],
        *,
        cwd: Path | None = None,
    ) -> Completed:
        """Run `argv` with `chunks` as its standard input; raises the errors of `run`.

        An exception of `chunks` kills the command at once and passes through.
        """
        with self.start(argv, stdin=subprocess.PIPE, cwd=cwd) as process:
            assert process.stdin is not None  # noqa: S101  # it is a pipe
            try:
                for chunk in chunks:
                    process.stdin.write(chunk)
            except BrokenPipeError:
                pass  # the command has ended; its own message tells more
            except BaseException:
                process.kill()
                raise
            stdout, stderr = process.communicate()
        done = Completed(process.returncode, stdout or b"", stderr or b"")
        if done.status != 0:
            raise failure(argv, done, cwd)
        return done

    def interactive(self, argv: Sequence[str | os.PathLike[str]]) -> int:
        """Run `argv` with this process's own input and output, and return its exit status."""
        with self.start(argv, stdin=0, stdout=1, stderr=2) as process:
            return process.wait()

    @contextmanager
    def start(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        stdout: int | IO[bytes] = subprocess.PIPE,
        stderr: int | IO[bytes] = subprocess.PIPE,
        cwd: Path | None = None,
        pass_fds: Sequence[int] = (),
        temporary: Path | None = None,
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Start `argv` and yield the process; end it when the block is left.

        `temporary` is the folder with its files, if that is deleted afterwards.
        """
        self.emit(events.CommandStarted(paste(argv), temporary))
        program = os.fspath(argv[0])
        try:
            process = subprocess.Popen(
                [os.fspath(word) for word in argv],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                cwd=cwd,
                pass_fds=tuple(pass_fds),
                env=dict(self.environment),
                umask=0o022,
            )
        except FileNotFoundError as error:
            if cwd is not None and not cwd.is_dir():
                raise
            raise MissingTool(
                "run.missing-tool",
                f"the program {program} is not installed",
                hint=tools.install_hint(program),
            ) from error
        try:
            yield process
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave no process and no pipe behind."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None and not stream.closed:
            try:
                stream.close()
            except BrokenPipeError:
                continue


def paste(argv: Sequence[str | os.PathLike[str]]) -> str:
    """Return `argv` as one line for a shell."""
    return shlex.join(os.fspath(word) for word in argv)


def word(path: str | os.PathLike[str]) -> str:
    """Return `path` as one quoted word of a shell command, on one line and never an option.

    Control characters take the form ``$'...'`` (POSIX.1-2024, 2.2.4).
    """
    text = os.fspath(path)
    text = f"./{text}" if text.startswith("-") else text
    if all(char >= " " and char != "\x7f" for char in text):
        return shlex.quote(text)
    plain = text.replace("\\", "\\\\").replace("'", "\\'")
    shown = (c if c >= " " and c != "\x7f" else f"\\{ord(c):03o}" for c in plain)
    return f"$'{''.join(shown)}'"


def failure(
    argv: Sequence[str | os.PathLike[str]], done: Completed, cwd: Path | None = None
) -> PiimageError:
    """Return the error for a command that ended with an unexpected status."""
    if known := _of_host(argv, done, cwd):
        return known
    lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
    output = ":\n  " + "\n  ".join(lines[-_TAIL_LINES:]) if lines else " and printed nothing"
    return PiimageError(
        "run.failed",
        f"{os.fspath(argv[0])} ended with status {done.status}{output}",
        hint=f"the command was: {paste(argv)}",
    )


def _of_host(
    argv: Sequence[str | os.PathLike[str]], done: Completed, cwd: Path | None
) -> PiimageError | None:
    text = (done.stderr or done.stdout).decode(errors="replace")
    return host.explain_exit([os.fspath(word) for word in argv], done.status, text, cwd)
