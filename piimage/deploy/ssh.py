"""Runs the system's ssh, with the user's configuration, agent, jump hosts and known hosts."""

from __future__ import annotations

import contextlib
import getpass
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen
from typing import IO, Final

from piimage.deploy.hosts import Host
from piimage.deploy.known_hosts import SSH_PORT, KnownHosts, known_name
from piimage.deploy.mdns import DOMAIN
from piimage.deploy.text import printable_lines
from piimage.errors import PiimageError
from piimage.run import Runner

_ROOT: Final = "root"
_LOST: Final = 255  # ssh(1), "EXIT STATUS"
_NOT_FOUND: Final = (126, 127)  # the shell's
_PIN: Final = "piimage-pinned"
_CONNECT_S: Final = 20
_QUOTED: Final = 2000  # bytes of what ssh printed


@dataclass(frozen=True)
class Ssh:
    """How to reach hosts. `config` replaces ~/.ssh/config; `ask` allows ssh to prompt."""

    runner: Runner
    config: Path | None = None
    ask: bool = True
    known_hosts: KnownHosts | None = None
    """Host keys to accept in addition to those in ssh's own files."""
    find_address: Callable[[str], str | None] = lambda name: None
    """Returns the address of a name in .local; None leaves the name to the system's resolver."""

    def argv(self, host: Host, pin: Path | None, *options: str) -> list[str]:
        """Return ssh's command line up to the host; only the key in the file `pin` is valid."""
        settings = self._settings(host)
        words = ["ssh", *options]
        if self.config is not None:
            words += ["-F", str(self.config)]
        words += ["-o", f"ConnectTimeout={_CONNECT_S}"]
        words += ["-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3"]
        if not self.ask:
            words += ["-o", "BatchMode=yes"]
        if pin is not None:
            words += ["-o", f"UserKnownHostsFile={pin}", "-o", "GlobalKnownHostsFile=/dev/null"]
            words += ["-o", f"HostKeyAlias={_PIN}", "-o", "StrictHostKeyChecking=yes"]
        elif self.known_hosts is not None:
            files = settings.get("globalknownhostsfile", "").removeprefix("none")
            words += ["-o", f'GlobalKnownHostsFile={files} "{self.known_hosts.path}"']
        words += self._address(host, settings, pin)
        if host.port is not None:
            words += ["-p", str(host.port)]
        if host.identity is not None:
            words += ["-i", str(host.identity), "-o", "IdentitiesOnly=yes"]
        words += ["-l", host.user or _user(settings)]
        return [*words, "--", host.address]

    def remember(self, host: Host) -> None:
        """Add the pinned key of an authenticated host to `known_hosts`, for later commands."""
        if host.host_key is None or self.known_hosts is None:
            return
        alias = _key_name(host, self._settings(host))
        self.known_hosts.add_or_warn([alias], host.host_key, self.runner.emit)

    def _address(self, host: Host, settings: Mapping[str, str], pin: Path | None) -> list[str]:
        """Return the options for a name in .local, which many systems do not resolve.

        The host key stays that of the name. Behind a jump host, the name is the other side's.
        """
        name = settings.get("hostname", host.address)
        if not name.lower().endswith(DOMAIN) or settings.keys() & {"proxyjump", "proxycommand"}:
            return []
        address = self.find_address(name)
        if address is None:
            return []
        alias = [] if pin is not None else ["-o", f"HostKeyAlias={_key_name(host, settings)}"]
        escaped = address.replace("%", "%%")  # ssh_config(5), "TOKENS"
        return ["-o", f"HostName={escaped}", *alias]

    def _settings(self, host: Host) -> dict[str, str]:
        """Return ssh's settings for a host, by lower-case name (`ssh -G`)."""
        config = ["-F", str(self.config)] if self.config is not None else []
        argv = ["ssh", "-G", *config, "--", host.address]
        output = self.runner.run(argv, accept=range(256)).text
        return dict(line.partition(" ")[::2] for line in output.splitlines())

    @contextlib.contextmanager
    def connected(self, host: Host, command: str) -> Iterator[Connection]:
        """Run `command` on the host and yield its streams; end it when the block ends."""
        with tempfile.TemporaryFile() as errors, pinned(host) as pin:
            argv = [*self.argv(host, pin, "-T", "-e", "none"), command]
            with self.runner.start(argv, stdin=PIPE, stdout=PIPE, stderr=errors) as process:
                yield Connection(host, process, errors)

    @contextlib.contextmanager
    def terminal(self, host: Host, command: Sequence[str], *, tty: bool) -> Iterator[list[str]]:
        """Yield the ssh command that runs `command` on the host, in a new terminal if `tty`."""
        with pinned(host) as pin:
            words = self.argv(host, pin, "-t" if tty else "-T")
            yield [*words, *command]


