"""Files as the kernel's drivers make them, and the service `sensors` over them on this computer.

No driver and no bus are behind the files. What is left is the work of the service itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from piimage.emulator.ports import free_port

ROOT = Path(__file__).parents[1]
_SERVE = """
import sys
from pathlib import Path
import sensors
from sensorkit import cli
folder = Path(sys.argv.pop())
sys.exit(cli.main(sensors.service(folder)))
"""
_TICKS = os.sysconf("SC_CLK_TCK")
_IIO = "iio:device0"


@dataclass(frozen=True)
class Chip:
    """A chip at an address of i2c-1; `files` are those of its IIO or hwmon device."""

    name: str
    chip: str
    address: int
    files: Mapping[str, str]
    device: str = _IIO

    def folder(self, sys_folder: Path) -> Path:
        """Return the folder of its values."""
        return sys_folder / f"bus/i2c/devices/1-{self.address:04x}" / self.device

    def write(self, sys_folder: Path, files: Mapping[str, str]) -> None:
        """Change some of its values."""
        for name, text in files.items():
            (self.folder(sys_folder) / name).write_text(f"{text}\n")


def make(sys_folder: Path, chips: Sequence[Chip], every: int) -> Path:
    """Write the files of the chips; return piimage's list of them, beside the folder."""
    (sys_folder / "bus/i2c/devices/i2c-1").mkdir(parents=True)
    for chip in chips:
        chip.folder(sys_folder).mkdir(parents=True)
        (sys_folder / f"bus/i2c/devices/1-{chip.address:04x}/driver").mkdir()
        chip.write(sys_folder, chip.files)
    entries = [
        {"name": c.name, "chip": c.chip, "bus": "i2c1", "address": c.address, "every": every}
        for c in chips
    ]
    listed = sys_folder.with_name("sensors.json")
    listed.write_text(json.dumps({"sensors": entries}))
    return listed


@dataclass(frozen=True)
class Service:
    """The running service."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def url(self) -> str:
        """The address of its page."""
        return f"http://127.0.0.1:{self.port}/"

    def get(self, path: str) -> str:
        """Return a document; empty before the server listens."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=20) as found:
                return str(found.read(), "utf-8")
        except OSError:
            return ""

    def seconds(self) -> float:
        """Return the processor time that it has used: user and system."""
        text = Path(f"/proc/{self.process.pid}/stat").read_text()
        user, system = text.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / _TICKS

    def resident(self) -> float:
        """Return its memory in megabytes."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.partition("VmRSS:")[2].split()[0]) * 1024 / 1e6


@contextmanager
def serving(sys_folder: Path, listed: Path) -> Iterator[Service]:
    """Run the service over the files, and end it."""
    port = free_port()
    folders = ("services/sensors", "libraries/sensorkit")
    environment = {
        **os.environ,
        "PYTHONPATH": ":".join(str(ROOT / folder) for folder in folders),
        "SENSORS_FILE": str(listed),
        "SENSORS_HTTP_LISTEN": f"127.0.0.1:{port}",
        "SENSORS_HISTORY_HOURS": "0.4",
        "SENSORS_OTHERS": "no",
    }
    words = [sys.executable, "-c", _SERVE, "serve", str(sys_folder)]
    process = subprocess.Popen(words, env=environment)
    try:
        yield Service(process, port)
    finally:
        process.terminate()
        process.wait(30)
