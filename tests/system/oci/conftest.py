"""A real registry with TLS and a login, and small images, for the tests of this folder."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from piimage.oci.layout import Image, Layout
from piimage.oci.models import ARM64, Execution, ImageConfig, Platform, RootFileSystem
from piimage.oci.pack import pack_layer
from piimage.oci.reference import Reference, parse
from piimage.oci.registry import Access, Registry
from piimage.run import Runner
from piimage.store import Store
from piimage.trees import Entry, file
from tests.system.ports import free_port, wait_for

USER, PASSWORD = "builder", "s3cret word"


@dataclass(frozen=True)
class Server:
    """A running docker-registry."""

    address: str
    storage: Path
    certificates: Path
    auth_file: Path

    @property
    def access(self) -> Access:
        return Access(certificates=self.certificates, auth_file=self.auth_file)

    def reference(self, name: str) -> Reference:
        return parse(f"{self.address}/{name}")


def make_certificate(folder: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A registry that speaks TLS and asks for a login."""
    folder = tmp_path_factory.mktemp("registry")
    make_certificate(folder)
    certificates = folder / "certs"
    certificates.mkdir()
    (certificates / "ca.crt").write_bytes((folder / "cert.pem").read_bytes())
    subprocess.run(
        ["htpasswd", "-Bbc", folder / "users", USER, PASSWORD], check=True, capture_output=True
    )
    port = free_port()
    settings = {
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {
            "addr": f"127.0.0.1:{port}",
            "tls": {"certificate": str(folder / "cert.pem"), "key": str(folder / "key.pem")},
        },
        "auth": {"htpasswd": {"realm": "test", "path": str(folder / "users")}},
    }
    (folder / "config.yml").write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", folder / "config.yml"], stdout=log, stderr=log
        )
        try:
            wait_for(port, process)
            auth_file = folder / "auth.json"
            subprocess.run(
                ["skopeo", "login", f"--authfile={auth_file}", f"--cert-dir={certificates}",
                 "-u", USER, "--password-stdin", f"localhost:{port}"],
                input=PASSWORD.encode(), check=True, capture_output=True,
            )  # fmt: skip
            yield Server(f"localhost:{port}", folder / "data", certificates, auth_file)
        finally:
            process.terminate()
            process.wait(timeout=20)


@pytest.fixture
def layout(store: Store) -> Layout:
    return Layout(store)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Layout:
    """The layout of another machine."""
    return Layout(Store(tmp_path / "elsewhere"))


@pytest.fixture
def registry(server: Server, layout: Layout, runner: Runner) -> Registry:
    return Registry(layout, runner, server.access)


@pytest.fixture
def other(server: Server, elsewhere: Layout, runner: Runner) -> Registry:
    return Registry(elsewhere, runner, server.access)


def image(layout: Layout, text: str, platform: Platform = ARM64) -> Image:
    entries: list[Entry] = [file("etc/motd", text.encode() * 500)]
    packed = pack_layer(layout.store, entries)
    config = ImageConfig(
        os=platform.os,
        architecture=platform.architecture,
        variant=platform.variant,
        config=Execution(cmd=("/bin/true",)),
        rootfs=RootFileSystem(diff_ids=(packed.diff_id,)),
    )
    return layout.write_image(config, [packed.descriptor])
