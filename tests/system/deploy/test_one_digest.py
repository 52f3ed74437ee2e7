"""One image, one digest: a folder's image by every way that piimage sends it, and a registry's own.

The registry is Debian's docker-registry with TLS and a login; what it has is asked of it by skopeo.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from piimage.cli import main as cli
from piimage.oci.layout import Layout
from piimage.oci.registry import Registry
from piimage.run import Runner
from piimage.store import Store
from tests.system.deploy.site import Site, docker_pi
from tests.system.oci.conftest import Server, image
from tests.system.oci.conftest import server as server  # noqa: PLC0414  # a fixture

ENTRY_OF_AN_IMAGE = """  - name: sender
    image: {reference}
    env: [LEVEL=high]
"""


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory, piimage_store: Path) -> Iterator[Site]:
    project = tmp_path_factory.mktemp("one-project")
    with docker_pi(tmp_path_factory.mktemp("one-pi"), project, piimage_store) as found:
        yield found


def skopeo(server: Server, *words: str) -> bytes:
    access = [f"--authfile={server.auth_file}", f"--cert-dir={server.certificates}"]
    return subprocess.run(
        ["skopeo", words[0], *access, *words[1:]], check=True, capture_output=True
    ).stdout


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def docker_image(server: Server, store: Path) -> str:
    """Push an image with Docker's own media types; return its reference."""
    layout = Layout(Store(store))
    made = image(layout, "sends")
    plain, other = server.reference("base/oci:1"), server.reference("base/docker:1")
    Registry(layout, Runner(), server.access).push(plain, made.descriptor)
    access = [f"--{side}-cert-dir={server.certificates}" for side in ("src", "dest")]
    subprocess.run(
        ["skopeo", "copy", "-q", "--format=v2s2", f"--authfile={server.auth_file}", *access,
         f"docker://{plain}", f"docker://{other}"], check=True,
    )  # fmt: skip
    return str(other)


def test_an_image_has_one_digest_by_every_way(
    site: Site, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("PIIMAGE_STORE", str(site.store))
    access = ["--registry-certs", str(server.certificates), "--registry-auth",
              str(server.auth_file)]  # fmt: skip
    site.write("the one")
    file = site.folder / "shed.yml"
    reference = docker_image(server, tmp_path / "elsewhere")
    entries = "    env: [LEVEL=high]\n    command: [/usr/bin/web, -v]\n"
    file.write_text(file.read_text() + entries + ENTRY_OF_AN_IMAGE.format(reference=reference))

    # The manifests name what the lock and the folder give; nothing is sent yet.
    cluster = ["--to", "kubernetes", "--registry", f"{server.address}/shed"]
    assert cli.execute(["lock", str(file), *access]) == 0
    capsys.readouterr()
    assert cli.execute(["deploy", str(file), *cluster, *access, "--dry-run"]) == 0
    promised = images(capsys.readouterr().out)
    assert not (server.storage / "docker/registry/v2/repositories/shed").exists()

    assert cli.execute(["deploy", str(file), *cluster, *access]) == 0
    assert images(capsys.readouterr().out) == promised
    for name in promised.values():
        assert digest(skopeo(server, "inspect", "--raw", f"docker://{name}")) == name[-71:]
    web, sender = (promised[name].partition("@")[2] for name in ("web", "sender"))
    original = skopeo(server, "inspect", "--raw", f"docker://{reference}")
    assert json.loads(original)["mediaType"].startswith("application/vnd.docker.")
    assert sender == digest(original)

    words = ["pkg", "push", str(site.folder / "web"), "--org", f"{server.address}/team",
             "--tag", "v1"]  # fmt: skip
    assert cli.execute([*words, *access]) == 0
    pushed = skopeo(server, "inspect", "--raw", f"docker://{server.address}/team/web:v1")
    assert digest(pushed) == web

    assert cli.execute(["build", str(file), *access, "--format", "oci", "-o", str(tmp_path)]) == 0
    assert digest(archived(tmp_path / "shed.oci.tar", "web")) == web
    # Docker's media types are not for an OCI archive; configuration and layers are the same.
    assert blobs(archived(tmp_path / "shed.oci.tar", "sender")) == blobs(original)

    assert cli.execute(["deploy", str(file), "--service", "web", "--to", *site.words, *access]) == 0
    with site.host.client() as client:
        container = client.containers.get("web")
        # The id of an image in an engine is the digest of its configuration.
        assert container.attrs["Image"] == json.loads(pushed)["config"]["digest"]
        assert "LEVEL=high" in container.attrs["Config"]["Env"]
    assert site.page() == "the one"


def archived(archive: Path, name: str) -> bytes:
    """The manifest in an OCI archive, as skopeo finds it."""
    words = ["skopeo", "inspect", "--raw", f"oci-archive:{archive}:{name}"]
    return subprocess.run(words, check=True, capture_output=True).stdout


def blobs(manifest: bytes) -> list[str]:
    document = json.loads(manifest)
    return [part["digest"] for part in (document["config"], *document["layers"])]


def images(manifests: str) -> dict[str, str]:
    documents: list[Any] = list(yaml.safe_load_all(manifests))
    pods = [document["spec"]["template"]["spec"] for document in documents]
    return {pod["containers"][0]["name"]: pod["containers"][0]["image"] for pod in pods}
