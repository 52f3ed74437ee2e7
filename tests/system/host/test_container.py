"""piimage's container image, composed by piimage, in a Docker engine; and its wrapper script."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system.conftest import PIIMAGE, ROOT
from tests.system.oci.engines import mirror, running_engine

USER = 4321


@dataclass(frozen=True)
class Image:
    """The image in an engine, and a folder with the wrapper as `piimage` and as `docker`."""

    host: str
    archive: Path

    def run(self, work: Path, *words: str, status: int = 0) -> str:
        """Run the wrapper in `work` as a user would; return its output and its messages."""
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(work.parent), "DOCKER_HOST": self.host,
            "PIIMAGE_MIRROR": mirror(),
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
    build = ["pkg", "build", "container", "--context", ".", "--lock", folder / "service.lock"]
    build += ["--platform", "linux/amd64", "--tag", "test", "-o", folder / "piimage.oci"]
    environment = {**os.environ, "PIIMAGE_STORE": str(piimage_store)}
    subprocess.run([PIIMAGE, *build], cwd=ROOT, env=environment, check=True, timeout=900)
    words = ["--override-arch", "amd64", "copy", "-q", f"oci-archive:{folder}/piimage.oci"]
    archive = folder / "amd64.tar"
    subprocess.run(["skopeo", *words, f"docker-archive:{archive}:piimage:latest"], check=True)
    with running_engine(folder) as host:
        subprocess.run(["docker", "-H", host, "load", "-q", "-i", archive], check=True)
        archive.unlink()
        yield Image(host, folder / "piimage.oci")


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


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_card_from_the_container_is_the_one_from_this_machine(
    image: Image, work: Path, piimage_store: Path
) -> None:
    image.run(work, "doctor")
    said = image.run(work, "new", "greenhouse.yml", "--board", "qemu-virt")
    assert "NOBODY" not in said, said  # the key of the home is found
    image.run(work, "check", "greenhouse.yml")
    image.run(work, "build", "greenhouse.yml", "-o", "out")
    card = work / "out/greenhouse.img"
    assert (card.stat().st_uid, (work / "greenhouse.lock").stat().st_uid) == (USER, USER)

    environment = {**os.environ, "PIIMAGE_STORE": str(piimage_store)}
    subprocess.run(
        [PIIMAGE, "build", "greenhouse.yml", "-o", "here"],
        cwd=work, env=environment, check=True, timeout=900,
    )  # fmt: skip
    assert (work / "here/greenhouse.img").is_file()


def test_a_card_of_a_mac_is_handed_over_to_imager(image: Image, work: Path) -> None:
    said = image.run(work, "flash", "/dev/disk4", "greenhouse.yml", status=4)
    assert "write out/greenhouse.img with Raspberry Pi Imager" in said


def test_the_image_is_there_for_both_processors(image: Image) -> None:
    for name in ("amd64", "arm64"):
        words = ["skopeo", "--override-arch", name, "inspect", "--format", "{{.Architecture}}"]
        done = subprocess.run(
            [*words, f"oci-archive:{image.archive}"], check=True, capture_output=True, text=True
        )
        assert done.stdout.strip() == name
