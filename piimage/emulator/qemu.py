"""Checks that this host has a recent QEMU."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Final

from piimage import distribution
from piimage.board import Emulator
from piimage.errors import MissingTool
from piimage.run import Runner

PROGRAM: Final = "qemu-system-aarch64"
LEAST: Final = (9, 0)
"""The first release that has the machines of all boards."""


def version_of(text: str) -> tuple[int, int] | None:
    """Return major and minor version from the output of ``--version``."""
    match = re.search(r"QEMU emulator version (\d{1,4})\.(\d{1,4})", text)
    return (int(match[1]), int(match[2])) if match else None


def upgrade_hint(host: Path = distribution.ROOT) -> str:
    """Return the sentence that tells how `host` gets a QEMU that is new enough."""
    release = distribution.os_release(host)
    if release.get("ID") == "debian" and release.get("VERSION_ID") == "12":
        return "run apt-get install -t bookworm-backports qemu-system-arm qemu-utils"
    return (
        "use a newer release of this distribution, or piimage's container image, which has a "
        "newer QEMU (docs/install.md); a build does not need QEMU"
    )


def require_qemu(runner: Runner) -> None:
    """Raise MissingTool ``emulator.old-qemu`` if QEMU is older than `LEAST`."""
    version = version_of(runner.run([PROGRAM, "--version"], timeout=30).text)
    if version is not None and version >= LEAST:
        return
    shown = "unknown" if version is None else f"{version[0]}.{version[1]}"
    raise MissingTool(
        "emulator.old-qemu",
        f"the version of {PROGRAM} is {shown}; boards need {LEAST[0]}.{LEAST[1]} or newer",
        hint=upgrade_hint(),
    )


def own_tree(runner: Runner, emulator: Emulator, cpus: int, memory_mib: int) -> bytes:
    """Return the device tree that the machine makes for itself, as virt does."""
    with tempfile.TemporaryDirectory(prefix="piimage-") as folder:
        file = Path(folder) / "tree"
        # QEMU reads a doubled comma as a literal one.
        machine = f"{emulator.machine},dumpdtb={str(file).replace(',', ',,')}"
        words = [PROGRAM, "-nodefaults", "-display", "none", "-machine", machine]
        words += ["-cpu", emulator.cpu] if emulator.cpu is not None else []
        words += ["-smp", str(cpus), "-m", str(memory_mib)]
        runner.run(words, timeout=60)
        return file.read_bytes()
