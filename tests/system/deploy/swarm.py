"""A Swarm of real engines: a network namespace and a process namespace for each node, one bridge.

The end of a node's process namespace is a power cut: the engine, its containerd and all containers
are gone at once. The images are for arm64 and run under qemu-user, so a stack is deployed here with
``--resolve-image never``: else Swarm looks for nodes of the image's processor.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.system.deploy.namespaces import ip
from tests.system.ports import wait_for

PATIENCE = 300.0
_REGISTRY_PORT = 5000


@dataclass
class Node:
    """One engine; what it keeps in `folder` outlives a power cut."""

    name: str
    address: str
    folder: Path
    registry: str
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start the engine, and wait until it answers."""
        engine = (
            f"hostname {self.name} && exec dockerd --data-root {self.folder}/data"
            f" --exec-root {self.folder}/exec -p {self.folder}/pid -H {self.socket}"
            f" --bridge=none --iptables=false --insecure-registry {self.registry}"
        )
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{self.name}", "unshare", "--uts", "--pid", "--fork",
                 "--kill-child", "--mount-proc", "sh", "-c", engine],
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        until(self._answers, f"{self.name} does not answer")

    def cut_power(self) -> None:
        """End the engine and everything in its containers at once."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=60)
            self._process = None
        for name in ("pid", "docker.sock", "exec"):
            # What a restart of a machine clears: /run is in memory there.
            subprocess.run(["rm", "-rf", "--one-file-system", self.folder / name], check=True)

    @property
    def socket(self) -> str:
        """The address of the engine."""
        return f"unix://{self.folder}/docker.sock"

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
        return self.try_docker("version").returncode == 0

    def try_docker(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run Docker's client for this engine."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
        return subprocess.run(
            ["docker", "-H", self.socket, *words],
            capture_output=True, text=True, check=False, env=environment, timeout=PATIENCE,
        )  # fmt: skip

    def docker(self, *words: str) -> str:
        """Return what Docker's client prints."""
        done = self.try_docker(*words)
        assert done.returncode == 0, (self.name, words, done.stderr)
        return done.stdout.strip()

    def rows(self, *words: str) -> list[dict[str, str]]:
        """Return the rows of a list that Docker's client prints."""
        text = self.docker(*words, "--format", "{{json .}}")
        return [json.loads(line) for line in text.splitlines()]

    def page(self, port: int) -> str:
        """What is served on the node's own network; empty if nothing answers."""
        done = subprocess.run(
            ["nsenter", f"--net=/run/netns/{self.name}", "timeout", "10", "busybox", "wget", "-q",
             "-O", "-", f"http://127.0.0.1:{port}/index.html"],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        return done.stdout.strip()


def until(holds: Callable[[], bool], complaint: str) -> float:
    """Wait until something holds; return the seconds that it took."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < PATIENCE, complaint
        time.sleep(0.5)
    return time.monotonic() - began


@contextmanager
def engines(folder: Path, names: Sequence[str], bridge: str, network: str) -> Iterator[list[Node]]:
    """Start an engine for each name and a registry for all; `network` is like 10.213.78."""
    registry = f"{network}.1:{_REGISTRY_PORT}"
    with ExitStack() as stack:
        ip("link", "add", bridge, "type", "bridge")
        stack.callback(ip, "link", "del", bridge)
        ip("address", "add", f"{network}.1/24", "dev", bridge)
        ip("link", "set", bridge, "up")
        stack.enter_context(_registry(folder, registry))
        nodes = []
        for number, name in enumerate(names):
            node = Node(name, f"{network}.{number + 10}", folder / name, registry)
            node.folder.mkdir()
            stack.enter_context(_attached(node, bridge))
            node.start()
            nodes.append(node)
        yield nodes


@contextmanager
def _attached(node: Node, bridge: str) -> Iterator[None]:
    """Make the node's network; at the end the node is off."""
    ip("netns", "add", node.name)
    try:
        outer = f"{node.name}h"
        ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", node.name)
        ip("link", "set", outer, "master", bridge, "up")
        ip("-n", node.name, "address", "add", f"{node.address}/24", "dev", "eth0")
        for name in ("eth0", "lo"):
            ip("-n", node.name, "link", "set", name, "up")
        yield
    finally:
        node.cut_power()
        ip("netns", "del", node.name)


@contextmanager
def _registry(folder: Path, address: str) -> Iterator[None]:
    settings = {
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "registry")}},
        "http": {"addr": address},
    }
    (folder / "registry.yml").write_text(json.dumps(settings))
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", folder / "registry.yml"], stdout=log, stderr=log
        )
    try:
        wait_for(_REGISTRY_PORT, process, address.partition(":")[0])
        yield
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20)


def form(managers: Sequence[Node], workers: Sequence[Node]) -> None:
    """Make one Swarm of all; the first manager begins it."""
    first = managers[0]
    first.docker("swarm", "init", "--advertise-addr", first.address)
    for role, nodes in (("manager", managers[1:]), ("worker", workers)):
        token = first.docker("swarm", "join-token", "-q", role)
        for node in nodes:
            joining = ["--advertise-addr", node.address, "--token", token]
            node.docker("swarm", "join", *joining, f"{first.address}:2377")
