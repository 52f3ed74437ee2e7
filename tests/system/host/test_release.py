"""The shell steps of the release's workflow, run one after another in a clone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.system.conftest import PIIMAGE, ROOT
from tests.system.deploy.machines import make_key
from tests.system.oci.conftest import PASSWORD, USER, Server
from tests.system.oci.conftest import server as server  # noqa: PLC0414  # a fixture

# A stand-in for GitHub's program, which notes what it was asked for.
NOTING = '#!/bin/sh\nprintf "%s\\n" "$@" >>{}\n'


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What is committed, and what is about to be; with a changelog of the release 9.8.7."""
    clone = tmp_path / "clone"
    files = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(files, cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    for name in map(os.fsdecode, filter(None, listed)):
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            (clone / name).write_bytes((ROOT / name).read_bytes())
    changelog = clone / "CHANGELOG.md"
    text, count = re.subn("^## Unreleased$", "## 9.8.7", changelog.read_text(), flags=re.MULTILINE)
    assert count == 1
    changelog.write_text(text)
    return clone


def run_steps(job: str, count: int, clone: Path, variables: Mapping[str, str]) -> list[str]:
    """Run the `count` steps of a job that are shell, as GitHub does; what they asked `gh` for."""
    tools = clone.parent / "tools"
    tools.mkdir()
    for name in ("apt-get", "gh"):
        (tools / name).write_text(NOTING.format(clone.parent / name))
        (tools / name).chmod(0o755)
    # Not a link: Python would look for its packages beside the link.
    (tools / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tools / "python3").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", **variables}
    environment["GITHUB_REF_NAME"] = "v9.8.7"
    workflow = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
    steps = [step for step in workflow["jobs"][job]["steps"] if "run" in step]
    assert len(steps) == count
    for step in steps:
        # GitHub's default shell on Linux.
        command = ["bash", "-eo", "pipefail", "-c", step["run"]]
        done = subprocess.run(
            command, cwd=clone, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (step["name"], done.stdout, done.stderr)
        assert PASSWORD not in done.stdout + done.stderr
    return (clone.parent / "gh").read_text().split()


def test_a_tag_becomes_wheels_and_notes(clone: Path) -> None:
    arguments = run_steps("wheels", 7, clone, {})
    wheels = [
        "piimage_builder-9.8.7-py3-none-any.whl", "piimage_chipmodels-9.8.7-py3-none-any.whl",
        "piimage_sensorkit-9.8.7-py3-none-any.whl",
    ]  # fmt: skip
    assert sorted(path.name for path in (clone / "dist").iterdir()) == wheels
    assert (clone / "notes.md").read_text().startswith("### ")
    assert arguments[:5] == ["release", "create", "v9.8.7", "--verify-tag", "--notes-file"]
    assert arguments[6:] == ["dist/SHA256SUMS", *(f"dist/{name}" for name in wheels)]


def test_a_tag_becomes_a_container_image_with_its_bill_and_a_signature(
    clone: Path, server: Server, piimage_store: Path
) -> None:
    store = {"PIIMAGE_STORE": str(piimage_store)}
    # The pins of today, because an archive does not keep those of the commit.
    (clone / "container/service.lock").unlink()
    words = ["pkg", "build", "container", "--context", ".", "--platform", "linux/amd64"]
    subprocess.run(
        [PIIMAGE, *words, "--tag", "test"], cwd=clone, env={**os.environ, **store}, check=True
    )
    make_key(clone.parent / "key")
    outputs = clone.parent / "outputs"
    variables = {
        **store, "HOME": str(clone.parent), "GITHUB_OUTPUT": str(outputs),
        "GITHUB_REPOSITORY": "Ada/piimage", "GITHUB_REPOSITORY_OWNER": "Ada",
        "REGISTRY": server.address, "REGISTRY_LOGIN": f"{USER}:{PASSWORD}",
        "PUSH_OPTIONS": f"--registry-certs {server.certificates}",
        "SIGNING_KEY": (clone.parent / "key").read_text(),
    }  # fmt: skip
    arguments = run_steps("image", 6, clone, variables)
    assert arguments[:5] == ["release", "upload", "v9.8.7", "image.txt", "image.txt.sig"]
    name, digest = (clone / "image.txt").read_text().strip().split("@")
    at = f"{server.address}/ada/piimage"
    assert name == f"{at}:9.8.7"
    assert outputs.read_text() == f"name={at}\ndigest={digest}\n"

    index = json.loads(raw(server, f"{at}@{digest}"))
    platforms = {image["platform"]["architecture"]: image["digest"] for image in index["manifests"]}
    assert platforms.keys() == {"amd64", "arm64"}
    for image in platforms.values():
        # A registry without the referrers API has a tag for them (OCI distribution 1.1).
        listed = json.loads(raw(server, f"{at}:{image.replace(':', '-')}"))["manifests"]
        bills = [json.loads(raw(server, f"{at}@{found['digest']}")) for found in listed]
        # More than one if the store has the image under another name as well.
        assert {bill["artifactType"] for bill in bills} == {
            "application/spdx+json",
            "application/vnd.in-toto+json",
        }
        assert {bill["subject"]["digest"] for bill in bills} == {image}

    signers = clone.parent / "signers"
    signers.write_text(f"ada@example.org {(clone.parent / 'key.pub').read_text()}")
    verify = ["ssh-keygen", "-Y", "verify", "-f", signers, "-I", "ada@example.org", "-n", "file"]
    verify += ["-s", clone / "image.txt.sig"]
    text = (clone / "image.txt").read_bytes()
    assert subprocess.run(verify, input=text, check=False).returncode == 0
    assert subprocess.run(verify, input=text[::-1], check=False).returncode != 0


def raw(server: Server, reference: str) -> str:
    """The bytes of a manifest, as skopeo gets them from the registry."""
    access = [f"--authfile={server.auth_file}", f"--cert-dir={server.certificates}"]
    words = ["skopeo", "inspect", "--raw", *access, f"docker://{reference}"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout
