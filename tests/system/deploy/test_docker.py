"""Services to a real Docker engine through a real sshd; arm64 runs under qemu-user."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import docker
import kubernetes_validate
import pytest
import yaml

from piimage import events
from piimage.build import open_project
from piimage.cli import main as cli
from piimage.config.load import load
from piimage.deploy.docker_services import Change, DockerServices
from piimage.deploy.docker_ssh import EngineHost
from piimage.deploy.hosts import parse_host
from piimage.deploy.ssh import Ssh
from piimage.deploy.workloads import Workload, build_workloads
from piimage.errors import PiimageError
from piimage.locking import Sources
from piimage.oci.engine import Engine
from piimage.oci.layout import Layout
from piimage.run import Runner
from piimage.store import Store
from tests.system.deploy.machines import sshd
from tests.system.oci.engines import running_engine
from tests.system.ports import free_port

SERVICE = """name: web
packages: [busybox-static]
drop: ["**"]
keep: [usr/bin/busybox]
links: {{bin: usr/bin}}
applets: {{program: usr/bin/busybox, folder: usr/bin, names: sh httpd sleep}}
files:
  - {{path: www/index.html, contents: "{page}"}}
  - {{path: usr/bin/web, source: web.sh, mode: "0755"}}
entrypoint: [/usr/bin/web]
"""
SERVES = "#!/bin/sh\nexec httpd -f -p 127.0.0.1:{port} -h /www\n"
CRASHES = "#!/bin/sh\necho cannot find the sensor\nexit 3\n"
SLEEPS = "#!/bin/sh\nexec sleep 1000\n"


@dataclass(frozen=True)
class Site:
    """A machine with an engine, and a project for it."""

    host: EngineHost
    folder: Path
    store: Path
    port: int

    def write(self, page: str, program: str = SERVES) -> None:
        folder = self.folder / "web"
        folder.mkdir(exist_ok=True)
        (folder / "service.yml").write_text(SERVICE.format(page=page))
        (folder / "web.sh").write_text(program.format(port=self.port))
        (self.folder / "shed.yml").write_text(
            "board: qemu-virt\nservices:\n  - name: web\n    build: web\n    health: {http: "
            f"'http://127.0.0.1:{self.port}/index.html', every: 1s, timeout: 1s, start: 2s}}\n"
            "    stop_timeout: 1s\n"  # busybox's httpd, as process 1, ignores SIGTERM
        )

    def workloads(self) -> tuple[Workload, ...]:
        files = [self.folder / "shed.yml"]
        sources = Sources(Store(self.store), Runner(), events.ignore, time.time)
        return build_workloads(open_project(files, load(files, [], {}), sources), sources)

    def deploy(self, page: str, program: str = SERVES) -> list[Change]:
        self.write(page, program)
        with self.host.client() as client:
            return list(self.target(client).deploy(self.workloads()))

    def target(self, client: docker.DockerClient) -> DockerServices:
        return DockerServices(self.host.name, client, self.host, Store(self.store))

    def page(self) -> str:
        """What is served, as soon as something is: emulated programs take a moment to start."""
        until = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/index.html") as page:
                    return str(page.read().decode())
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, piimage_store: Path) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("docker-pi")
    with running_engine(folder) as address, sshd(folder) as server:
        Engine(Layout(Store(piimage_store)), Runner(), Path("none"), address).register_emulation()
        text = f"docker+ssh://root@127.0.0.1:{server.port}{address.removeprefix('unix://')}"
        host = EngineHost(Ssh(Runner(), server.config, ask=False), parse_host(text))
        project = tmp_path_factory.mktemp("docker-project")
        site = Site(host, project, piimage_store, free_port())
        yield site
        with closing(docker.DockerClient(base_url=address)) as client:
            for container in client.containers.list(all=True):
                container.remove(force=True)


def test_a_service_is_deployed_changed_rolled_back_and_left_alone(site: Site) -> None:
    (first,) = site.deploy("one")
    assert (first.started, site.page()) == (True, "one")
    assert first.sent > 300_000  # busybox travels

    (second,) = site.deploy("two")
    assert (second.started, site.page()) == (True, "two")
    sys.stdout.write(f"\none page changed: {second.sent} bytes, {second.seconds:.1f} s\n")
    assert second.sent < 20_000

    (third,) = site.deploy("two")
    assert (third.started, third.sent) == (False, 0)

    with site.host.client() as client:
        site.target(client).rollback("web")
    assert site.page() == "one"


def test_what_would_travel_is_told_before_it_does(site: Site) -> None:
    site.deploy("known")
    site.write("planned")
    with site.host.client() as client:
        (pending,) = site.target(client).pending(site.workloads())
        assert pending.service == "web" and pending.restarts
        assert 0 < sum(blob.size for blob in pending.layers) < 20_000
        assert site.page() == "known"
        site.write("known")
        assert site.target(client).pending(site.workloads()) == ()


@pytest.mark.provokes("deploy.rolled-back")
@pytest.mark.parametrize(
    ("program", "why"),
    [(CRASHES, "exited with code 3|started again"), (SLEEPS, "was not healthy within")],
)
def test_a_version_that_does_not_work_gives_way_to_the_one_before(
    site: Site, program: str, why: str
) -> None:
    site.deploy("good")
    with pytest.raises(PiimageError, match=why) as caught:
        site.deploy("bad", program)
    if program is CRASHES:
        assert "cannot find the sensor" in caught.value.message
    assert site.page() == "good"
    assert not any(one.started for one in site.deploy("good"))


def test_a_deploy_that_was_cut_off_is_mended_by_the_next(site: Site) -> None:
    site.deploy("before")
    with site.host.client() as client:
        container = client.containers.get("web")
        for left in (f"web.{name}" for name in ("previous", "next")):
            try:
                client.containers.get(left).remove(force=True)
            except docker.errors.NotFound:
                continue
        container.stop()
        container.rename("web.previous")
    assert not any(one.started for one in site.deploy("before"))
    assert site.page() == "before"


def test_the_container_has_no_more_than_on_our_own_system(site: Site) -> None:
    site.deploy("checked")
    with site.host.client() as client:
        host = client.containers.get("web").attrs["HostConfig"]
        status = client.containers.get("web").top()["Processes"][0][1]
    text = Path(f"/proc/{status}/status").read_text()
    assert "NoNewPrivs:\t1" in text and "CapEff:\t0000000000000000" in text
    assert "Seccomp:\t2" in text
    assert host["ReadonlyRootfs"] is True


def test_the_verb_deploys_to_engines_and_writes_manifests_for_clusters(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIIMAGE_STORE", str(site.store))
    site.deploy("by hand")
    site.write("by the verb")
    host = site.host.host
    address = f"docker+ssh://root@127.0.0.1:{host.port}{host.engine}"
    words = ["deploy", str(site.folder / "shed.yml"), "--to", address]
    words += ["--ssh-config", str(site.host.ssh.config)]
    assert cli.execute([*words, "--dry-run"]) == 0
    assert "restarts web" in "".join(capsys.readouterr())
    assert site.page() == "by hand"
    assert cli.execute(words) == 0
    assert site.page() == "by the verb"
    assert cli.execute(words) == 0
    assert "nothing changed" in "".join(capsys.readouterr())

    cluster = ["--to", "kubernetes", "--dry-run", "--registry", "registry.local/shed"]
    assert cli.execute([*words[:2], *cluster]) == 0
    (document,) = yaml.safe_load_all(capsys.readouterr().out)
    kubernetes_validate.validate(document, "1.31", strict=True)


@pytest.mark.provokes("deploy.foreign-container")
def test_somebody_elses_container_is_not_touched(site: Site) -> None:
    site.deploy("mine")
    with site.host.client() as client:
        image = client.containers.get("web").attrs["Image"]
        client.containers.get("web").remove(force=True)
        theirs = client.api.create_container(image, name="web", command=["/bin/sleep", "1"])
        try:
            with pytest.raises(PiimageError, match="piimage did not make"):
                list(site.target(client).deploy(site.workloads()))
            assert client.api.inspect_container("web")["Id"] == theirs["Id"]
        finally:
            client.api.remove_container(theirs, force=True)


@pytest.mark.provokes("deploy.no-previous")
def test_without_an_earlier_version_there_is_no_way_back(site: Site) -> None:
    with site.host.client() as client:
        for container in client.containers.list(all=True):
            container.remove(force=True)
        with pytest.raises(PiimageError, match="no earlier version"):
            site.target(client).rollback("web")


@pytest.mark.provokes("deploy.engine")
def test_what_the_engine_refuses_is_said_in_its_words(site: Site) -> None:
    site.write("x")
    file = site.folder / "shed.yml"
    file.write_text(file.read_text() + "    sysctl: {kernel.nonsense: '1'}\n")
    refused = pytest.raises(PiimageError, match=r"kernel\.nonsense")
    with site.host.client() as client, refused as caught:
        list(site.target(client).deploy(site.workloads()))
    assert caught.value.code == "deploy.engine"


@pytest.mark.provokes("deploy.no-engine")
def test_a_machine_without_an_engine_is_told_apart_from_one_that_is_away(
    site: Site, tmp_path: Path
) -> None:
    bare = replace(site.host, host=replace(site.host.host, engine=str(tmp_path / "none.sock")))
    with pytest.raises(PiimageError, match="no Docker engine answers there"), bare.client():
        pass
    subprocess.run([*bare.ssh.argv(bare.host, None), "true"], check=True)
