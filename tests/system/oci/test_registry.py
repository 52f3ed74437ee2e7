from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from piimage.errors import PiimageError
from piimage.oci.layout import Layout
from piimage.oci.models import ARM64, Descriptor, Index, Platform
from piimage.oci.reference import parse
from piimage.oci.registry import Access, Registry
from piimage.run import Runner
from piimage.store import Store
from tests.system.oci.conftest import Server, free_port, image, wait_for

AMD64 = Platform(os="linux", architecture="amd64")
ARMV7 = Platform(os="linux", architecture="arm", variant="v7")


def code_of(error: pytest.ExceptionInfo[PiimageError]) -> str:
    return error.value.code


def index_of(layout: Layout, *platforms: Platform) -> Descriptor:
    entries = [image(layout, str(platform), platform).descriptor for platform in platforms]
    return layout.write_index(Index(manifests=tuple(entries)))


def raw(server: Server, name: str) -> bytes:
    words = [f"--authfile={server.auth_file}", f"--cert-dir={server.certificates}"]
    return subprocess.run(
        ["skopeo", "inspect", "--raw", *words, f"docker://{server.address}/{name}"],
        check=True, capture_output=True,
    ).stdout  # fmt: skip


def test_what_is_pushed_is_pulled_elsewhere(
    server: Server, registry: Registry, other: Registry
) -> None:
    made = image(registry.layout, "hello")
    pushed = registry.push(server.reference("app:1"), made.descriptor)
    assert raw(server, "app:1") == registry.layout.document(made.descriptor)
    resolved = other.resolve(server.reference("app:1"))
    assert resolved.reference == pushed
    assert resolved.layers == made.manifest.layers
    assert not other.layout.store.has(made.manifest.layers[0].blob)
    pulled = other.pull(resolved.reference)
    assert pulled.manifest == made.manifest
    assert all(other.layout.store.has(blob) for blob in made.blobs)
    assert other.stored(resolved.reference) == pulled


def test_an_index_gives_its_arm64_image_and_nothing_else(
    server: Server, registry: Registry, other: Registry
) -> None:
    described = index_of(registry.layout, AMD64, ARMV7, ARM64)
    pushed = registry.push(server.reference("multi:1"), described)
    pulled = other.pull(other.resolve(server.reference("multi:1")).reference)
    assert pushed.digest == described.digest
    assert pulled.config.platform == ARM64
    foreign = registry.layout.choose(described, AMD64)
    assert not other.layout.store.has(foreign.manifest.layers[0].blob)
    assert other.stored(pushed) == pulled
    assert other.stored(pushed, AMD64) is None


def test_a_second_pull_asks_only_for_what_is_new(
    server: Server, registry: Registry, other: Registry
) -> None:
    made = image(registry.layout, "again")
    reference = registry.push(server.reference("again:1"), made.descriptor)
    other.pull(reference)
    unreachable = replace(other, runner=Runner(environment={"PATH": "/nowhere"}))
    assert unreachable.pull(reference).manifest == made.manifest


def test_an_image_in_dockers_form_keeps_its_digest(
    server: Server, registry: Registry, other: Registry, tmp_path: Path
) -> None:
    made = image(registry.layout, "docker")
    registry.layout.set_name("x", made.descriptor)
    subprocess.run(
        ["skopeo", "copy", "-q", "--format=v2s2", f"oci:{registry.layout.store.root}:x",
         f"docker://{server.address}/docker:1", f"--dest-cert-dir={server.certificates}",
         f"--dest-authfile={server.auth_file}"],
        check=True,
    )  # fmt: skip
    served = raw(server, "docker:1")
    assert json.loads(served)["mediaType"].startswith("application/vnd.docker.")
    resolved = other.resolve(server.reference("docker:1"))
    pulled = other.pull(resolved.reference)
    assert other.layout.document(pulled.descriptor) == served
    assert pulled.config.rootfs == made.config.rootfs


