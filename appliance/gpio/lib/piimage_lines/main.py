"""The program: where things are on a Pi."""

from __future__ import annotations

import signal

from piimage_lines.chips import hold
from piimage_lines.counts import Counts
from piimage_lines.server import Server
from piimage_lines.settings import read_lines
from piimage_lines.state import Lines

LIST = "/etc/piimage/gpio.json"
SOCKET = "/run/piimage/gpio/socket"
COUNTS = "/data/piimage/gpio/counts"
_CONSOLE = "/dev/console"
_SEAL = "/run/piimage/console-seal"


def main() -> int:
    """Hold the lines until process 1 ends this program."""
    counts = Counts(COUNTS)
    server = Server(Lines(read_lines(LIST), counts.saved), counts, hold, SOCKET, _say)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    server.run()
    return 0


def _say(text: str) -> None:
    """Print a line on the console, as usr/lib/piimage/lib.sh does."""
    try:
        with open(_SEAL, encoding="utf-8") as file:
            seal = f"[{file.readline().strip()}] "
    except OSError:
        seal = ""
    try:
        with open(_CONSOLE, "w", encoding="utf-8") as console:
            console.write(f"{seal}piimage: {text}\n")
    except OSError:
        return  # no console: what the lines are can still be asked for
