"""Programs that run for long, and what they print."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path


class Output:
    """The output of a process, which a thread reads: a program whose pipe is full would stop."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.text = ""
        self._more = threading.Condition()
        self._ended = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._more:
                self.text += line.decode(errors="replace")
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()

    def wait_for(self, text: str, timeout: float) -> None:
        """Wait until the process has printed `text`, since its start."""
        with self._more:
            self._more.wait_for(lambda: text in self.text or self._ended, timeout)
            assert text in self.text, f"{text!r} was not printed:\n{self.text}"


@contextlib.contextmanager
def started(
    words: Sequence[str | Path],
    environment: dict[str, str] | None = None,
    folder: Path | None = None,
) -> Iterator[Output]:
    """Start a program, and end it with the block."""
    process = subprocess.Popen(
        words, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield Output(process)
    finally:
        process.terminate()
        process.wait(timeout=60)
