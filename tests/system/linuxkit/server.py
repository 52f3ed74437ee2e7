"""A registry as people run their own: Debian's docker-registry, plain HTTP, on this host alone."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.system.ports import free_port, wait_for

_REQUEST = re.compile(r'"(GET|HEAD) (/v2/[^ ]*) HTTP/1\.1" (\d+)')


@dataclass(frozen=True)
class Server:
    """A running registry; `address` is host:port."""

    address: str
    log: Path

    def requests(self) -> list[str]:
        """Paths that were asked for and given so far, in order."""
        found = _REQUEST.findall(self.log.read_text())
        return [path for _, path, status in found if status == "200"]


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    port = free_port()
    settings = {
        "version": "0.1",
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    (folder / "config.yml").write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        words = ["docker-registry", "serve", folder / "config.yml"]
        process = subprocess.Popen(words, stdout=log, stderr=log)
        try:
            wait_for(port, process)
            yield Server(f"127.0.0.1:{port}", folder / "log")
        finally:
            process.terminate()
            process.wait(timeout=20)
