"""A machine to deploy to: a real sshd of this host, with keys of its own, for root."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.system.ports import free_port, wait_for


@dataclass(frozen=True)
class Sshd:
    """A running sshd, and the configuration with which ssh gets in."""

    port: int
    config: Path


def make_key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)


@contextmanager
def sshd(folder: Path, settings: str = "", within: Sequence[str] = ()) -> Iterator[Sshd]:
    """Start an sshd that takes one key; its host key is known to who uses the options.

    `settings` are further lines of its configuration, `within` the words of what runs it.
    """
    make_key(folder / "host")
    make_key(folder / "user")
    port = free_port()
    Path("/run/sshd").mkdir(exist_ok=True)  # its privilege separation asks for it
    (folder / "config").write_text(f"""Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
MaxStartups 50
{settings}
""")
    public = (folder / "host.pub").read_text().split()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {public[0]} {public[1]}\n")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*within, "/usr/sbin/sshd", "-D", "-e", "-f", folder / "config"],
            stdout=log, stderr=log,
        )  # fmt: skip
        try:
            wait_for(port, process)
            (folder / "ssh_config").write_text(
                f"IdentityFile {folder}/user\nIdentitiesOnly yes\n"
                f"UserKnownHostsFile {folder}/known\nStrictHostKeyChecking yes\n"
            )
            yield Sshd(port, folder / "ssh_config")
        finally:
            process.terminate()
            process.wait(timeout=20)
