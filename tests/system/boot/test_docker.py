"""Docker on the virt machine, used by this host's own client over SSH."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system.boot.conftest import PATIENCE, Command, Pi, up

ROOT = Path(__file__).parents[3]
SSH = """#!/bin/sh
exec {ssh} -F /dev/null -i {key} -o IdentitiesOnly=yes -o BatchMode=yes -o LogLevel=ERROR \\
  -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null "$@"
"""
IMAGE = "team/hello_world:v1"
BOX = ["--entrypoint", "/usr/bin/busybox", IMAGE]


@dataclass(frozen=True)
class Whale:
    """The board with Docker, and this host's client `docker`, whose ssh has the board's key."""

    pi: Pi
    path: Path
    """A folder for PATH whose `ssh` logs in to the board."""

    def docker(self, *words: str, stdin: Path | None = None, status: int = 0) -> str:
        """Run `docker -H ssh://…` on this host, and return what it printed."""
        environment = {**os.environ, "PATH": f"{self.path}:{os.environ['PATH']}"}
        environment["DOCKER_HOST"] = f"ssh://root@127.0.0.1:{self.pi.shell.port}"
        with (stdin or Path(os.devnull)).open("rb") as source:
            done = subprocess.run(
                ["docker", *words], env=environment, stdin=source, capture_output=True,
                text=True, timeout=PATIENCE, check=False,
            )  # fmt: skip
        assert done.returncode == status, (words, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def box(self, options: Sequence[str], *command: str) -> str:
        """Run busybox in a container of Docker's that goes with it."""
        return self.docker("run", "--rm", *options, *BOX, *command)


@pytest.fixture(scope="module")
def archive(piimage: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image as `docker save` writes it."""
    folder = tmp_path_factory.mktemp("image")
    words = ["--org", "team", "--tag", "v1", "--lock", folder / "lock"]
    path = folder / "image.tar"
    source = ROOT / "services/hello_world"
    done = piimage(["pkg", "build", source, *words, "--format", "docker", "-o", path])
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def whale(
    piimage: Command, appliances: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Whale]:
    done = piimage(["build", "docker.yml", "-o", "out"])
    assert done.returncode == 0, done.stderr
    with up(appliances / "out/docker.img", tmp_path_factory.mktemp("card"), [8080]) as pi:
        pi.session.wait_for("piimage: service docker: healthy", PATIENCE)
        path = tmp_path_factory.mktemp("path")
        script = SSH.format(ssh="/usr/bin/ssh", key=pi.shell.key)
        (path / "ssh").write_text(script)
        (path / "ssh").chmod(0o755)
        yield Whale(pi, path)


def test_an_image_that_was_sent_over_ssh_runs(whale: Whale, archive: Path) -> None:
    assert "Loaded image" in whale.docker("load", stdin=archive)
    assert whale.box([], "uname", "-m") == "aarch64\n"


def test_the_pi_has_the_client_for_who_is_logged_in(whale: Whale) -> None:
    assert IMAGE in whale.pi.say("docker image ls --format '{{.Repository}}:{{.Tag}}'")


def test_what_a_container_publishes_is_reached_through_a_port_of_the_entry(whale: Whale) -> None:
    serve = "mkdir /tmp/w; echo whale >/tmp/w/index.html; exec busybox httpd -f -p 80 -h /tmp/w"
    whale.docker("run", "-d", "--name", "web", "--tmpfs", "/tmp", "-p", "8080:80",
                 "--restart", "unless-stopped", *BOX, "sh", "-c", serve)  # fmt: skip
    assert page(whale) == "whale\n"


def page(whale: Whale) -> str:
    """The page of the container `web`, as soon as it is there."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            place = f"http://127.0.0.1:{whale.pi.ports[8080]}/"
            with urllib.request.urlopen(place, timeout=20) as answer:
                text: str = answer.read().decode()
                return text
        except OSError:
            assert time.monotonic() < deadline, whale.docker("logs", "web")
            time.sleep(1)


def test_containers_of_docker_have_their_limits_and_those_of_the_service(whale: Whale) -> None:
    assert whale.box(["-m", "32m"], "cat", "/sys/fs/cgroup/memory.max") == f"{32 << 20}\n"
    groups = "/sys/fs/cgroup/piimage/services/docker"
    assert whale.pi.say(f"cat {groups}/memory.max").strip().isdecimal()
    assert "docker" in whale.pi.say(f"ls {groups}").split()


def test_nothing_of_docker_reaches_the_pi_and_its_other_containers(whale: Whale) -> None:
    tasks = whale.pi.say("ctr -n services.linuxkit tasks ls | awk 'NR > 1 {print $1}'").split()
    assert sorted(tasks) == ["docker", "neighbour", "sshd"]
    assert whale.pi.say("ctr namespaces ls -q").split() == ["services.linuxkit"]
    assert whale.pi.say("nft list tables").splitlines() == ["table inet piimage"]
    assert "docker0" not in whale.pi.say("ls /sys/class/net")
    assert whale.pi.say("ls /run/docker.sock 2>&1 || :").endswith("No such file or directory\n")
    pid = whale.pi.task("neighbour")
    assert "docker" not in whale.pi.say(f"find /proc/{pid}/root/ -xdev")
    seen = whale.box(["--pid", "host"], "ps", "-o", "args")
    assert "dockerd" in seen and "finit" not in seen and "1000000" not in seen
    refused = whale.docker("run", "--rm", *BOX, "nc", "-w", "4", "10.0.2.15", "22", status=1)
    assert "SSH" not in refused


def test_containers_of_docker_have_its_apparmor_profile_unless_they_are_privileged(
    whale: Whale,
) -> None:
    """Docker has no parser there: the Pi has loaded the profile before."""
    profiles = whale.pi.say("cat /sys/kernel/security/apparmor/profiles")
    assert "docker-default (enforce)" in profiles
    pid = whale.pi.task("docker")
    assert whale.pi.say(f"cat /proc/{pid}/attr/current").strip() == "unconfined"
    # Without the profile, this capability would let a container mount.
    tried = "busybox cat /proc/self/attr/current; busybox mount -t tmpfs tmpfs /mnt 2>&1 || :"
    options = ["--cap-add", "SYS_ADMIN", "--tmpfs", "/mnt"]
    label, refused = whale.box(options, "sh", "-c", tried).splitlines()
    assert label == "docker-default (enforce)"
    assert refused.endswith("failed: Permission denied")


def test_a_privileged_container_has_no_device_of_the_pi(whale: Whale) -> None:
    looked = "busybox ls /dev; busybox cat /proc/self/attr/current"
    *found, label = whale.box(["--privileged"], "sh", "-c", looked).split()
    assert "null" in found
    assert label == "unconfined"
    assert not {"vda", "vda1", "mem", "console0", "kmsg"} & {*found}
    node = "busybox mknod /tmp/disk b 254 0 && busybox head -c 1 /tmp/disk"
    options = ["--rm", "--privileged", "--tmpfs", "/tmp:dev"]
    output = whale.docker("run", *options, *BOX, "sh", "-c", node, status=1)
    assert "Operation not permitted" in output


def test_images_and_containers_outlast_a_restart_of_the_service(whale: Whale) -> None:
    whale.pi.say("initctl stop docker; until [ ! -e /run/piimage/services/docker/pid ]; do "
                 "sleep 1; done")  # fmt: skip
    output = whale.pi.say("docker ps 2>&1 || :")
    assert output.startswith("docker: the service docker is not running")
    whale.pi.say("initctl start docker")
    assert page(whale) == "whale\n"
    assert IMAGE in whale.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}")
