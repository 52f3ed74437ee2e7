"""What is deployed to a Swarm in the tests: a web server that shows its version and its secret.

And how that is done, by Docker's own client, and what is looked at then.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.system.deploy.swarm import Node, until

PIIMAGE = Path(sys.executable).with_name("piimage")
PORT = 8380
SECRET = "tomatoes"
STACK = "shed"
SERVICE = f"{STACK}_web"
_SERVICE = """name: web
packages: [busybox-static]
drop: ["**"]
keep: [usr/bin/busybox]
links: {bin: usr/bin}
applets: {program: usr/bin/busybox, folder: usr/bin, names: sh httpd cat sleep wget}
files:
  - {path: usr/bin/web, source: web.sh, mode: "0755"}
entrypoint: [/usr/bin/web]
users:
  - {name: web, uid: 10001, gid: 10001, gecos: web, home: /, shell: /usr/sbin/nologin}
groups:
  - {name: web, gid: 10001}
user: web
"""
SERVES = f"""#!/bin/sh
echo "serves VERSION"
echo "VERSION $(cat /run/secrets/greeting) $PRICE" >/tmp/index.html
exec httpd -f -p 127.0.0.1:{PORT} -h /tmp
"""
CRASHES = "#!/bin/sh\necho cannot find the sensor\nexit 3\n"
_FILE = f"""board: qemu-virt
hostname: {STACK}
services:
  - name: web
    build: web
    env: ["PRICE=$5"]
    secrets: [greeting]
    tmpfs: ["/tmp:size=1m"]
    stop_timeout: 1s
    resources: {{ memory: {{ limit: 64M }}, pids: {{ limit: 20 }} }}
    health:
      command: [/usr/bin/wget, -q, -O, /dev/null, "http://127.0.0.1:{PORT}/index.html"]
      every: 5s
      timeout: 5s
      start: 10s
"""


@dataclass(frozen=True)
class Project:
    """A file and its container folder; `registry` is where the images go."""

    folder: Path
    store: Path
    registry: str

    def stack(self, version: str, program: str = SERVES) -> Path:
        """Push the images of a version by `piimage deploy`, and return the stack that it prints."""
        service = self.folder / "web"
        service.mkdir(parents=True, exist_ok=True)
        (service / "service.yml").write_text(_SERVICE)
        (service / "web.sh").write_text(program.replace("VERSION", version))
        file = self.folder / "shed.yml"
        file.write_text(_FILE)
        where = ["--registry", f"{self.registry}/shed", "--insecure-registry", self.registry]
        done = subprocess.run(
            [PIIMAGE, "deploy", file, "--to", "swarm", *where],
            capture_output=True, text=True, check=False,
            env={**os.environ, "PIIMAGE_STORE": str(self.store)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        target = self.folder / "stack.yml"
        target.write_text(done.stdout)
        return target


def shown(version: str) -> str:
    """What the page of a version says: version, secret, and a dollar that nobody replaced."""
    return f"{version} {SECRET} $5"


def create_secret(manager: Node) -> None:
    """Give the Swarm the secret of the service."""
    file = manager.folder / "greeting"
    file.write_text(SECRET)
    manager.docker("secret", "create", "greeting", str(file))


def label(manager: Node, nodes: Iterable[Node]) -> None:
    """Let `nodes` have the services of the board."""
    for node in nodes:
        manager.docker("node", "update", "--label-add", "piimage.board=qemu-virt", node.name)


def deploy(manager: Node, stack: Path) -> None:
    """Hand the stack to the Swarm, as docs/deploy.md says."""
    words = ["--resolve-image", "never", "--compose-file", str(stack), STACK]
    manager.docker("stack", "deploy", *words)


def serve(nodes: Sequence[Node], version: str) -> float:
    """Wait until all nodes serve a version; return the seconds."""
    return until(
        lambda: all(node.page(PORT) == shown(version) for node in nodes),
        f"not all serve {version}: {[(node.name, node.page(PORT)) for node in nodes]}",
    )


def container(node: Node) -> str:
    """The id of the container of the service on a node."""
    found = node.docker("ps", "-q", "--filter", f"label=com.docker.swarm.service.name={SERVICE}")
    assert found and "\n" not in found, (node.name, found)
    return found


def check_limits(node: Node) -> None:
    """The container has what the file says, and no more."""
    form = (
        "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.Memory}}"
        " {{.HostConfig.PidsLimit}} {{.Config.User}} {{.HostConfig.NetworkMode}}"
    )
    found = node.docker("inspect", "--format", form, container(node))
    assert found == f"true [ALL] {64 << 20} 20 10001:10001 host", found
    status = node.docker("exec", container(node), "cat", "/proc/self/status")
    assert "CapEff:\t0000000000000000" in status, status
    assert "Seccomp:\t2" in status, status
    mode = node.docker("exec", container(node), "sh", "-c", "cat /run/secrets/greeting")
    assert mode == SECRET, mode
