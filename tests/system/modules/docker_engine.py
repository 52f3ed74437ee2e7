"""A Docker engine of the test's own, so that an engine of this host is left alone."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
from docker.errors import DockerException

BRIDGE = f"pii-mod{os.getpid()}"  # two runs on one machine do not meet


@contextmanager
def engine_at(folder: Path) -> Iterator[str]:
    """Start an engine with its files in `folder`; give its address."""
    host = f"unix://{folder}/docker.sock"
    subprocess.run(["ip", "link", "add", BRIDGE, "type", "bridge"], check=True)
    try:
        subprocess.run(["ip", "address", "add", "172.31.251.1/24", "dev", BRIDGE], check=True)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                ["dockerd", "--data-root", folder / "data", "--exec-root", folder / "exec",
                 "-p", folder / "pid", "-H", host, f"--bridge={BRIDGE}", "--iptables=false"],
                stdout=log, stderr=log,
            )  # fmt: skip
        try:
            _wait(process, host, folder / "log")
            yield host
        finally:
            process.terminate()
            process.wait(timeout=60)
    finally:
        subprocess.run(["ip", "link", "delete", BRIDGE], check=True)


def _wait(process: subprocess.Popen[bytes], host: str, log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            client = docker.DockerClient(base_url=host)
            client.ping()
            client.close()
        except DockerException:
            time.sleep(0.3)
        else:
            return
    raise AssertionError(log.read_text()[-2000:])
