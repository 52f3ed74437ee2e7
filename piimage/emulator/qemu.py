"""The QEMU of this host: is it there, and new enough."""

from __future__ import annotations

import re
from typing import Final

from piimage.errors import MissingTool
from piimage.run import Runner

PROGRAM: Final = "qemu-system-aarch64"
LEAST: Final = (9, 0)
"""The first release with all the machines that boards name."""


def version_of(text: str) -> tuple[int, int] | None:
    """Return major and minor version from what ``--version`` prints."""
    match = re.search(r"QEMU emulator version (\d{1,4})\.(\d{1,4})", text)
    return (int(match[1]), int(match[2])) if match else None


def require_qemu(runner: Runner) -> None:
    """Raise MissingTool ``emulator.old-qemu`` when QEMU is older than `LEAST`."""
    found = version_of(runner.run([PROGRAM, "--version"], timeout=30).text)
    if found is not None and found >= LEAST:
        return
    have = "of an unknown version" if found is None else f"{found[0]}.{found[1]}"
    raise MissingTool(
        "emulator.old-qemu",
        f"{PROGRAM} is {have}; boards need {LEAST[0]}.{LEAST[1]} or newer",
        hint="on Debian 12: apt-get install -t bookworm-backports qemu-system-arm qemu-utils",
    )
