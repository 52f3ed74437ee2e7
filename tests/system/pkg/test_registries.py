"""`pkg manifest`, `cache pull`, `cache push` with a real registry, and what skopeo sees there."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.system.oci.conftest import PASSWORD, USER, Server
from tests.system.oci.conftest import server as server  # noqa: PLC0414  # a fixture

PIIMAGE = Path(sys.executable).with_name("piimage")
SERVICE = """
name: thermo
files:
  - {path: usr/bin/thermo, contents: "#!/bin/sh\\n", mode: "0755"}
entrypoint: [/usr/bin/thermo]
"""


@dataclass(frozen=True)
class User:
    """Somebody at a shell, with a store of their own."""

    store: Path
    server: Server

    def run(self, *words: object, status: int = 0) -> str:
        access = ["--registry-certs", self.server.certificates]
        access += ["--registry-auth", self.server.auth_file]
        done = subprocess.run(
            [PIIMAGE, *map(str, (*words, *(access if words[1] != "ls" else ())))],
            env={**os.environ, "PIIMAGE_STORE": str(self.store)},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        return done.stdout + done.stderr

    def raw(self, name: str) -> bytes:
        access = [f"--authfile={self.server.auth_file}", f"--cert-dir={self.server.certificates}"]
        words = ["skopeo", "inspect", "--raw", *access, f"docker://{self.server.address}/{name}"]
        return subprocess.run(words, check=True, capture_output=True).stdout


@pytest.fixture
def user(server: Server, tmp_path: Path) -> User:
    return User(tmp_path / "store", server)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "thermo"
    made.mkdir()
    (made / "service.yml").write_text(SERVICE)
    return made


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_images_that_were_pushed_for_each_platform_get_one_name(
    user: User, folder: Path, tmp_path: Path
) -> None:
    org = f"{user.server.address}/joined"
    words = ("manifest", folder, "--org", org, "--tag", "v1")
    assert "joined/thermo:v1-arm64 or " in user.run("pkg", *words, status=2)

    user.run("pkg", "push", folder, "--org", org, "--tag", "v1-arm64")
    assert "thermo:v1@sha256:" in user.run("pkg", *words)
    (entry,) = json.loads(user.raw("joined/thermo:v1"))["manifests"]
    assert entry["digest"] == digest_of(user.raw("joined/thermo:v1-arm64"))

    # An image for amd64 of another machine: the archive has both platforms, skopeo pushes one.
    archive = tmp_path / "both.tar"
    user.run("pkg", "build", folder, "--platform", "linux/amd64", "-o", archive)
    target = f"docker://{org}/thermo:v1-amd64"
    access = [f"--dest-authfile={user.server.auth_file}",
              f"--dest-cert-dir={user.server.certificates}"]  # fmt: skip
    choice = ["--override-arch", "amd64", "copy", *access]
    subprocess.run(
        ["skopeo", *choice, f"oci-archive:{archive}", target], check=True, capture_output=True
    )

    credentials = tmp_path / "creds"
    credentials.write_text(f"{USER}:{PASSWORD}\n")
    shown = user.run("pkg", *words, "--creds-file", credentials)
    index = json.loads(user.raw("joined/thermo:v1"))
    assert f"v1@{digest_of(user.raw('joined/thermo:v1'))}: linux/arm64, linux/amd64" in shown
    assert [(m["platform"]["architecture"], m["digest"]) for m in index["manifests"]] == [
        (name, digest_of(user.raw(f"joined/thermo:v1-{name}"))) for name in ("arm64", "amd64")
    ]


def test_an_image_goes_from_registry_to_registry_with_all_that_is_attached(
    user: User, folder: Path, tmp_path: Path
) -> None:
    source, server = f"{user.server.address}/from/thermo:v1", user.server
    user.run("pkg", "push", folder, "--org", f"{server.address}/from", "--tag", "v1")

    other = User(tmp_path / "elsewhere", server)
    digest = digest_of(user.raw("from/thermo:v1"))
    assert f"{source}: {digest}, linux/arm64/v8" in other.run("cache", "pull", source)
    (row,) = json.loads(other.run("pkg", "ls", "--json"))
    assert (row["name"], row["tag"], row["digest"]) == (source.rpartition(":")[0], "v1", digest)
    kinds = {"application/spdx+json", "application/vnd.in-toto+json"}
    assert {attached["type"] for attached in row["referrers"]} == kinds

    assert f"did you mean {source}?" in other.run("cache", "push", f"{source}1", status=2)
    other.run("cache", "push", source, "--as", f"{server.address}/to/thermo:v2")
    assert digest_of(other.raw("to/thermo:v2")) == digest
    listed = json.loads(other.raw(f"to/thermo:{digest.replace(':', '-')}"))["manifests"]
    artifacts = [json.loads(other.raw(f"to/thermo@{entry['digest']}")) for entry in listed]
    assert {artifact["artifactType"] for artifact in artifacts} == kinds
    assert {artifact["subject"]["digest"] for artifact in artifacts} == {digest}


def test_the_provenance_in_the_registry_is_of_the_pushed_image(user: User, folder: Path) -> None:
    user.run("pkg", "push", folder, "--org", f"{user.server.address}/told", "--tag", "v1")
    digest = digest_of(user.raw("told/thermo:v1"))
    listed = json.loads(user.raw(f"told/thermo:{digest.replace(':', '-')}"))["manifests"]
    artifacts = [json.loads(user.raw(f"told/thermo@{entry['digest']}")) for entry in listed]
    kind = "application/vnd.in-toto+json"
    (attestations,) = [found for found in artifacts if found["artifactType"] == kind]
    statements = [_blob(user.server, layer["digest"]) for layer in attestations["layers"]]
    assert {statement["predicateType"] for statement in statements} == {
        "https://spdx.dev/Document",
        "https://slsa.dev/provenance/v1",
    }
    for statement in statements:
        (subject,) = statement["subject"]
        assert f"sha256:{subject['digest']['sha256']}" == digest


def _blob(server: Server, digest: str) -> Any:
    name = digest.removeprefix("sha256:")
    path = server.storage / f"docker/registry/v2/blobs/sha256/{name[:2]}/{name}/data"
    return json.loads(path.read_bytes())
