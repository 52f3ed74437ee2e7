"""Record piimage in a terminal, and draw the recording as an SVG picture for the README.

    .venv/bin/python scripts/record_terminal.py docs/images/terminal.svg

The commands run for real, on a pseudo-terminal, with the YAML file that the README shows: the
build, and the boot in QEMU. The recording takes about a minute after the first build. The picture
follows the reader's light or dark colour scheme. It has the same bytes each time that the commands
print the same text, so two things are left out: lines that tell how long a step took, and the
progress bars, which a terminal overwrites. A guest that clears the screen is not obeyed.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
COLUMNS: Final = 78
COMMANDS: Final = (
    "piimage check greenhouse.yml",
    "piimage build greenhouse.yml -o out",
    "piimage run out/greenhouse.img --until HELLO",
)

# What moves the cursor up (A) or erases its line (K), as ECMA-48 numbers them; the rest is colour.
_ESCAPES: Final = re.compile(r"(\n|\r|\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[@-Z\\^_=>78]|[\0\a\b])")
_UP: Final = re.compile(r"\x1b\[([0-9]*)A")
_DURATION: Final = re.compile(r" *[0-9]+\.[0-9]{2} s  ")

_FONT: Final = 14  # pixels; a monospace character is at most 0.62 of it wide
_LINE: Final = 20
_MARGIN: Final = 18
_STYLE: Final = """
    rect { fill: #f6f8fa; stroke: #d1d9e0 }
    text { fill: #1f2328; font: 14px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
           white-space: pre }
    .command { fill: #0550ae; font-weight: bold }
    @media (prefers-color-scheme: dark) {
      rect { fill: #0d1117; stroke: #3d444d }
      text { fill: #e6edf3 }
      .command { fill: #79c0ff }
    }
"""


@dataclass(frozen=True)
class Recording:
    """A command, and the lines that it left on the terminal."""

    command: str
    lines: tuple[str, ...]


def record(command: str, folder: Path) -> bytes:
    """Run `command` in `folder` on a pseudo-terminal and return all that it wrote there.

    Raises CalledProcessError if the command fails.
    """
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    process = subprocess.Popen(
        command.split(),
        cwd=folder,
        env=os.environ | {"PATH": programs, "TERM": "xterm-256color"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    written = bytearray()
    with suppress(OSError):  # EIO: the last program closed the terminal
        while piece := os.read(controller, 1 << 16):
            written += piece
    os.close(controller)
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, command, bytes(written))
    return bytes(written)


def visible_lines(written: bytes) -> tuple[str, ...]:
    """Return the lines that a terminal still shows after `written`, without blank ones."""
    lines = [""]
    row = column = 0
    for part in _ESCAPES.split(written.decode(errors="replace")):
        if part == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif part == "\r":
            column = 0
        elif part == "\x1b[2K":
            lines[row] = ""
        elif up := _UP.fullmatch(part):
            row = max(row - int(up[1] or 1), 0)
        elif not _ESCAPES.fullmatch(part):
            line = lines[row].ljust(column)
            lines[row] = line[:column] + part + line[column + len(part) :]
            column += len(part)
    shown = (line.rstrip() for line in lines)
    return tuple(line for line in shown if line and not _DURATION.match(line))


def picture(recordings: Sequence[Recording]) -> str:
    """Draw `recordings`, one below the other, as an SVG document."""
    rows: list[str] = []
    y = _MARGIN + _FONT
    for recording in recordings:
        prompt = f'$ <tspan class="command">{escape(recording.command)}</tspan>'
        for content in (prompt, *map(escape, recording.lines)):
            rows.append(f'  <text x="{_MARGIN}" y="{y}">{content}</text>')
            y += _LINE
        y += _LINE // 2
    width, height = round(COLUMNS * _FONT * 0.62) + 2 * _MARGIN, y - _LINE // 2 - _FONT + _MARGIN
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        f' width="{width}" height="{height}" role="img">',
        "  <title>A terminal in which piimage builds an image and boots it</title>",
        f"  <style>{_STYLE}  </style>",
        f'  <rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>',
        *rows,
        "</svg>",
        "",
    ])  # fmt: skip


def yaml_of_readme() -> str:
    """Return the first YAML block of the README."""
    block = re.search(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert block is not None, "README.md has no YAML block"  # noqa: S101
    return block[1]


def main() -> None:
    """Record all commands and write the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("picture", type=Path, help="The SVG file to write.")
    target = parser.parse_args().picture
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "greenhouse.yml").write_text(yaml_of_readme())
        recordings = [
            Recording(command, visible_lines(record(command, Path(folder)))) for command in COMMANDS
        ]
    target.write_text(picture(recordings))


if __name__ == "__main__":
    main()
