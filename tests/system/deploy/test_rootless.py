"""Engines that a user without privileges runs, rootless Docker and Podman: services go to both, and
Docker's BuildKit builds Dockerfiles.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import ItemsView, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest

from piimage.cli import main as cli
from piimage.errors import PiimageError
from tests.system.deploy.rootless import rootless_pi
from tests.system.deploy.site import Site
from tests.system.oci.engines import buildx, fetch

PIIMAGE = Path(sys.executable).with_name("piimage")

CRASHES = "#!/bin/sh\necho cannot find the sensor\nexit 3\n"


@pytest.fixture(scope="module")
def docker_site(tmp_path_factory: pytest.TempPathFactory, piimage_store: Path) -> Iterator[Site]:
    with rootless_pi("docker", tmp_path_factory.mktemp("docker"), piimage_store) as found:
        yield found


@pytest.fixture(scope="module")
def podman_site(tmp_path_factory: pytest.TempPathFactory, piimage_store: Path) -> Iterator[Site]:
    with rootless_pi("podman", tmp_path_factory.mktemp("podman"), piimage_store) as found:
        yield found


@pytest.fixture(params=["docker", "podman"])
def site(request: pytest.FixtureRequest) -> Site:
    found: Site = request.getfixturevalue(f"{request.param}_site")
    return found


def served(site: Site) -> str:
    """The page, as the container itself sees it: the engine may have a network of its own."""
    url = f"http://127.0.0.1:{site.port}/index.html"
    with site.host.client() as client:
        done = client.containers.get("web").exec_run(["busybox", "wget", "-q", "-O", "-", url])
    text: str = done.output.decode()
    return text


def test_a_service_is_deployed_changed_rolled_back_and_left_alone(site: Site) -> None:
    (first,) = site.deploy("one")
    assert (first.started, served(site)) == (True, "one")
    (second,) = site.deploy("two")
    assert (second.started, served(site)) == (True, "two")
    (third,) = site.deploy("two")
    assert (third.started, third.sent) == (False, 0)
    assert cli.execute(["rollback", *site.words]) == 0
    assert served(site) == "one"


@pytest.mark.provokes("deploy.engine")
def test_a_profile_that_cannot_be_written_is_told_with_what_the_machine_said(site: Site) -> None:
    site.host.output_of("touch $HOME/file")
    lost = replace(site.host)
    vars(lost)["_profiles"] = site.host.output_of("printf %s $HOME/file/profiles")
    with pytest.raises(
        PiimageError, match=r"the seccomp profile cannot be written.*ot a directory"
    ):
        lost.keep_profile("{}")


def test_a_deploy_to_an_engine_with_a_network_of_its_own_says_so(
    docker_site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIIMAGE_STORE", str(docker_site.store))
    docker_site.write("one")
    file = docker_site.folder / "shed.yml"
    assert cli.execute(["deploy", str(file), "--to", *docker_site.words]) == 0
    assert "what they listen on is not reached from outside" in "".join(capsys.readouterr())


def test_a_version_that_does_not_work_gives_way_to_the_one_before(site: Site) -> None:
    site.deploy("one")
    with pytest.raises(PiimageError, match=r"exited with code 3|was restarted"):
        site.deploy("bad", CRASHES)
    assert served(site) == "one"


def test_the_container_is_the_users_and_has_the_limits_of_piimage(site: Site) -> None:
    site.deploy("one")
    with site.host.client() as client:
        pid = client.containers.get("web").attrs["State"]["Pid"]
    status = Path(f"/proc/{pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status and "CapEff:\t0000000000000000" in status
    assert "Seccomp:\t2" in status
    assert site.host.host.engine
    owner = Path(site.host.host.engine).stat().st_uid
    assert owner > 0 and f"Uid:\t{owner}\t" in status


def test_the_verbs_are_those_of_another_engine(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.deploy("one")
    assert cli.execute(["ps", *site.words]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["web", "running", "running"]
    assert cli.execute(["logs", site.words[0], "web", *site.words[1:], "-n", "1"]) == 0
    assert cli.execute(["stop", site.words[0], "web", *site.words[1:]]) == 0
    assert cli.execute(["start", site.words[0], "web", *site.words[1:]]) == 0
    assert served(site) == "one"


DOCKERFILE = """FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "sh", "-c", "/bin/busybox uname -m >/arch; /bin/busybox id -u >/user"]
"""


def test_a_dockerfile_is_built_by_the_buildkit_of_rootless_docker(
    docker_site: Site, tmp_path: Path
) -> None:
    context, home = tmp_path / "context", tmp_path / "home"
    plugins = home / ".docker/cli-plugins"
    plugins.mkdir(parents=True)
    (plugins / "docker-buildx").symlink_to(buildx(tmp_path / "buildx"))
    root = fetch(tmp_path / "busybox", "busybox-static", "arm64")
    context.mkdir()
    shutil.copy(root / "usr/bin/busybox", context)
    (context / "Dockerfile").write_text(DOCKERFILE)
    archive = tmp_path / "image.tar"
    done = subprocess.run(
        [PIIMAGE, "pkg", "build", context, "-o", archive, "--format", "docker"],
        env={**os.environ, "HOME": str(home), "PIIMAGE_STORE": str(docker_site.store),
             "DOCKER_HOST": f"unix://{docker_site.host.host.engine}"},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert files_of(archive) >= {"arch": b"aarch64\n", "user": b"0\n"}.items()


def files_of(archive: Path) -> ItemsView[str, bytes]:
    """The small files of all layers of an image that `docker save` could have written."""
    found: dict[str, bytes] = {}
    with tarfile.open(archive) as image:
        (listed,) = json.load(opened(image, "manifest.json"))
        for name in listed["Layers"]:
            with tarfile.open(fileobj=opened(image, name)) as layer:
                small = (member for member in layer if member.isfile() and member.size < 4096)
                found |= {member.name: opened(layer, member).read() for member in small}
    return found.items()


def opened(archive: tarfile.TarFile, member: str | tarfile.TarInfo) -> IO[bytes]:
    stream = archive.extractfile(member)
    assert stream is not None
    return stream
