"""Container folders through `piimage build`: with Python from the real index, and by a Dockerfile.

One engine and one build for all; what was made runs under the engine by qemu-user.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml

from tests.system.oci import engines

PIIMAGE = Path(sys.executable).with_name("piimage")
SERVICES = Path(__file__).parents[3] / "services"
DOCKERFILE = """FROM scratch
COPY busybox /busybox
RUN ["/busybox", "sh", "-c", "/busybox uname -m >/arch"]
CMD ["/busybox", "cat", "/arch"]
"""
MOST = 15_000_000  # bytes of a compressed sensor service


@dataclass(frozen=True)
class Project:
    """A file with three services, an engine, and the environment of the command."""

    file: Path
    engine: docker.DockerClient
    environment: dict[str, str]

    def build(self, *options: str) -> Path:
        out = self.file.parent / "out"
        self.run("build", str(self.file), "--format", "oci", "-o", str(out), *options)
        return out / "sensors.oci.tar"

    def run(self, *words: str) -> str:
        done = subprocess.run(
            [PIIMAGE, *words], env=self.environment, capture_output=True, text=True, timeout=850,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, piimage_store: Path) -> Iterator[Project]:
    top = tmp_path_factory.mktemp("services")
    plugins = top / "home/.docker/cli-plugins"
    plugins.mkdir(parents=True)
    (plugins / "docker-buildx").symlink_to(engines.buildx(top / "buildx"))
    web = top / "web"
    web.mkdir()
    root = engines.fetch(top / "busybox", "busybox-static", "arm64")
    (web / "busybox").write_bytes((root / "usr/bin/busybox").read_bytes())
    (web / "busybox").chmod(0o755)
    (web / "Dockerfile").write_text(DOCKERFILE)
    names = {"bmp280": SERVICES, "envirophat": SERVICES, "web": top}
    entries = [{"name": name, "build": str(folder / name)} for name, folder in names.items()]
    file = top / "sensors.yml"
    file.write_text(json.dumps({"board": "qemu-virt", "services": entries}))
    (top / "engine").mkdir()
    with engines.running_engine(top / "engine") as host:
        own = {"PIIMAGE_STORE": str(piimage_store), "DOCKER_HOST": host, "HOME": str(top / "home")}
        client = docker.DockerClient(base_url=host, timeout=600)
        yield Project(file, client, {**os.environ, **own})
        client.close()


@pytest.fixture(scope="module")
def archive(project: Project) -> Path:
    return project.build()


def layers(archive: Path, name: str) -> list[dict[str, Any]]:
    with tarfile.open(archive) as tar:

        def document(digest: str) -> Any:
            stream = tar.extractfile(f"blobs/{digest.replace(':', '/')}")
            assert stream is not None
            return json.load(stream)

        top = tar.extractfile("index.json")
        assert top is not None
        key = "org.opencontainers.image.ref.name"
        (found,) = (m for m in json.load(top)["manifests"] if m["annotations"][key] == name)
        return list(document(found["digest"])["layers"])


@pytest.fixture(scope="module")
def loaded(project: Project, archive: Path) -> Project:
    """The project, its images loaded into the engine as test/NAME:1."""
    for name in ("bmp280", "web"):
        copy = archive.with_name(f"{name}.tar")
        source, target = f"oci-archive:{archive}:{name}", f"docker-archive:{copy}:test/{name}:1"
        subprocess.run(["skopeo", "copy", "-q", source, target], check=True, timeout=300)
        project.engine.images.load(io.BytesIO(copy.read_bytes()))
    return project


def output_of(project: Project, name: str, program: list[str], *arguments: str) -> str:
    """Return what a container prints; `program` replaces its entrypoint where one is given."""
    printed = project.engine.containers.run(
        f"test/{name}:1", list(arguments), entrypoint=program or None, platform="linux/arm64",
        network_mode="none", remove=True, read_only=True,
    )  # fmt: skip
    return str(printed.decode())


def test_a_sensor_service_is_small_and_shares_its_layers(archive: Path) -> None:
    bmp280, envirophat = (layers(archive, name) for name in ("bmp280", "envirophat"))
    assert sum(layer["size"] for layer in bmp280) < MOST
    first, other = ([layer["digest"] for layer in found] for found in (bmp280, envirophat))
    # Python, the wheels, and sensorkit are the same; packages and own code are not.
    assert len(set(first) & set(other)) == 3
    assert bmp280[-1]["size"] < 5000


def test_the_lock_pins_wheels_for_the_pi_and_names_no_host(project: Project, archive: Path) -> None:
    text = project.file.with_suffix(".lock").read_text()
    lock = yaml.safe_load(text)
    environment = lock["environments"]["container/bmp280"]
    assert {"smbus2", "pyyaml"} <= {lock["wheels"][name]["name"] for name in environment["wheels"]}
    assert any("aarch64" in name for name in environment["wheels"])
    assert "://" not in text


def test_composed_python_runs_for_arm64(loaded: Project) -> None:
    code = (
        "import platform, ssl, yaml, smbus2, spidev, paho.mqtt.client, prometheus_client\n"
        "import importlib.metadata as m\n"
        "print(platform.machine(), yaml.__with_libyaml__, m.version('piimage-bmp280'))"
    )
    printed = output_of(loaded, "bmp280", ["/usr/bin/python3"], "-c", code)
    assert printed.split() == ["aarch64", "True", "0.1.0"]


def test_the_program_of_a_project_is_there(loaded: Project) -> None:
    assert "BMP280_ADDRESS" in output_of(loaded, "bmp280", ["/usr/local/bin/bmp280"], "options")


def test_a_dockerfile_is_built_for_arm64(loaded: Project) -> None:
    assert output_of(loaded, "web", []).strip() == "aarch64"


def test_a_second_build_needs_neither_network_nor_engine(project: Project, archive: Path) -> None:
    before = archive.read_bytes()
    away = {**project.environment, "DOCKER_HOST": "unix:///nowhere"}
    archive.unlink()
    again = Project(project.file, project.engine, away).build("--offline")
    assert again.read_bytes() == before
