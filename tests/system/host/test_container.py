"""piimage's container image, composed by piimage, in a Docker engine; and its wrapper script."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from piimage.oci.engine import Engine
from piimage.oci.layout import Layout
from piimage.run import Runner
from tests.system.conftest import PIIMAGE, ROOT
from tests.system.oci.engines import mirror, running_engine

USER = 4321


@dataclass(frozen=True)
class Image:
    """The image in the engine at `host`, as piimage:amd64 and piimage:arm64."""

    host: str

    def run(self, work: Path, *words: str, status: int = 0) -> str:
        """Run the wrapper in `work` as a user would; return its output and its messages."""
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(work.parent), "DOCKER_HOST": self.host,
            "PIIMAGE_MIRROR": mirror(), "PIIMAGE_IMAGE": "piimage:amd64",
            **{name: os.environ[name] for name in ("PIIMAGE_ACCELERATOR",) if name in os.environ},
        }  # fmt: skip
        done = subprocess.run(
            [ROOT / "container/piimage", *words], cwd=work, env=environment,
            capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, piimage_store: Path) -> Iterator[Image]:
    folder = tmp_path_factory.mktemp("container")
    archive = folder / "piimage.oci"
    build = ["pkg", "build", "container", "--context", ".", "--lock", folder / "service.lock"]
    build += ["--platform", "linux/amd64", "--tag", "test", "-o", archive]
    environment = {**os.environ, "PIIMAGE_STORE": str(piimage_store)}
    subprocess.run([PIIMAGE, *build], cwd=ROOT, env=environment, check=True, timeout=900)
    with running_engine(folder) as host:
        for name in ("amd64", "arm64"):
            load(host, name, archive)
        Engine(Layout(folder), Runner(), Path(), host).register_emulation()
        yield Image(host)


def load(host: str, architecture: str, archive: Path) -> None:
    """Load the image of one processor; the engine of Debian 12 does not read OCI archives."""
    tar = archive.with_suffix(".tar")
    words = ["--override-arch", architecture, "copy", "-q", f"oci-archive:{archive}"]
    name = f"docker-archive:{tar}:piimage:{architecture}"
    subprocess.run(["skopeo", *words, name], check=True)
    subprocess.run(["docker", "-H", host, "load", "-q", "-i", tar], check=True)
    tar.unlink()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A user's folder; its home has a key."""
    folder = tmp_path / "work"
    folder.mkdir()
    (tmp_path / ".ssh").mkdir()
    key = tmp_path / ".ssh/id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    for path in (folder, tmp_path / ".ssh", key, key.with_suffix(".pub")):
        os.chown(path, USER, USER)
    return folder


def test_a_user_of_any_linux_builds_a_card(image: Image, work: Path) -> None:
    image.run(work, "doctor")
    output = image.run(work, "new", "greenhouse.yml", "--board", "qemu-virt")
    assert "NOBODY" not in output, output  # the key of the home is found
    image.run(work, "check", "greenhouse.yml")
    image.run(work, "build", "greenhouse.yml", "-o", "out")
    card = work / "out/greenhouse.img"
    assert (card.stat().st_uid, (work / "greenhouse.lock").stat().st_uid) == (USER, USER)


def test_a_card_of_a_mac_is_handed_over_to_imager(image: Image, work: Path) -> None:
    output = image.run(work, "flash", "/dev/disk4", "greenhouse.yml", status=4)
    assert "write out/greenhouse.img with Raspberry Pi Imager" in output


def test_a_host_of_arm64_makes_the_same_image(image: Image, work: Path) -> None:
    """The programs of the arm64 image run under qemu-user, each with a store of its own."""
    for name in ("amd64", "arm64"):
        folder = work / name
        shutil.copytree(ROOT / "services/hello_world", folder / "hello_world")
        if name == "arm64":
            shutil.copy(work / "amd64/hello_world/service.lock", folder / "hello_world")
        words = ["pkg", "build", "hello_world", "--tag", "test", "-o", "hello.oci"]
        # Without a volume, the store is the container's own.
        subprocess.run(
            ["docker", "-H", image.host, "run", "--rm", "--network", "host",
             "-e", f"PIIMAGE_MIRROR={mirror()}", "-v", f"{folder}:/work",
             "--platform", f"linux/{name}", f"piimage:{name}", *words],
            check=True, timeout=900,
        )  # fmt: skip
    digests = {
        hashlib.sha256((work / name / "hello.oci").read_bytes()).hexdigest()
        for name in ("amd64", "arm64")
    }
    assert len(digests) == 1