@dataclass(frozen=True)
class Connection:
    """A program that runs on a host."""

    host: Host
    process: Popen[bytes]
    errors: IO[bytes]

    def why_lost(self) -> PiimageError:
        """Return the error that explains why the connection ended.

        It is a PiimageError ``deploy.no-connection``, ``deploy.host-key``, ``deploy.no-login``,
        ``deploy.no-agent`` or ``deploy.lost``.
        """
        try:
            status = self.process.wait(timeout=10)
        except Exception:  # noqa: BLE001  # ssh that does not end is as good as lost
            status = _LOST
        self.errors.seek(0)
        return lost_error(self.host, status, self.errors.read())


def lost_error(host: Host, status: int, stderr: bytes) -> PiimageError:
    """Return the error for an ssh that ended with exit code `status`; quote its `stderr`."""
    output = printable_lines(stderr[-_QUOTED:].decode(errors="replace")).strip()
    place, tail = host.name, f": {output}" if output else ""
    if status in _NOT_FOUND:
        return PiimageError(
            "deploy.no-agent", f"the host has no piimage-agent{tail}", place=place,
            hint="add {name: sshd, use: sshd} to services: in its file, then flash the card",
        )  # fmt: skip
    if status != _LOST:
        return PiimageError(
            "deploy.lost", f"the agent ended with exit code {status}{tail}", place=place,
            hint="try again; layers that arrived are kept",
        )  # fmt: skip
    if "host key" in output.lower() or "HOST IDENTIFICATION" in output:
        return _host_key_error(host, output, tail)
    if "Permission denied" in output or "Too many authentication failures" in output:
        return PiimageError(
            "deploy.no-login", f"the login was denied{tail}", place=place,
            hint="the Pi accepts the keys of `ssh: authorized_keys:` in its file and of "
            "`piimage flash --ssh-key`",
        )  # fmt: skip
    return PiimageError(
        "deploy.no-connection", f"the host cannot be reached{tail}", place=place,
        hint="check that it is switched on, and that `ssh` reaches it; `piimage discover` lists "
        "the Pis that answer on this network",
    )  # fmt: skip


def _host_key_error(host: Host, output: str, tail: str) -> PiimageError:
    """Return the error for a host key that ssh does not accept, judged by the output of ssh."""
    if host.host_key is not None:
        message = "its host key is not the pinned one"
        hint = "check that this is the right Pi, and check the key: host_key in the inventory, "
        hint += "ssh.host_key in the file"
    elif "IDENTIFICATION HAS CHANGED" in output:
        message = "its host key has changed"
        hint = "compare the fingerprint; if the card was flashed again, remove the old key with "
        hint += "ssh-keygen -R HOST"
    else:
        message = "its host key is not known"
        hint = "compare the fingerprint and log in once with ssh, or pin the key: host_key in the "
        hint += "inventory, ssh.host_key in the file"
    return PiimageError("deploy.host-key", f"{message}{tail}", place=host.name, hint=hint)


def _key_name(host: Host, settings: Mapping[str, str]) -> str:
    """Return the name under which ssh looks up a host's key."""
    port = host.port or int(settings.get("port", SSH_PORT))
    name = known_name(settings.get("hostname", host.address), port)
    return settings.get("hostkeyalias", name)


def _user(settings: Mapping[str, str]) -> str:
    """Return the user who logs in: the one of ssh's configuration, else root."""
    user = settings.get("user", "")
    return user if user and user != _local_user() else _ROOT


@contextlib.contextmanager
def pinned(host: Host) -> Iterator[Path | None]:
    """Yield a known_hosts file that has only the host's pinned key; None if no key is pinned."""
    if host.host_key is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="piimage-") as folder:
        path = Path(folder) / "known_hosts"
        path.write_text(f"{_PIN} {' '.join(host.host_key.split()[:2])}\n")
        yield path


def _local_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
