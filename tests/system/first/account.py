"""A new user's account: an empty home and an SSH key, as `ssh-keygen` and the desktop leave it."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.system.conftest import PIIMAGE

PASSED = ("PIIMAGE_MIRROR", "PIIMAGE_ACCELERATOR")  # what the run of the tests chose


@dataclass(frozen=True)
class Account:
    """A home folder, and the variables that its user's shell has."""

    home: Path
    environment: Mapping[str, str]

    def run(self, *command: str | Path, reply: str = "", timeout: float = 900) -> str:
        """Run a command on a terminal in the home folder, type `reply`, and return what it shows.

        The command must end with 0.
        """
        ours, theirs = pty.openpty()
        with open(ours, "r+b", buffering=0) as terminal:  # noqa: PTH123  # a descriptor
            process = subprocess.Popen(
                command, cwd=self.home, env=dict(self.environment), start_new_session=True,
                stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            os.close(theirs)
            terminal.write(reply.encode())
            output, _ = process.communicate(timeout=timeout)
        text = output.decode()
        assert process.returncode == 0, text
        return text


@contextlib.contextmanager
def account(home: Path, store: Path) -> Iterator[Account]:
    """Give an account whose ssh-agent has the key of ``~/.ssh/id_ed25519.pub``.

    ssh looks for files in the home of the user who runs the tests: it gets the key from the agent.
    """
    keys = home / ".ssh"
    keys.mkdir(parents=True)
    key, socket = keys / "id_ed25519", home / "agent"
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ada@laptop", "-f", key]
    subprocess.run(make, check=True)
    environment = {
        "HOME": str(home), "LANG": "C.UTF-8", "TERM": "dumb", "PIIMAGE_STORE": str(store),
        "PATH": f"{PIIMAGE.parent}:{os.environ['PATH']}", "SSH_AUTH_SOCK": str(socket),
        **{name: os.environ[name] for name in PASSED if name in os.environ},
    }  # fmt: skip
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        while not socket.exists():
            time.sleep(0.05)
        subprocess.run(["ssh-add", "-q", key], check=True, env=environment)
        yield Account(home, environment)
    finally:
        agent.terminate()
        agent.wait(timeout=20)
