"""QEMU's monitor: why a machine stopped, and what it left in its memory (QMP).

QEMU pauses instead of ending (``-action shutdown=pause``), so that the memory can still be read.
Source: QEMU, "QEMU Machine Protocol Specification", and docs/interop/qemu-qmp-ref: events SHUTDOWN
and WATCHDOG, commands pmemsave and quit.
"""

from __future__ import annotations

import contextlib
import json
import socket
from pathlib import Path
from typing import Any, Final

_BYTES: Final = 65536
_LONGEST: Final = 1 << 20
"""The longest answer that is kept, in bytes; those that matter here are far shorter."""
_FLAG: Final = "try-flag"
_SIZE: Final = 4
_SET: Final = b"1YRT"
"""The flag of a try, as kernel-modules/tryboot/tryboot.c leaves it: 0x54525931, little-endian."""


class Monitor:
    """The connection to the monitor of one start of a machine.

    `flag_at` is the address at which the machine may leave the flag of a try, and `folder` has room
    for a file.
    """

    def __init__(self, flag_at: int | None, folder: Path) -> None:
        self._socket, self.remote = socket.socketpair()
        self._flag_at = flag_at
        self._file = folder / _FLAG
        self._file.unlink(missing_ok=True)  # of an earlier start
        self._rest = b""
        self._shutdown = ""
        self._watchdog = False

    @property
    def reset(self) -> bool:
        """Whether the machine stopped because it was reset."""
        return self._shutdown == "guest-reset"

    @property
    def watchdog(self) -> bool:
        """Whether its watchdog ran out."""
        return self._watchdog

    @property
    def try_flag(self) -> bool:
        """Whether the machine left the flag of a try."""
        with contextlib.suppress(FileNotFoundError):
            return self._file.read_bytes() == _SET
        return False

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close both ends."""
        self._socket.close()
        self.remote.close()

    def receive(self) -> bool:
        """Handle what QEMU sent; return False if it has closed the connection."""
        try:
            data = self._socket.recv(_BYTES)
        except OSError:
            return False
        *lines, self._rest = (self._rest[-_LONGEST:] + data).split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError):
                self._handle(json.loads(line))
        return bool(data)

    def _handle(self, message: Any) -> None:  # noqa: ANN401  # any JSON
        if not isinstance(message, dict):
            return
        if "QMP" in message:
            self._send("qmp_capabilities")
        elif message.get("id") == _FLAG:
            self._send("quit")
        elif message.get("event") == "WATCHDOG":
            self._watchdog = True
        elif message.get("event") == "SHUTDOWN" and not self._shutdown:
            # Only the first one has the machine's reason: `quit` brings another.
            data = message.get("data")
            self._shutdown = str(data.get("reason")) if isinstance(data, dict) else "unknown"
            self._end()

    def _end(self) -> None:
        """Read the flag of a machine that was reset, then end QEMU."""
        if not self.reset or self._flag_at is None:
            self._send("quit")
            return
        self._send(
            "pmemsave", _FLAG, val=self._flag_at, size=_SIZE, filename=str(self._file.absolute())
        )

    def _send(self, command: str, identity: str | None = None, **arguments: object) -> None:
        message: dict[str, object] = {"execute": command}
        if identity is not None:
            message["id"] = identity
        if arguments:
            message["arguments"] = arguments
        with contextlib.suppress(OSError):
            self._socket.sendall(json.dumps(message).encode() + b"\n")
