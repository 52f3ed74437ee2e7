"""A shell on the emulated board over SSH, with a key that exists only for the test."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piimage.board import Board
from piimage.card import tables
from piimage.card.ext4 import DataFile, put_files
from piimage.config.models import Appliance
from piimage.emulator.ports import LOCAL
from piimage.errors import InputError, PiimageError
from piimage.flash.provision import no_data
from piimage.run import Completed, Runner
from piimage.testing.source import RootShell

_KEYS: Final = "piimage/provision/authorized_keys"
_SEAL: Final = "piimage/provision/console-seal"
_SSH_ERROR: Final = 255  # ssh(1), "EXIT STATUS": ssh itself failed, or the program ended so
_OWN: Final = b"piimage: the program itself ended with 255\n"
_PAUSE: Final = 1.0
_OPTIONS: Final = (
    "BatchMode=yes",
    "ConnectTimeout=20",
    "IdentitiesOnly=yes",
    "LogLevel=ERROR",
    "StrictHostKeyChecking=no",  # the board has just created its host key
    "UserKnownHostsFile=/dev/null",
)


@dataclass(frozen=True)
class Shell:
    """The shell of root on the board, through `port` of this host."""

    runner: Runner
    key: Path
    port: int

    def run(self, argv: Sequence[str], timeout: float) -> Completed:
        """Run `argv` on the board, outside the containers.

        Raises PiimageError ``testing.no-answer`` if the connection fails, ``run.timeout``.
        """
        options = [word for option in _OPTIONS for word in ("-o", option)]
        target = ["-p", str(self.port), "-i", str(self.key), f"root@{LOCAL}"]
        command = ["ssh", "-F", "/dev/null", *options, *target, "--", telling_255(argv)]
        completed = self.runner.run(command, timeout=timeout, accept=range(256))
        if is_lost(completed):
            output = completed.stderr.decode(errors="replace").strip()
            raise PiimageError(
                "testing.no-answer",
                f"the board does not answer over SSH ({output})",
                hint="give it an address with {name: dhcp, use: dhcp} under onboot:",
            )
        return completed

    def wait(self, timeout: float) -> None:
        """Wait until the board answers; raises the errors of `run`."""
        wait_for_shell(self, timeout)


def telling_255(argv: Sequence[str]) -> str:
    """Return the line for sh that runs `argv` so that `is_lost` knows its exit code 255.

    ssh ends with 255 as well if the connection fails, and runc if it finds no such program.
    """
    tell = f"[ $status -ne {_SSH_ERROR} ] || echo '{_OWN.decode().strip()}' >&2"
    return f"{shlex.join(argv)} || {{ status=$?; {tell}; exit $status; }}"


def is_lost(completed: Completed) -> bool:
    """Return whether the connection failed in which a line of `telling_255` ran."""
    return completed.status == _SSH_ERROR and not completed.stderr.endswith(_OWN)


def wait_for_shell(shell: RootShell, timeout: float) -> None:
    """Wait until `shell` answers; raises the errors of its `run`."""
    deadline = time.monotonic() + timeout
    while True:
        left = deadline - time.monotonic()
        try:
            shell.run(["true"], max(left, _PAUSE))
        except PiimageError:
            if left <= _PAUSE:
                raise
            time.sleep(_PAUSE)
        else:
            return


def require_shell(appliance: Appliance, board: Board) -> None:
    """Raise InputError ``testing.no-shell`` if SSH to the emulated board is not possible."""
    if board.emulator is None or not board.emulator.network:
        raise InputError(
            "testing.no-shell",
            f"checks with run: or http: need a network, but {board.name} has none in QEMU",
            place="test",
            hint="use checks with console: instead",
        )
    if not any(entry.folder and entry.folder.name == "sshd" for entry in appliance.services):
        raise InputError(
            "testing.no-shell",
            "checks with run: or http: need SSH, but the file has no sshd",
            place="test",
            hint="add {name: sshd, use: sshd} to services: and {name: dhcp, use: dhcp} to onboot:, "
            "or use checks with console:",
        )


def card_with_key(runner: Runner, image: Path, board: Board, folder: Path) -> tuple[Path, Path]:
    """Return a copy of the card `image` that accepts a new key, and the key; both in `folder`."""
    key, public = new_key(runner, folder)
    return card_with(runner, image, board, folder, public), key


def new_key(runner: Runner, folder: Path) -> tuple[Path, Mapping[str, DataFile]]:
    """Create a key in `folder`; return it, and the data partition's files that authorize it."""
    key = folder / "key"
    runner.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "piimage test", "-f", key])
    return key, {_KEYS: DataFile(key.with_suffix(".pub").read_bytes(), 0o600)}


def sealed(seal: str) -> Mapping[str, DataFile]:
    """Return the data partition's files that make the system's own lines begin with `seal`."""
    return {_SEAL: DataFile(f"{seal}\n".encode(), 0o600)}


def card_with(
    runner: Runner, image: Path, board: Board, folder: Path, files: Mapping[str, DataFile]
) -> Path:
    """Return a copy of the card `image`, in `folder`, with `files` on its data partition.

    Raises PiimageError ``card.no-data`` for an ISO, which has none.
    """
    card = folder / "card.img"
    runner.run(["cp", "--sparse=always", "--reflink=auto", image, card])
    with card.open("rb") as file:
        table = tables.decode(file.read(tables.HEAD), card.stat().st_size, str(image)).partitions
    data = table.get(board.layout.data)
    if data is None:
        raise no_data(str(image))
    put_files(runner, card, data.start, files)
    return card
