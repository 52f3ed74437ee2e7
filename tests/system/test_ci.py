"""The example repository, cloned, and the steps of the CI files that it has, as a runner runs them.

apt-get is a stand-in that writes down what it should install: the packages of this host are there.
pip installs piimage from its wheel into a new environment, with what else the steps name.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml

from tests.ci import Step, action_steps, gitlab_job
from tests.system.conftest import PIIMAGE, ROOT
from tests.system.deploy.machines import make_key
from tests.system.oci.conftest import PASSWORD, USER, Server
from tests.system.oci.conftest import server as server  # noqa: PLC0414  # a fixture

EXAMPLE = ROOT / "examples" / "greenhouse"
APT_GET = '#!/bin/sh\necho "$*" >>"$HOME/apt-get"\n'
AUTHOR = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in (("NAME", "Ada"), ("EMAIL", "ada@example.org"))
}


@dataclass(frozen=True)
class Runner:
    """A machine of a CI system, with a clone of the example."""

    home: Path
    clone: Path
    environment: Mapping[str, str]

    def run(self, step: Step) -> str:
        """Run a step as GitHub and GitLab do: bash, which stops at the first error."""
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step.script],
            cwd=self.clone, env={**self.environment, **step.variables},
            capture_output=True, text=True, timeout=1500, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (step.name, done.stdout, done.stderr)
        assert PASSWORD not in done.stdout + done.stderr
        return done.stdout

    def use(self, inputs: Mapping[str, str]) -> None:
        """Run the action with `inputs`; what pip installs is built here."""
        for step in action_steps(inputs):
            self.run(self._with_wheels(step))

    def _with_wheels(self, step: Step) -> Step:
        if "PIIMAGE_INSTALL" not in step.variables:
            return step
        wheels = self.home / "wheels"
        words = {
            "piimage-builder": next(wheels.glob("piimage_builder-*.whl")),
            "piimage-chipmodels[pytest]": f"{next(wheels.glob('*chipmodels-*.whl'))}[pytest]",
        }
        named = step.variables["PIIMAGE_INSTALL"].split()
        install = " ".join(str(words.get(word, word)) for word in named)
        return replace(step, variables={**step.variables, "PIIMAGE_INSTALL": install})

    def job(self, job: Mapping[str, object]) -> None:
        """Run a job of the pipeline for GitLab."""
        self.run(self._with_wheels(gitlab_job(job)))

    def results(self, name: str) -> dict[str, str]:
        """Each case of a JUnit file, and what became of it."""
        cases = ET.parse(self.clone / "out" / name).getroot().iter("testcase")
        return {str(case.get("name")): case[0].tag if len(case) else "passed" for case in cases}


def raw(server: Server, reference: str) -> str:
    """The bytes of a manifest, as skopeo gets them from the registry."""
    access = [f"--authfile={server.auth_file}", f"--cert-dir={server.certificates}"]
    words = ["skopeo", "inspect", "--raw", *access, f"docker://{reference}"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def sh(*words: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        words, cwd=cwd, env={**os.environ, **AUTHOR}, check=True, capture_output=True, text=True
    )
    return done.stdout


def _pin(origin: Path, store: Path) -> None:
    """Run the lines of the example's README that commit its pins."""
    block, _ = re.findall(r"```console\n(.*?)```", (origin / "README.md").read_text(), re.S)
    lines = "".join(line.removeprefix("$ ") for line in block.splitlines(keepends=True))
    environment = {
        **os.environ, **AUTHOR, "PIIMAGE_STORE": str(store),
        "PATH": f"{PIIMAGE.parent}:{os.environ['PATH']}",
    }  # fmt: skip
    subprocess.run(
        ["bash", "-ec", lines], cwd=origin, env=environment, check=True, capture_output=True
    )


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory, piimage_store: Path) -> Runner:
    home = tmp_path_factory.mktemp("runner")
    origin, clone, programs = (home / name for name in ("origin", "clone", "bin"))
    shutil.copytree(EXAMPLE, origin, ignore=shutil.ignore_patterns("*.lock", "__pycache__", "out"))
    sh("git", "init", "-q", ".", cwd=origin)
    sh("git", "add", ".", cwd=origin)
    sh("git", "commit", "-q", "-m", "A greenhouse", cwd=origin)
    _pin(origin, piimage_store)
    sh("git", "clone", "-q", origin, clone, cwd=home)
    sh("chown", "-R", "1001:1001", clone, cwd=home)  # GitHub's jobs in a container are root's
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    for project in (ROOT, ROOT / "libraries" / "chipmodels"):
        sh(*pip, "wheel", "--no-deps", "-w", home / "wheels", project, cwd=home)
    programs.mkdir()
    (programs / "apt-get").write_text(APT_GET)
    (programs / "apt-get").chmod(0o755)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        "HOME": str(home), "PIIMAGE_STORE": str(piimage_store), "XDG_STATE_HOME": str(home),
        "PATH": f"{programs}:/usr/local/sbin:/usr/sbin:{os.environ['PATH']}",
    }  # fmt: skip
    return Runner(home, clone, environment)


