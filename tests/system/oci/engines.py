"""A Docker engine of the tests' own, and what it needs from the Debian mirror."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
from docker.errors import DockerException

from piimage.errors import MissingTool
from piimage.oci.engine import find_buildx


def mirror() -> str:
    """The mirror of this host's own apt sources."""
    words = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    listed = subprocess.run([*words, "Origin: Debian"], check=True, capture_output=True, text=True)
    return next(uri for uri in listed.stdout.split() if "security" not in uri)


def fetch(folder: Path, package: str, architecture: str) -> Path:
    """Unpack `package` of Debian 13, verified by apt, and return where it lies."""
    for name in ("parts", "lists/partial", "cache/archives/partial", "root"):
        (folder / name).mkdir(parents=True)
    (folder / "parts/debian.sources").write_text(
        f"Types: deb\nURIs: {mirror()}\nSuites: trixie\nComponents: main\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    )
    settings = {
        "APT::Architecture": architecture,
        "APT::Sandbox::User": "root",
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": folder / "parts",
        "Dir::State::lists": folder / "lists",
        "Dir::Cache": folder / "cache",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    for command in (["update"], ["download", package]):
        subprocess.run(
            ["apt-get", "-q", *options, *command], check=True, capture_output=True, cwd=folder
        )
    (archive,) = folder.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", archive, folder / "root"], check=True)
    return folder / "root"


def buildx(folder: Path) -> Path:
    """The host's buildx, or where there is no package (Debian 12) that of Debian 13."""
    try:
        return find_buildx()
    except MissingTool:
        root = fetch(folder, "docker-buildx", "amd64")
        return find_buildx([root / "usr/libexec/docker/cli-plugins"])


# Their own, so that an engine of this host, or of other tests, is left alone.
_BRIDGE = f"piimage-{os.getpid() % 1_000_000}"
_ADDRESS = f"172.31.{os.getpid() % 250}.1/24"


@contextmanager
def running_engine(folder: Path, *options: str) -> Iterator[str]:
    """Start a Docker engine that keeps everything in `folder`; give its address."""
    subprocess.run(["ip", "link", "add", _BRIDGE, "type", "bridge"], check=True)
    try:
        subprocess.run(["ip", "address", "add", _ADDRESS, "dev", _BRIDGE], check=True)
        process, host = _start(folder, options)
        try:
            yield host
        finally:
            process.terminate()
            process.wait(timeout=60)
            # The engine mounts its folder on itself where mounts are not shared, and leaves that.
            for path in ("exec/netns/default", "data"):
                subprocess.run(["umount", "-q", folder / path], check=False)
    finally:
        subprocess.run(["ip", "link", "delete", _BRIDGE], check=True)


def _start(folder: Path, options: tuple[str, ...]) -> tuple[subprocess.Popen[bytes], str]:
    host = f"unix://{folder}/docker.sock"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["dockerd", "--data-root", folder / "data", "--exec-root", folder / "exec",
             "-p", folder / "pid", "-H", host, f"--bridge={_BRIDGE}", "--iptables=false", *options],
            stdout=log, stderr=log,
        )  # fmt: skip
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            docker.DockerClient(base_url=host).close()
            docker.DockerClient(base_url=host).ping()
        except DockerException:
            time.sleep(0.3)
        else:
            return process, host
    process.kill()
    raise AssertionError((folder / "log").read_text()[-2000:])
