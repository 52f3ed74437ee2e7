"""A stack in a real Docker Swarm of one manager: what runs, what it may do, and what is undone.

The image is this computer's own busybox: what is tested is the stack, not the image.
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import tarfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from piimage.container.rootfs import ProcessUser
from piimage.deploy.cluster import Cluster, image_name, push_reference
from piimage.deploy.swarm import render
from piimage.deploy.workloads import Workload
from tests.system.oci.engines import running_engine
from tests.system.ports import free_port, wait_for
from tests.unit.deploy.services import workload

BUSYBOX = Path("/bin/busybox")
PATIENCE = 120.0


@dataclass
class Swarm:
    """One engine that is a manager, and a registry beside it."""

    engine: str
    registry: str
    port: int
    """Where the service listens."""

    def docker(self, *words: str, stdin: str | None = None) -> str:
        done = subprocess.run(
            ["docker", "--host", self.engine, *words], input=stdin, capture_output=True,
            text=True, check=False, timeout=PATIENCE,
        )  # fmt: skip
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    @property
    def cluster(self) -> Cluster:
        return Cluster("pi4", "shed", f"{self.registry}/shed")

    def service(self, command: list[str], **fields: Any) -> Workload:
        """A service whose image is in the registry."""
        health = {"command": ["/busybox", "wget", "-q", "-O", "-", self.url], "every": "1s"}
        values = {"command": command, "health": health, "env": ["PRICE=5$"], **fields}
        made = workload("web", ProcessUser(1000, 1000), **values)
        name = str(push_reference(made, self.cluster))
        self._import(name)
        self.docker("push", "--quiet", name)
        (digests,) = json.loads(
            self.docker("image", "inspect", name, "--format", "{{json .RepoDigests}}")
        )
        descriptor = made.image.descriptor.model_copy(update={"digest": digests.partition("@")[2]})
        return replace(made, image=replace(made.image, descriptor=descriptor))

    def _import(self, name: str) -> None:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            tar.add(BUSYBOX.resolve(), "busybox")
            page = tarfile.TarInfo("www/index.html")
            page.size = 5
            tar.addfile(page, io.BytesIO(b"works"))
        subprocess.run(
            ["docker", "--host", self.engine, "import", "-", name], input=packed.getvalue(),
            check=True, capture_output=True, timeout=PATIENCE,
        )  # fmt: skip

    def deploy(self, made: Workload) -> None:
        self.docker(
            "stack",
            "deploy",
            "--detach=true",
            "--compose-file",
            "-",
            "shed",
            stdin=render([made], self.cluster),
        )

    @property
    def serves(self) -> list[str]:
        """The program that serves the page."""
        return ["/busybox", "httpd", "-f", "-p", f"127.0.0.1:{self.port}", "-h", "/www"]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def page(self) -> str:
        with contextlib.suppress(OSError), urllib.request.urlopen(self.url, timeout=5) as answer:
            return str(answer.read().decode())
        return ""

    def update(self) -> str:
        """How the last update of the service ended, or goes."""
        (found,) = json.loads(self.docker("service", "inspect", "shed_web"))
        return str((found.get("UpdateStatus") or {}).get("State", ""))

    def container(self) -> dict[str, Any]:
        (name,) = self.docker("ps", "--quiet", "--filter", "name=shed_web").split()
        (found,) = json.loads(self.docker("inspect", name))
        assert isinstance(found, dict)
        return found


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.5)


@contextlib.contextmanager
def registry(folder: Path) -> Iterator[str]:
    port = free_port()
    settings = {
        "version": "0.1", "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "registry")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }  # fmt: skip
    (folder / "registry.json").write_text(json.dumps(settings))
    with (folder / "registry.log").open("wb") as log:
        words = ["docker-registry", "serve", folder / "registry.json"]
        process = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        wait_for(port, process)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.fixture(scope="module")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    folder = tmp_path_factory.mktemp("swarm")
    with registry(folder) as address, running_engine(folder) as engine:
        found = Swarm(engine, address, free_port())
        place = f"127.0.0.1:{free_port()}"
        found.docker("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", place)
        node = found.docker("node", "ls", "--quiet").strip()
        found.docker("node", "update", "--label-add", "piimage.board=pi4", node)
        try:
            yield found
        finally:
            found.docker("swarm", "leave", "--force")
            # The bridge of the Swarm's networks stays without a Swarm.
            subprocess.run(["ip", "link", "delete", "docker_gwbridge"], check=False)


def test_a_stack_runs_within_its_limits_and_a_version_that_fails_is_undone(swarm: Swarm) -> None:
    good = swarm.service(swarm.serves, tmpfs=["/tmp:size=1m"], resources={"pids": {"limit": 20}})
    swarm.deploy(good)
    until(lambda: swarm.page() == "works")
    found = swarm.container()
    assert (
        found["Config"]["Image"].partition("@")[2]
        == image_name(good, swarm.cluster).partition("@")[2]
    )
    assert found["Config"]["User"] == "1000:1000"
    assert "PRICE=5$" in found["Config"]["Env"]
    assert found["HostConfig"]["ReadonlyRootfs"] is True
    assert found["HostConfig"]["PidsLimit"] == 20
    status = Path(f"/proc/{found['State']['Pid']}/status").read_text()
    assert "CapEff:\t0000000000000000" in status
    assert "Seccomp:\t2" in status
    assert "NoNewPrivs:\t0" in status  # as the deploy says

    swarm.deploy(swarm.service(["/busybox", "sh", "-c", "exit 3"]))
    until(lambda: swarm.update() == "rollback_completed")
    until(lambda: swarm.page() == "works")


def test_a_node_without_the_boards_label_runs_nothing(swarm: Swarm) -> None:
    swarm.deploy(swarm.service(swarm.serves))
    until(lambda: swarm.page() == "works")
    node = swarm.docker("node", "ls", "--quiet").strip()
    swarm.docker("node", "update", "--label-rm", "piimage.board", node)
    until(lambda: swarm.page() == "")
    swarm.docker("node", "update", "--label-add", "piimage.board=pi4", node)
    until(lambda: swarm.page() == "works")
