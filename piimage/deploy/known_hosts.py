"""The user's host keys of Pis, in a file of piimage's own that every verb hands to ssh.

Build, flash and deploy write into it the keys that they pin. Format: sshd(8), "SSH_KNOWN_HOSTS FILE
FORMAT". A name may have several keys: cards of different files may have the same host name.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piimage import events
from piimage.durable import PRIVATE, make_folder, write_chunks
from piimage.errors import PiimageError
from piimage.host import writing

SSH_PORT: Final = 22
# Neither a pattern nor a list of names, nor a marker.
_NAME: Final = re.compile(r"[A-Za-z0-9_\[][A-Za-z0-9_.:%\[\]-]*")


@dataclass(frozen=True)
class KnownHosts:
    """The file at `path`."""

    path: Path

    def add(self, names: Iterable[str], public_key: str) -> None:
        """Add a key (``ssh-ed25519 AAAA…``) of the hosts `names`; do nothing if it is known.

        Raises the errors of the host (``host.full`` and the like).
        """
        key = " ".join(public_key.split()[:2])
        lines = [f"{name} {key}" for name in names if _NAME.fullmatch(name)]
        if set(lines) <= set(self._lines()):
            return
        with writing(self.path):
            make_folder(self.path.parent, 0o700)
            with self.path.with_name(f"{self.path.name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                merged = dict.fromkeys([*self._lines(), *lines])
                text = "".join(f"{line}\n" for line in merged)
                write_chunks(self.path, [text.encode("utf-8", "surrogateescape")], PRIVATE)

    def add_or_warn(self, names: Iterable[str], public_key: str, emit: events.Listener) -> None:
        """Add a key as `add`; a file that cannot be written is worth a warning, and no more."""
        try:
            self.add(names, public_key)
        except (PiimageError, OSError) as error:
            emit(events.Warning(f"the host key could not be noted for later commands: {error}"))

    def _lines(self) -> list[str]:
        try:
            return self.path.read_text("utf-8", "surrogateescape").splitlines()
        except FileNotFoundError:
            return []


def known_name(hostname: str, port: int) -> str:
    """Return what known_hosts calls a host."""
    return hostname if port == SSH_PORT else f"[{hostname}]:{port}"


def default_path(environment: Mapping[str, str] | None = None) -> Path:
    """Return the user's file; XDG Base Directory Specification, XDG_STATE_HOME."""
    env = os.environ if environment is None else environment
    state = Path(env.get("XDG_STATE_HOME", ""))
    folder = state if state.is_absolute() else Path.home() / ".local" / "state"
    return folder / "piimage" / "known_hosts"
