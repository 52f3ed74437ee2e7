"""Guests whose clock counts instructions, for figures that a busy host does not change.

An emulated processor that has to wait for the host looks busy to its guest. With QEMU's icount, an
instruction takes a nanosecond of the guest's time, whatever else runs on the host: one processor
that does 10^9 instructions a second, always. What of them a real one does in a cycle is not in it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

PROGRAM = "qemu-system-aarch64"
_SCRIPT = """#!/bin/sh
before=
for word; do
	[ "$word" != tcg,thread=multi ] || word=tcg,thread=single
	[ "$before" != -smp ] || word=1
	before=$word
	set -- "$@" "$word"
	shift
done
exec QEMU "$@" -icount shift=0
"""


def count_instructions(folder: Path) -> None:
    """Let the guests that this process starts count time in instructions.

    The new `folder` has a program that stands in front of QEMU.
    """
    qemu = shutil.which(PROGRAM)
    if qemu is None:
        raise SystemExit(f"{PROGRAM} is not installed")
    folder.mkdir()
    program = folder / PROGRAM
    program.write_text(_SCRIPT.replace("QEMU", qemu))
    program.chmod(0o755)
    os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"
