"""LinuxKit's examples, with a registry that has every image they name."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from piimage.events import Event
from piimage.locking.inputs import Inputs
from piimage.oci.layout import Layout
from piimage.oci.models import Descriptor, Index, Platform
from piimage.oci.reference import parse
from piimage.oci.registry import Access, Registry
from piimage.run import Runner
from piimage.store import Store
from piimage.trees import file
from tests.system.linuxkit.images import Publisher
from tests.system.linuxkit.server import Server, serving

ROOT = Path(__file__).parents[3]
PIIMAGE = Path(sys.executable).with_name("piimage")
MULTI = "linuxkit/getty"
"""The image that is an index of two platforms."""


@dataclass(frozen=True)
class Published:
    """The registry, and the digest that each reference of the examples has there."""

    server: Server
    publisher: Publisher
    registry: Registry
    digests: dict[str, str]

    def reference(self, name: str) -> str:
        tag = tag_of(name)
        return f"{self.server.address}/{name}:{tag}"

    def push(self, name: str, descriptor: Descriptor) -> str:
        reference = self.reference(name)
        self.registry.push(parse(reference), descriptor)
        self.digests[reference] = descriptor.digest
        return descriptor.digest


def tag_of(name: str) -> str:
    return {"linuxkit/kernel": "6.12.59", "busybox": "1.36"}.get(name, "v1")


@dataclass(frozen=True)
class Workshop:
    """A folder with the examples, and the command as a user calls it there."""

    folder: Path
    environment: dict[str, str]
    address: str

    def file(self, name: str) -> Path:
        return self.folder / f"{name}.yml"

    def call(self, *words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PIIMAGE, *map(str, words)], cwd=self.folder, env=self.environment,
            capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip

    def does(self, *words: object) -> str:
        done = self.call(*words)
        assert done.returncode == 0, f"{words}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def start(self, output: Path, *words: object) -> subprocess.Popen[bytes]:
        with output.open("wb") as file:
            return subprocess.Popen(
                [PIIMAGE, *map(str, words)], cwd=self.folder, env=self.environment,
                stdout=file, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def insecure(self) -> tuple[str, str]:
        return ("--insecure-registry", self.address)


@pytest.fixture(scope="session")
def linuxkit_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture(scope="session")
def published(
    linuxkit_server: Server, piimage_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Published:
    server = linuxkit_server
    sources = Inputs(Store(piimage_store), Runner(), _silent, time.time)
    layout = Layout(Store(tmp_path_factory.mktemp("publisher")))
    publisher = Publisher(sources, layout, secrets.token_hex(8))
    registry = Registry(layout, Runner(), Access(insecure=frozenset({server.address})))
    found = Published(server, publisher, registry, {})
    for name, image in publisher.images():
        descriptor = image.descriptor
        if name == MULTI:
            other = Platform(os="linux", architecture="amd64")
            foreign = publisher.image([file("etc/other", b"of amd64\n")], platform=other)
            described = (foreign.descriptor, image.descriptor)
            descriptor = layout.write_index(Index(manifests=described))
        found.push(name, descriptor)
    return found


@pytest.fixture(scope="session")
def workshop(
    published: Published, piimage_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Workshop:
    folder = tmp_path_factory.mktemp("linuxkit")
    for name in ("linuxkit-minimal.yml", "linuxkit-sshd.yml"):
        shutil.copy(ROOT / "examples" / name, folder)
    home = folder / "home"
    (home / ".ssh").mkdir(parents=True)
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / ".ssh/id_ed25519"]
    subprocess.run(words, check=True)
    address = published.server.address
    environment = {
        **os.environ,
        "PIIMAGE_STORE": str(piimage_store),
        "REGISTRY": f"{address}/",
        "HOME": str(home),
    }
    return Workshop(folder, environment, address)


def _silent(event: Event) -> None:
    pass
