"""A machine with a Docker engine behind a real sshd, and a project that is deployed to it."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker

from piimage import events
from piimage.build import open_project
from piimage.config.load import load
from piimage.deploy.docker_services import Change, DockerServices
from piimage.deploy.docker_ssh import EngineHost
from piimage.deploy.hosts import parse_host
from piimage.deploy.ssh import Ssh
from piimage.deploy.workloads import Workload, build_workloads
from piimage.locking.inputs import Inputs
from piimage.oci.engine import Engine
from piimage.oci.layout import Layout
from piimage.run import Runner
from piimage.store import Store
from tests.system.deploy.machines import sshd
from tests.system.oci.engines import running_engine
from tests.system.ports import free_port

SERVICE = """name: web
packages: [busybox-static]
drop: ["**"]
keep: [usr/bin/busybox]
links: {{bin: usr/bin}}
applets: {{program: usr/bin/busybox, folder: usr/bin, names: sh httpd sleep}}
files:
  - {{path: www/index.html, contents: "{page}"}}
  - {{path: usr/bin/web, source: web.sh, mode: "0755"}}
entrypoint: [/usr/bin/web]
"""
SERVES = "#!/bin/sh\nexec httpd -f -p 127.0.0.1:{port} -h /www\n"


@dataclass(frozen=True)
class Site:
    """A machine with an engine, and a project for it."""

    host: EngineHost
    folder: Path
    store: Path
    port: int

    def write(self, page: str, program: str = SERVES) -> None:
        folder = self.folder / "web"
        folder.mkdir(exist_ok=True)
        (folder / "service.yml").write_text(SERVICE.format(page=page))
        (folder / "web.sh").write_text(program.format(port=self.port))
        (self.folder / "shed.yml").write_text(
            "board: qemu-virt\nservices:\n  - name: web\n    build: web\n    health: {http: "
            f"'http://127.0.0.1:{self.port}/index.html', every: 1s, timeout: 1s, start: 2s}}\n"
            "    stop_timeout: 1s\n"  # busybox's httpd, as process 1, ignores SIGTERM
        )

    def workloads(self) -> tuple[Workload, ...]:
        files = [self.folder / "shed.yml"]
        sources = Inputs(Store(self.store), Runner(), events.ignore, time.time)
        return build_workloads(open_project(files, load(files, [], {}), sources), sources)

    def deploy(self, page: str, program: str = SERVES) -> list[Change]:
        self.write(page, program)
        with self.host.client() as client:
            return list(self.target(client).deploy(self.workloads()))

    @property
    def words(self) -> list[str]:
        """The host, as the verbs take it."""
        host = self.host.host
        address = f"docker+ssh://{host.user}@127.0.0.1:{host.port}{host.engine}"
        return [address, "--ssh-config", str(self.host.ssh.config)]

    def target(self, client: docker.DockerClient) -> DockerServices:
        return DockerServices(self.host.name, client, self.host, Store(self.store))

    def page(self) -> str:
        """What is served, as soon as something is: emulated programs take a moment to start."""
        until = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/index.html") as page:
                    return str(page.read().decode())
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)


@contextmanager
def docker_pi(folder: Path, project: Path, store: Path) -> Iterator[Site]:
    """Start engine and sshd in `folder`; the files of what is deployed lie in `project`."""
    with running_engine(folder) as address, sshd(folder) as server:
        Engine(Layout(Store(store)), Runner(), Path("none"), address).register_emulation()
        text = f"docker+ssh://root@127.0.0.1:{server.port}{address.removeprefix('unix://')}"
        host = EngineHost(Ssh(Runner(), server.config, ask=False), parse_host(text))
        yield Site(host, project, store, free_port())
        with closing(docker.DockerClient(base_url=address)) as client:
            for container in client.containers.list(all=True):
                container.remove(force=True)
