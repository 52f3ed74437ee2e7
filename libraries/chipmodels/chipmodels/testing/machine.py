"""A running guest: its process, its console, and the line to it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from chipmodels.testing.channel import Channel
from chipmodels.testing.engine import Boot, Engine

_TAIL = 40


class Machine:
    """A started guest; `channel` connects to it. Always close it."""

    def __init__(
        self,
        engine: Engine,
        folder: Path,
        init: Path,
        memory_mib: int,
        *,
        disks: Sequence[Path] = (),
        parameters: Sequence[str] = (),
        echo: IO[str] | None = None,
    ) -> None:
        self._echo = echo
        self._console: deque[str] = deque(maxlen=_TAIL)
        self._socket, theirs = socket.socketpair()
        with theirs:
            boot = Boot(folder, init, memory_mib, theirs.fileno(), tuple(disks), tuple(parameters))
            self._process = subprocess.Popen(
                engine.command(boot),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, errors="replace", pass_fds=(boot.line,), start_new_session=True,
                env=os.environ | engine.environment(),
            )  # fmt: skip
        self.channel = Channel(self._socket.fileno(), self._socket.fileno())
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    def _listen(self) -> None:
        for text in self._process.stdout or ():
            self._console.append(text.rstrip())
            if self._echo is not None:
                self._echo.write(text)
                self._echo.flush()  # a pipe would keep it until the guest ends

    def obituary(self, event: str) -> str:
        """Kill the guest, and return `event` with the last lines of the console."""
        self.kill()
        self._reader.join(2)
        lines = "\n".join(f"  {line}" for line in self._console) or "  (nothing)"
        return f"{event}; the last lines of its console:\n{lines}"

    def wait(self, seconds: float) -> bool:
        """Return whether the guest ends by itself within `seconds`."""
        end = time.monotonic() + seconds
        while self._process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        return self._process.returncode is not None

    def kill(self) -> None:
        """Kill the guest and all processes that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Kill the guest, read its console to the end, and close the line."""
        self.kill()
        self._reader.join(2)
        self._socket.close()
