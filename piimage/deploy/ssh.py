"""The system's own ssh: its configuration, agent, jump hosts and known hosts are the user's."""

from __future__ import annotations

import contextlib
import getpass
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen
from typing import IO, Final

from piimage.deploy.hosts import Host
from piimage.deploy.text import printable_lines
from piimage.errors import PiimageError
from piimage.run import Runner

_ROOT: Final = "root"
_LOST: Final = 255  # ssh(1), "EXIT STATUS"
_NOT_FOUND: Final = (126, 127)  # the shell's
_PIN: Final = "piimage-pinned"
_CONNECT_S: Final = 20


@dataclass(frozen=True)
class Ssh:
    """How hosts are reached. `config` is another file than ~/.ssh/config; `ask` allows prompts."""

    runner: Runner
    config: Path | None = None
    ask: bool = True

    def argv(self, host: Host, known: Path | None, *options: str) -> list[str]:
        """Return ssh's command up to the host; `known` holds the one key that is accepted."""
        words = ["ssh", *options]
        if self.config is not None:
            words += ["-F", str(self.config)]
        words += ["-o", f"ConnectTimeout={_CONNECT_S}"]
        words += ["-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3"]
        if not self.ask:
            words += ["-o", "BatchMode=yes"]
        if known is not None:
            words += ["-o", f"UserKnownHostsFile={known}", "-o", "GlobalKnownHostsFile=/dev/null"]
            words += ["-o", f"HostKeyAlias={_PIN}", "-o", "StrictHostKeyChecking=yes"]
        if host.port is not None:
            words += ["-p", str(host.port)]
        words += ["-l", host.user or self._user(host)]
        return [*words, "--", host.address]

    def _user(self, host: Host) -> str:
        """Return who logs in: whom the user's configuration names for the host, else root."""
        config = ["-F", str(self.config)] if self.config is not None else []
        said = self.runner.run(["ssh", "-G", *config, "--", host.address], accept=range(256)).text
        found = dict(line.partition(" ")[::2] for line in said.splitlines())
        user = found.get("user", "")
        return user if user and user != _self() else _ROOT

    @contextlib.contextmanager
    def connected(self, host: Host, command: str) -> Iterator[Connection]:
        """Run `command` on the host, and give its streams; it has ended when the block is left."""
        with tempfile.TemporaryFile() as errors, pinned(host) as known:
            argv = [*self.argv(host, known, "-T", "-e", "none"), command]
            with self.runner.start(argv, stdin=PIPE, stdout=PIPE, stderr=errors) as process:
                yield Connection(host, process, errors)

    @contextlib.contextmanager
    def terminal(self, host: Host, command: Sequence[str], *, tty: bool) -> Iterator[list[str]]:
        """Give the command that runs `command` there with a terminal of its own if `tty`."""
        with pinned(host) as known:
            words = self.argv(host, known, "-t" if tty else "-T")
            yield [*words, *command]


@dataclass(frozen=True)
class Connection:
    """A program on a host."""

    host: Host
    process: Popen[bytes]
    errors: IO[bytes]

    def why_lost(self) -> PiimageError:
        """Return why there is nobody on the other side: PiimageError ``deploy.no-connection``,

        ``deploy.host-key``, ``deploy.no-login``, ``deploy.no-agent`` or ``deploy.lost``.
        """
        try:
            status = self.process.wait(timeout=10)
        except Exception:  # noqa: BLE001  # it hangs: that is no answer either
            status = _LOST
        self.errors.seek(0)
        said = printable_lines(self.errors.read()[-2000:].decode(errors="replace")).strip()
        return lost_error(self.host, status, said)


def lost_error(host: Host, status: int, said: str) -> PiimageError:
    """Return the error for an ssh that ended with `status`; `said` is what it said, printable."""
    place, tail = host.name, f": {said}" if said else ""
    if status in _NOT_FOUND:
        return PiimageError(
            "deploy.no-agent", f"there is no piimage-agent{tail}", place=place,
            hint="build its file with {name: sshd, use: sshd} under services:, and flash the card",
        )  # fmt: skip
    if status != _LOST:
        return PiimageError(
            "deploy.lost", f"the agent ended with status {status}{tail}", place=place,
            hint="try again; what had arrived is kept",
        )  # fmt: skip
    if "host key" in said.lower() or "HOST IDENTIFICATION" in said:
        return PiimageError(
            "deploy.host-key", f"its host key is not the one that is known{tail}", place=place,
            hint="compare the fingerprint and log in once by hand with ssh, or pin the key: "
            "host_key in the inventory, ssh.host_key in the file",
        )  # fmt: skip
    if "Permission denied" in said or "Too many authentication failures" in said:
        return PiimageError(
            "deploy.no-login", f"it does not let us in{tail}", place=place,
            hint="its authorized_keys are those of the file's ssh: section and of "
            "`piimage flash --ssh-key`",
        )  # fmt: skip
    return PiimageError(
        "deploy.no-connection", f"it cannot be reached{tail}", place=place,
        hint="is it on? Does `ssh` reach it?",
    )  # fmt: skip


@contextlib.contextmanager
def pinned(host: Host) -> Iterator[Path | None]:
    """Give a file of known hosts that holds the host's pinned key alone; None if it has none."""
    if host.host_key is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="piimage-") as folder:
        path = Path(folder) / "known_hosts"
        path.write_text(f"{_PIN} {' '.join(host.host_key.split()[:2])}\n")
        yield path


def _self() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
