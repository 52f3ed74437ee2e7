"""Nights of polling without a Pi's hours: the poller's own calls, one after the other.

On a Pi each call is a process of its own. Here they are one process, so that whatever a call leaves
behind adds up.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from piimage_agent import updates
from piimage_agent.ddi import Server, Trouble
from piimage_agent.poll import Call, _waited
from piimage_agent.root import Root

from tests.programs.deploy.ddi_server import Ddi

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = frozenset({"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"})


def device(folder: Path, ddi: Ddi) -> Root:
    """Lay out what a call reads of a Pi."""
    texts = {
        "etc/piimage/updates": f"SERVER='{ddi.url}'\nTENANT='t'\nCONTROLLER='pi'\n",
        "run/piimage/boot": "PIIMAGE_SLOT='/slot'\nPIIMAGE_SLOT_PARTITION='2'\n",
        "slot/appliance.json": json.dumps({"name": "shed", "board": "pi4", "order": [1, 2]}),
    }
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    for name in ("data/piimage", "run/piimage/updates"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return Root(str(folder))


@dataclass
class Writes:
    """How often the interpreter opened, renamed, made or removed something below a folder."""

    folder: Path
    counts: Counter[str] = field(default_factory=Counter)
    """By the first folder below: ``data`` is the card, ``run`` is memory."""

    def watch(self) -> Writes:
        """Count from now on, until the process ends: an audit hook cannot be taken away."""
        sys.addaudithook(self._note)
        return self

    def _note(self, event: str, words: tuple[object, ...]) -> None:
        opened = event == "open" and isinstance(words[2], int) and bool(words[2] & _WRITING)
        if opened or event in _CHANGES:
            self._add(words[0])

    def _add(self, path: object) -> None:
        top = f"{self.folder}/"
        if isinstance(path, str) and path.startswith(top):
            self.counts[path.removeprefix(top).partition("/")[0]] += 1


def call(root: Root) -> int:
    """Call once; return the seconds until the next call."""
    settings = updates.load(root)
    assert settings is not None
    server = Server(settings)
    try:
        return Call(root, server).run()
    except Trouble as trouble:
        return _waited(root, trouble)
    finally:
        server.close()


def resident() -> int:
    """Return the resident memory of this process in kB."""
    text = Path("/proc/self/status").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1])
