"""`piimage pkg` as a user types it: an engine, and a registry with TLS and a login; as root.

The engine emulates arm64 by the host's qemu-user-static; everything that is asserted of an image is
asked of the engine, of skopeo or of the registry, not of piimage.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from piimage.oci.engine import Engine
from piimage.oci.layout import Layout
from piimage.oci.models import ARM64, Execution, ImageConfig, Index, RootFileSystem
from piimage.oci.pack import pack_layer
from piimage.oci.registry import Registry
from piimage.pkg.source import AMD64
from piimage.run import Runner
from piimage.store import Store
from piimage.trees import file, folder, symlink
from tests.system.oci.conftest import PASSWORD, USER, Server
from tests.system.oci.conftest import server as server  # noqa: PLC0414  # a fixture
from tests.system.oci.engines import buildx, fetch, running_engine

ROOT = Path(__file__).parents[3]
PIIMAGE = Path(sys.executable).with_name("piimage")
SECONDS = 400


@dataclass(frozen=True)
class User:
    """Somebody at a shell: a home with a login, a store, and copies of the container folders."""

    home: Path
    store: Path
    folders: Path
    server: Server
    docker_host: str

    def run(self, *words: object, status: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ, "PIIMAGE_STORE": str(self.store), "HOME": str(self.home),
            "DOCKER_HOST": self.docker_host, **more,
        }  # fmt: skip
        environment.pop("XDG_RUNTIME_DIR", None)
        done = subprocess.run(
            [PIIMAGE, "pkg", *map(str, words)],
            env=environment, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        assert PASSWORD not in done.stdout + done.stderr
        return done

    def listed(self) -> list[Any]:
        return list(json.loads(self.run("ls", "--json").stdout))

    def digest(self, org: str) -> str:
        (row,) = [row for row in self.listed() if row["name"].startswith(org)]
        return str(row["digest"])

    def skopeo(self, *words: str) -> bytes:
        access = [
            f"--authfile={self.server.auth_file}", f"--cert-dir={self.server.certificates}"
        ]  # fmt: skip
        return subprocess.run(
            ["skopeo", words[0], *access, *words[1:]], check=True, capture_output=True
        ).stdout

    @property
    def team(self) -> str:
        return f"{self.server.address}/team"


@pytest.fixture(scope="module")
def engine_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_engine(tmp_path_factory.mktemp("engine")) as host:
        registering = Engine(
            Layout(Store(tmp_path_factory.mktemp("unused"))), Runner(), Path(), host
        )
        registering.register_emulation()
        yield host


@pytest.fixture(scope="module")
def user(
    server: Server, engine_host: str, piimage_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> User:
    home = tmp_path_factory.mktemp("home")
    checkout = tmp_path_factory.mktemp("checkout")
    for name in ("libraries", "services"):
        ignored = shutil.ignore_patterns("*.lock")
        shutil.copytree(ROOT / name, checkout / name, ignore=ignored)
    return User(home, piimage_store, checkout / "services", server, engine_host)


@pytest.fixture
def client(engine_host: str) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=engine_host, timeout=300)
    yield client
    client.close()


@pytest.fixture
def trusting_engine(server: Server) -> Iterator[None]:
    """The engine's own way to trust the registry's CA (docs: certs.d)."""
    folder = Path("/etc/docker/certs.d") / server.address
    folder.mkdir(parents=True)
    shutil.copy(server.certificates / "ca.crt", folder / "ca.crt")
    yield
    shutil.rmtree(folder)


def registry_log(server: Server) -> str:
    return (server.storage.parent / "log").read_text(errors="replace")


def test_a_composed_folder_runs_under_the_engine(user: User, client: docker.DockerClient) -> None:
    user.run("build", user.folders / "hello_world", "--load", "--tag", "test")
    image = client.images.get("piimage/hello_world:test")
    assert image.attrs["Architecture"] == "arm64"
    assert json.loads(image.labels["org.mobyproject.config"])["readonly"] is True
    container = client.containers.run(
        "piimage/hello_world:test", platform="linux/arm64", detach=True, read_only=True
    )
    try:
        lines = container.logs(stream=True, follow=True)
        assert b"HELLO from" in next(lines)
        container.kill("SIGTERM")
        assert container.wait(timeout=60)["StatusCode"] == 0
    finally:
        container.remove(force=True)


@pytest.mark.parametrize(
    ("name", "modules"),
    [
        ("bmp280", "bmp280, sensorkit, smbus2, spidev, paho.mqtt.client, prometheus_client, ssl"),
        ("envirophat", "envirophat, sensorkit, smbus2, paho.mqtt.client, prometheus_client, ssl"),
    ],
)
def test_a_composed_sensor_service_runs_under_the_engine(
    user: User, client: docker.DockerClient, name: str, modules: str
) -> None:
    shared = ("--context", user.folders.parent)  # its library lies outside of its folder
    user.run("build", user.folders / name, *shared, "--load", "--tag", "test")
    image = f"piimage/{name}:test"
    (row,) = [row for row in user.listed() if f"{row['name']}:{row['tag']}" == image]
    assert row["size"] < 15_000_000
    assert client.images.get(image).attrs["Config"]["User"] == "sensor"
    program = f"import {modules}, os, platform; print(os.getuid(), platform.machine())"
    output = client.containers.run(
        image, ["-c", program], entrypoint=["/usr/bin/python3"], platform="linux/arm64",
        read_only=True, remove=True,
    )  # fmt: skip
    assert output == b"990 aarch64\n"
    options = client.containers.run(
        image, entrypoint=["/usr/bin/python3", "-m", name, "options"], platform="linux/arm64",
        read_only=True, remove=True,
    )  # fmt: skip
    assert b"MQTT_HOST" in options


def test_what_is_pushed_is_what_skopeo_and_the_engine_see(
    user: User, client: docker.DockerClient, trusting_engine: None
) -> None:
    folder, server = user.folders / "hello_world", user.server
    access = ["--registry-certs", server.certificates, "--registry-auth", server.auth_file]
    output = user.run("push", folder, "--org", user.team, "--tag", "v1", *access).stderr
    digest = user.digest(user.team)
    assert f"{user.team}/hello_world:v1@{digest}" in output
    exact = f"{user.team}/hello_world@{digest}"

    raw = user.skopeo("inspect", "--raw", f"docker://{user.team}/hello_world:v1")
    assert f"sha256:{hashlib.sha256(raw).hexdigest()}" == digest
    seen = json.loads(user.skopeo("inspect", f"docker://{exact}"))
    assert (seen["Digest"], seen["Architecture"]) == (digest, "arm64")

    login = {"username": USER, "password": PASSWORD}
    image = client.images.pull(exact, platform="linux/arm64", auth_config=login)
    assert image.attrs["RepoDigests"] == [exact]
    assert image.attrs["Architecture"] == "arm64"
    assert image.labels == seen["Labels"]
    assert image.id == json.loads(raw)["config"]["digest"]
    assert (
        image.attrs["RootFS"]["Layers"]
        == json.loads(user.skopeo("inspect", "--config", f"docker://{exact}"))["rootfs"]["diff_ids"]
    )


def test_the_bill_is_found_by_the_referrers_tag(user: User) -> None:
    server, digest = user.server, user.digest(user.team)
    tag = digest.replace(":", "-")
    listed = json.loads(user.skopeo("inspect", "--raw", f"docker://{user.team}/hello_world:{tag}"))
    repository = f"{user.team}/hello_world"
    names = [f"docker://{repository}@{entry['digest']}" for entry in listed["manifests"]]
    artifacts = [json.loads(user.skopeo("inspect", "--raw", name)) for name in names]
    (artifact,) = [found for found in artifacts if found["artifactType"] == "application/spdx+json"]
    assert artifact["subject"]["digest"] == digest
    blob = artifact["layers"][0]["digest"].removeprefix("sha256:")
    path = server.storage / f"docker/registry/v2/blobs/sha256/{blob[:2]}/{blob}/data"
    bill = json.loads(path.read_bytes())
    assert {"busybox-static", "hello_world"} <= {package["name"] for package in bill["packages"]}


def test_only_what_is_missing_travels(user: User) -> None:
    folder, server = user.folders / "hello_world", user.server
    access = ["--registry-certs", server.certificates, "--registry-auth", server.auth_file]
    user.run("push", folder, "--org", user.team, "--tag", "v1", *access)
    before = registry_log(server)
    user.run("push", folder, "--org", user.team, "--tag", "v1", *access)
    again = registry_log(server)[len(before) :]
    assert "PUT /v2/team/hello_world/manifests/v1" in again
    assert "/blobs/uploads/" not in again
    (packages,) = [
        layer["digest"] for layer in json.loads(
            user.skopeo("inspect", "--raw", f"docker://{user.team}/hello_world:v1")
        )["layers"] if layer["size"] > 100_000
    ]  # fmt: skip
    script = folder / "hello.sh"
    script.write_text(script.read_text() + "# changed\n")
    before = registry_log(server)
    user.run("push", folder, "--org", user.team, "--tag", "v2", *access)
    changed = registry_log(server)[len(before) :]
    assert "/blobs/uploads/" in changed
    assert f"digest=sha256%3A{packages.removeprefix('sha256:')}" not in changed


def test_a_login_from_a_file_is_enough_and_is_left_nowhere(user: User, tmp_path: Path) -> None:
    credentials = tmp_path / "creds"
    credentials.write_text(f"{USER}:{PASSWORD}\n")
    words = ["push", user.folders / "hello_world", "--org", f"{user.server.address}/files",
             "--registry-certs", user.server.certificates, "-v"]  # fmt: skip
    user.run(*words, "--creds-file", credentials)
    assert list(user.store.rglob("auth.json")) == []


def test_refusals_say_what_to_do(user: User, tmp_path: Path) -> None:
    folder = user.folders / "hello_world"
    nobody, wrong = tmp_path / "none.json", tmp_path / "creds"
    nobody.write_text("{}")
    wrong.write_text(f"{USER}:guess\n")
    certs = ["--registry-certs", user.server.certificates]
    words = ["push", folder, "--org", user.team]
    output = user.run(*words, *certs, "--registry-auth", nobody, status=1).stderr
    assert f"log in with `skopeo login {user.server.address}`" in output
    output = user.run(*words, *certs, "--creds-file", wrong, status=1).stderr
    assert "denied access to team/hello_world" in output
    assert "guess" not in output
    output = user.run(*words, "--registry-auth", user.server.auth_file, status=1).stderr
    assert "is not trusted" in output
    assert "--registry-certs" in output
    output = user.run("push", folder, "--org", "registry.invalid/team", status=1).stderr
    assert "cannot be reached" in output


def test_archives_are_what_other_tools_read_and_the_same_bytes_twice(
    user: User, tmp_path: Path
) -> None:
    folder = user.folders / "hello_world"
    for name in ("one.tar", "two.tar"):
        user.run("build", folder, "-o", tmp_path / name)
    first = (tmp_path / "one.tar").read_bytes()
    assert first == (tmp_path / "two.tar").read_bytes()
    elsewhere = tmp_path / "elsewhere"
    user.run("build", folder, "-o", tmp_path / "three.tar", PIIMAGE_STORE=str(elsewhere))
    assert first == (tmp_path / "three.tar").read_bytes()
    user.run("build", folder, "-o", tmp_path / "docker.tar", "--format", "docker")
    with tarfile.open(tmp_path / "docker.tar") as archive:
        (entry,) = json.load(archive.extractfile("manifest.json") or sys.stdin)
    assert "piimage/hello_world:" in entry["RepoTags"][0]


def test_two_platforms_are_one_name_with_the_programs_of_each(
    user: User, client: docker.DockerClient, trusting_engine: None
) -> None:
    access = ["--registry-certs", user.server.certificates,
              "--registry-auth", user.server.auth_file]  # fmt: skip
    user.run("push", user.folders / "hello_world", "--org", f"{user.server.address}/both",
             "--tag", "v1", "--platform", "linux/amd64", *access)  # fmt: skip
    name = f"{user.server.address}/both/hello_world:v1"
    index = json.loads(user.skopeo("inspect", "--raw", f"docker://{name}"))
    assert [manifest["platform"]["architecture"] for manifest in index["manifests"]] == [
        "arm64",
        "amd64",
    ]
    login = {"username": USER, "password": PASSWORD}
    for architecture in ("arm64", "amd64"):
        platform = f"linux/{architecture}"
        image = client.images.pull(name, platform=platform, auth_config=login)
        assert image.attrs["Architecture"] == architecture
        output = client.containers.run(
            image.id, ["-c", "exit 3"], entrypoint=["/usr/bin/sh"], platform=platform, detach=True
        )
        assert output.wait(timeout=60)["StatusCode"] == 3
        output.remove()


APPLETS = ("sh", "cat", "sleep", "uname", "kill")


@pytest.fixture(scope="module")
def base(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with a busybox for two platforms, made from Debian's packages, in the registry."""
    work = tmp_path_factory.mktemp("base")
    layout, images = Layout(Store(work / "store")), []
    for platform in (ARM64, AMD64):
        root = fetch(work / platform.architecture, "busybox-static", platform.architecture)
        program = (root / "usr/bin/busybox").read_bytes()
        links = [symlink(f"bin/{name}", "busybox") for name in APPLETS]
        tree = [folder("bin"), file("bin/busybox", program, 0o755), *links, folder("usr")]
        packed = pack_layer(layout.store, tree)
        config = ImageConfig(
            os="linux",
            architecture=platform.architecture,
            variant=platform.variant,
            config=Execution(env=("PATH=/bin:/usr/bin",)),
            rootfs=RootFileSystem(diff_ids=(packed.diff_id,)),
        )
        images.append(layout.write_image(config, [packed.descriptor]).descriptor)
    index = layout.write_index(Index(manifests=tuple(images)))
    reference = server.reference("base/busybox:1")
    Registry(layout, Runner(), server.access).push(reference, index)
    return str(reference)