def with_of(job: str) -> dict[str, str]:
    """The inputs that a job of the example gives to the action."""
    workflow = yaml.safe_load((EXAMPLE / ".github/workflows/ci.yml").read_text())
    (inputs,) = (
        step["with"] for step in workflow["jobs"][job]["steps"] if "piimage" in step["uses"]
    )
    return dict(inputs)


DRIVER = {
    "test_temperature[21.5]": "passed",
    "test_temperature[0.0]": "passed",
    "test_temperature[-10.25]": "passed",
    "test_a_sensor_that_is_unplugged": "passed",
}


def test_the_driver_is_tested_without_its_chip(runner: Runner) -> None:
    runner.use(with_of("driver"))
    assert runner.results("driver.xml") == DRIVER
    arguments = (runner.home / "apt-get").read_text().split()
    assert {"qemu-system-arm", "skopeo"} < set(arguments)


def test_a_job_of_gitlab_runs_in_the_same_clone(runner: Runner) -> None:
    (runner.clone / "out" / "driver.xml").unlink(missing_ok=True)
    pipeline = yaml.safe_load((runner.clone / ".gitlab-ci.yml").read_text())
    runner.job(pipeline["driver"])
    assert runner.results("driver.xml") == DRIVER


def test_the_card_is_built_booted_and_tested(runner: Runner) -> None:
    runner.use(with_of("card"))
    found = runner.results("card.xml")
    assert set(found.values()) == {"passed"}
    assert "the page has a temperature, or none without a sensor" in found


def test_card_and_container_are_published_with_bills_and_a_signature(
    runner: Runner, server: Server, tmp_path: Path
) -> None:
    make_key(tmp_path / "key")
    given = {
        "registry": f"{server.address}/greenhouse",
        "registry-login": f"{USER}:{PASSWORD}",
        "push-options": f"--registry-certs {server.certificates}",
        "signing-key": (tmp_path / "key").read_text(),
    }
    runner.use(with_of("release") | given)
    release = runner.clone / "out" / "release"
    names = {path.name for path in release.iterdir()}
    assert {"greenhouse.img", "greenhouse.bmap", "containers.txt", "SHA256SUMS.sig"} < names
    bills = {name for name in names if "spdx" in name or "cdx" in name}
    sums = (release / "SHA256SUMS").read_text()
    assert bills
    assert {line.split()[1] for line in sums.splitlines()} == names - {
        "SHA256SUMS",
        "SHA256SUMS.sig",
    }
    sh("sha256sum", "-c", "--quiet", "SHA256SUMS", cwd=release)
    signers = tmp_path / "signers"
    signers.write_text(f"ada@example.org {(tmp_path / 'key.pub').read_text()}")
    words = ["ssh-keygen", "-Y", "verify", "-f", signers, "-I", "ada@example.org", "-n", "file"]
    signature = release / "SHA256SUMS.sig"
    verify = [*words, "-s", signature]
    assert subprocess.run(verify, input=sums.encode(), check=False).returncode == 0
    assert subprocess.run(verify, input=b"else", check=False, capture_output=True).returncode != 0
    pushed = (release / "containers.txt").read_text().strip()
    name, digest = pushed.split("@")
    tree = sh("git", "rev-parse", "HEAD:thermometer", cwd=runner.home / "origin").strip()
    at = f"{server.address}/greenhouse/thermometer"
    assert name == f"{at}:{tree}"
    # A registry without the referrers API has a tag for them (OCI distribution 1.1).
    referrers = json.loads(raw(server, f"{at}:{digest.replace(':', '-')}"))["manifests"]
    attached = [json.loads(raw(server, f"{at}@{found['digest']}")) for found in referrers]
    assert {bill["artifactType"] for bill in attached} == {
        "application/spdx+json",
        "application/vnd.in-toto+json",
    }
    assert {bill["subject"]["digest"] for bill in attached} == {digest}