@pytest.mark.provokes("oci.wrong-platform")
def test_an_image_for_another_architecture_is_refused_by_name(
    server: Server, registry: Registry, other: Registry
) -> None:
    registry.push(server.reference("amd:1"), image(registry.layout, "amd", AMD64).descriptor)
    registry.push(server.reference("amd:2"), index_of(registry.layout, AMD64, ARMV7))
    with pytest.raises(PiimageError, match="the image is for linux/amd64, and a Raspberry Pi"):
        other.resolve(server.reference("amd:1"))
    with pytest.raises(PiimageError, match="for linux/amd64, linux/arm/v7, and a Raspberry Pi"):
        other.resolve(server.reference("amd:2"))


def test_an_sbom_travels_with_its_image(server: Server, registry: Registry) -> None:
    made = image(registry.layout, "with sbom")
    sbom = Descriptor.of("application/spdx+json", registry.layout.store.add_bytes(b'{"spdx": 1}'))
    artifact = registry.layout.attach(made.descriptor, "application/spdx+json", [sbom])
    registry.push(server.reference("sbom:1"), made.descriptor)
    listed = json.loads(raw(server, f"sbom:{made.descriptor.digest.replace(':', '-')}"))
    assert [entry["digest"] for entry in listed["manifests"]] == [artifact.digest]
    served = raw(server, f"sbom@{artifact.digest}")
    assert served == registry.layout.document(artifact)
    assert json.loads(served)["artifactType"] == "application/spdx+json"
    assert json.loads(served)["subject"]["digest"] == made.descriptor.digest


def blob_path(server: Server, sha256: str) -> Path:
    folder = server.storage / "docker/registry/v2/blobs/sha256"
    return folder / sha256[:2] / sha256 / "data"


@pytest.mark.provokes("oci.digest-mismatch")
def test_an_altered_layer_is_refused_and_not_kept(
    server: Server, registry: Registry, other: Registry
) -> None:
    made = image(registry.layout, "altered layer")
    reference = registry.push(server.reference("altered:1"), made.descriptor)
    blob = made.manifest.layers[0].blob
    path = blob_path(server, blob.sha256)
    path.write_bytes(bytes(255 - byte for byte in path.read_bytes()))
    with pytest.raises(PiimageError) as caught:
        other.pull(reference)
    assert code_of(caught) == "oci.digest-mismatch"
    assert not other.layout.store.has(blob)
    assert other.stored(reference) is None


@pytest.mark.provokes("oci.digest-mismatch")
def test_an_altered_manifest_is_refused_and_not_kept(
    server: Server, registry: Registry, other: Registry
) -> None:
    made = image(registry.layout, "altered manifest")
    reference = registry.push(server.reference("altered:2"), made.descriptor)
    path = blob_path(server, made.descriptor.blob.sha256)
    path.write_bytes(path.read_bytes().replace(b'"size":', b'"size" :', 1))
    with pytest.raises(PiimageError) as caught:
        other.pull(reference)
    assert code_of(caught) == "oci.digest-mismatch"
    assert not other.layout.store.has(made.descriptor.blob)


@pytest.mark.provokes("oci.refused")
def test_without_a_login_the_message_says_how_to_log_in(
    server: Server, registry: Registry, elsewhere: Layout, runner: Runner, tmp_path: Path
) -> None:
    registry.push(server.reference("private:1"), image(registry.layout, "p").descriptor)
    (tmp_path / "none.json").write_text("{}")
    access = Access(certificates=server.certificates, auth_file=tmp_path / "none.json")
    stranger = Registry(elsewhere, runner, access)
    with pytest.raises(PiimageError, match="denied access to private") as caught:
        stranger.resolve(server.reference("private:1"))
    assert f"`skopeo login {server.address}`" in str(caught.value)
    with pytest.raises(PiimageError, match="denied access to private"):
        Registry(registry.layout, runner, access).push(
            server.reference("private:2"), image(registry.layout, "p").descriptor
        )


@pytest.mark.provokes("oci.no-image")
@pytest.mark.parametrize("name", ["absent:1", "app:absent", "app@sha256:" + "0" * 64])
def test_a_missing_image_is_said_to_be_missing(
    server: Server, registry: Registry, name: str
) -> None:
    registry.push(server.reference("app:1"), image(registry.layout, "hello").descriptor)
    with pytest.raises(PiimageError, match="has no image") as caught:
        registry.resolve(server.reference(name))
    assert code_of(caught) == "oci.no-image"


@pytest.mark.provokes("oci.tls")
def test_an_unknown_certificate_is_refused(
    server: Server, elsewhere: Layout, runner: Runner
) -> None:
    with pytest.raises(PiimageError) as caught:
        Registry(elsewhere, runner, Access(auth_file=server.auth_file)).resolve(
            server.reference("app:1")
        )
    assert code_of(caught) == "oci.tls"
    assert f"--insecure-registry {server.address}" in str(caught.value)


def test_an_insecure_registry_is_taken_when_it_is_named(
    server: Server, registry: Registry, elsewhere: Layout, runner: Runner
) -> None:
    made = image(registry.layout, "hello")
    reference = registry.push(server.reference("app:1"), made.descriptor)
    access = Access(insecure=frozenset({server.address}), auth_file=server.auth_file)
    assert Registry(elsewhere, runner, access).pull(reference).manifest == made.manifest


@pytest.mark.provokes("oci.unreachable")
@pytest.mark.parametrize("host", ["localhost:{port}", "registry.invalid"])
def test_a_registry_out_of_reach_is_said_to_be_so(
    elsewhere: Layout, runner: Runner, host: str
) -> None:
    reference = parse(f"{host.format(port=free_port())}/app:1")
    with pytest.raises(PiimageError, match="cannot be reached") as caught:
        Registry(elsewhere, runner).resolve(reference)
    assert code_of(caught) == "oci.unreachable"


@pytest.fixture
def plain_server(tmp_path: Path) -> Iterator[str]:
    """A registry without TLS and login."""
    port = free_port()
    settings = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "plain")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    (tmp_path / "plain.yml").write_text(json.dumps(settings))
    process = subprocess.Popen(
        ["docker-registry", "serve", tmp_path / "plain.yml"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(port, process)
        yield f"localhost:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.mark.provokes("oci.plain-http")
def test_plain_http_has_to_be_asked_for(plain_server: str, layout: Layout, runner: Runner) -> None:
    made = image(layout, "plain")
    reference = parse(f"{plain_server}/app:1")
    with pytest.raises(PiimageError, match="speaks plain HTTP"):
        Registry(layout, runner).push(reference, made.descriptor)
    open_registry = Registry(layout, runner, Access(insecure=frozenset({plain_server})))
    assert open_registry.push(reference, made.descriptor).digest == made.descriptor.digest


def test_what_others_attached_stays_listed(
    server: Server, registry: Registry, other: Registry
) -> None:
    made = image(registry.layout, "attached")
    ours = registry.layout.attach(made.descriptor, "application/spdx+json", [])
    reference = registry.push(server.reference("attached:1"), made.descriptor)
    pulled = other.pull(reference)
    theirs = other.layout.attach(pulled.descriptor, "application/vnd.example+json", [])
    other.push(reference, pulled.descriptor)
    registry.push(reference, made.descriptor)
    tag = made.descriptor.digest.replace(":", "-")
    listed = json.loads(raw(server, f"attached:{tag}"))["manifests"]
    assert {entry["digest"] for entry in listed} == {ours.digest, theirs.digest}
    for digest in (ours.digest, theirs.digest):
        artifact = json.loads(raw(server, f"attached@{digest}"))
        assert artifact["subject"]["digest"] == made.descriptor.digest


def test_skopeo_and_the_store_agree_on_every_blob(
    server: Server, registry: Registry, store: Store
) -> None:
    made = image(registry.layout, "agree")
    registry.push(server.reference("agree:1"), made.descriptor)
    inspected = json.loads(raw(server, "agree:1"))
    assert [part["digest"] for part in inspected["layers"]] == [
        layer.digest for layer in made.manifest.layers
    ]
    assert store.has(made.manifest.layers[0].blob)