@pytest.fixture(scope="module")
def plugin(user: User, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Buildx where a user has it."""
    folder = user.home / ".docker/cli-plugins"
    folder.mkdir(parents=True)
    shutil.copy(buildx(tmp_path_factory.mktemp("buildx") / "root"), folder / "docker-buildx")


def test_a_dockerfile_is_built_on_a_locked_base_and_runs(
    user: User, base: str, plugin: None, client: docker.DockerClient, tmp_path: Path
) -> None:
    here = user.folders / "hello_world"
    lock = tmp_path / "docker.lock"
    words = ["build", here, "--dockerfile", here / "Dockerfile", "--build-arg", f"BASE={base}",
             "--lock", lock, "--platform", "linux/amd64", "--tag", "docker",
             "--registry-certs", user.server.certificates,
             "--registry-auth", user.server.auth_file]  # fmt: skip
    user.run(*words, "--load")
    raw = user.skopeo("inspect", "--raw", f"docker://{base}")
    assert f"sha256:{hashlib.sha256(raw).hexdigest()}" in lock.read_text()
    (row,) = [row for row in user.listed() if row["tag"] == "docker"]
    assert row["platforms"] == ["linux/arm64/v8", "linux/amd64"]

    image = client.images.get("piimage/hello_world:docker")
    assert image.attrs["Architecture"] == "arm64"
    assert image.labels["org.opencontainers.image.base.name"] == base
    output = client.containers.run(
        image.id, ["-c", "uname -m"], entrypoint=["/bin/sh"], platform="linux/arm64", remove=True
    )
    assert output == b"aarch64\n"

    client.api.prune_builds(all=True)
    user.run(*words, "--locked", "--offline")
    (again,) = [row for row in user.listed() if row["tag"] == "docker"]
    assert again == row
