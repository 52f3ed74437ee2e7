"""The system's own ssh: its configuration, agent, jump hosts and known hosts are the user's."""

from __future__ import annotations

import contextlib
import getpass
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen
from typing import IO, Final

from piimage.deploy.hosts import Host
from piimage.deploy.known_hosts import SSH_PORT, KnownHosts, known_name
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
    known_hosts: KnownHosts | None = None
    """Host keys that are accepted beside those of ssh's own files."""

    def argv(self, host: Host, known: Path | None, *options: str) -> list[str]:
        """Return ssh's command up to the host; `known` holds the one key that is accepted."""
        settings = self._settings(host)
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
        elif self.known_hosts is not None:
            files = settings.get("globalknownhostsfile", "").removeprefix("none")
            words += ["-o", f'GlobalKnownHostsFile={files} "{self.known_hosts.path}"']
        if host.port is not None:
            words += ["-p", str(host.port)]
        words += ["-l", host.user or _user(settings)]
        return [*words, "--", host.address]

    def remember(self, host: Host) -> None:
        """Note the pinned key of a host that has just proved it, for verbs that pin none."""
        if host.host_key is None or self.known_hosts is None:
            return
        settings = self._settings(host)
        port = host.port or int(settings.get("port", SSH_PORT))
        name = known_name(settings.get("hostname", host.address), port)
        alias = settings.get("hostkeyalias", name)
        self.known_hosts.add_or_warn([alias], host.host_key, self.runner.emit)

    def _settings(self, host: Host) -> dict[str, str]:
        """Return the settings of ssh for a host, by their names in small letters."""
        config = ["-F", str(self.config)] if self.config is not None else []
        argv = ["ssh", "-G", *config, "--", host.address]
        output = self.runner.run(argv, accept=range(256)).text
        return dict(line.partition(" ")[::2] for line in output.splitlines())

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
        return _host_key_error(host, said, tail)
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


def _host_key_error(host: Host, output: str, tail: str) -> PiimageError:
    """Return the error for a host that ssh does not trust, by what ssh printed."""
    if host.host_key is not None:
        message = "its host key is not the pinned one"
        hint = "check that it is the Pi that you mean, and the key: host_key in the inventory, "
        hint += "ssh.host_key in the file"
    elif "IDENTIFICATION HAS CHANGED" in output:
        message = "its host key has changed"
        hint = "compare the fingerprint; if the card was flashed anew, remove the old key with "
        hint += "ssh-keygen -R HOST"
    else:
        message = "its host key is not known"
        hint = "compare the fingerprint and log in once with ssh, or pin the key: host_key in the "
        hint += "inventory, ssh.host_key in the file"
    return PiimageError("deploy.host-key", f"{message}{tail}", place=host.name, hint=hint)


def _user(settings: Mapping[str, str]) -> str:
    """Return who logs in: whom the user's configuration names for the host, else root."""
    user = settings.get("user", "")
    return user if user and user != _self() else _ROOT


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
