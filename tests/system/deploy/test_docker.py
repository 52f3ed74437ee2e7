"""Services to a real Docker engine through a real sshd; arm64 runs under qemu-user."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import docker
import kubernetes_validate
import pytest
import yaml

from piimage.cli import main as cli
from piimage.deploy.docker_remote import DockerRemote
from piimage.errors import PiimageError
from tests.system.deploy.site import SERVES, Site, docker_pi

CRASHES = "#!/bin/sh\necho cannot find the sensor\nexit 3\n"
SLEEPS = "#!/bin/sh\nexec sleep 1000\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, piimage_store: Path) -> Iterator[Site]:
    project = tmp_path_factory.mktemp("docker-project")
    with docker_pi(tmp_path_factory.mktemp("docker-pi"), project, piimage_store) as found:
        yield found


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

    assert cli.execute(["rollback", *site.words]) == 0
    assert site.page() == "one"
    assert cli.execute(["rollback", *site.words]) == 0
    assert site.page() == "two"


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
    [(CRASHES, "exited with code 3|was restarted"), (SLEEPS, "was not healthy within")],
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
    assert not any(change.started for change in site.deploy("good"))


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
        client.api.create_container(container.attrs["Image"], name="web.next")
    assert not any(change.started for change in site.deploy("before"))
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
    words = ["deploy", str(site.folder / "shed.yml"), "--to", *site.words]
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
    base = site.folder / "base"
    assert cli.execute([*words[:2], *cluster, "--kustomize", str(base)]) == 0
    assert {path.name for path in base.iterdir()} == {"daemonset-web.yaml", "kustomization.yaml"}

    capsys.readouterr()
    assert cli.execute([*words[:2], "--to", "swarm", *cluster[2:]]) == 0
    shown = capsys.readouterr()
    assert list(yaml.safe_load(shown.out)["services"]) == ["web"]
    assert "has no noNewPrivileges; without it run: web" in shown.err


def test_the_verbs_are_those_of_a_pi_with_our_own_system(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.deploy("asked", SERVES.replace("exec", "echo serves; exec"))
    assert cli.execute(["ps", *site.words]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:4] == ["web", "running", "running", "0"]
    assert cli.execute(["logs", site.words[0], "web", *site.words[1:], "-n", "1"]) == 0
    assert capsys.readouterr().out == "serves\n"
    assert cli.execute(["logs", site.words[0], "gone", *site.words[1:]]) == 1
    assert "its services: web" in capsys.readouterr().err
    assert cli.execute(["stop", site.words[0], "web", *site.words[1:], "--json"]) == 0
    (stopped,) = json.loads(capsys.readouterr().out)["hosts"].values()
    assert (stopped["state"], stopped["pid"]) == ("exited", None)
    assert cli.execute(["restart", site.words[0], "web", *site.words[1:], "--json"]) == 0
    (running,) = json.loads(capsys.readouterr().out)["hosts"].values()
    assert running["state"] == "running"
    assert running["memory"] > 0
    assert 2 < running["seconds"] < 600
    assert cli.execute(["status", *site.words, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["hosts"].values()
    assert found["agent"].startswith("Docker ")
    assert found["generation"]["id"].startswith("deploy ")
    assert 0 < found["memory"]["available"] < found["memory"]["total"]
    assert 0 < found["data"]["free"] < found["data"]["total"]
    assert cli.execute(["status", *site.words]) == 0
    assert "Docker" in capsys.readouterr().out


def test_a_service_that_the_last_deploy_brought_goes_and_comes_back(site: Site) -> None:
    site.deploy("old one")
    file = site.folder / "shed.yml"
    other = "  - {name: other, build: web, command: [/bin/sleep, '1000']}\n"
    file.write_text(file.read_text() + other)
    with site.host.client() as client:
        changes = list(site.target(client).deploy(site.workloads()))
        assert [change.service for change in changes if change.started] == ["other"]
        for up in (False, True):
            assert cli.execute(["rollback", *site.words]) == 0
            rows = DockerRemote(site.host, client).services()
            assert ("other" in {row.name for row in rows}) is up
        assert site.page() == "old one"
        client.containers.get("other").remove(force=True)


@pytest.mark.provokes("deploy.foreign-container")
def test_somebody_elses_container_is_not_touched(site: Site) -> None:
    site.deploy("mine")
    with site.host.client() as client:
        image = client.containers.get("web").attrs["Image"]
        client.containers.get("web").remove(force=True)
        theirs = client.api.create_container(image, name="web", command=["/bin/sleep", "1"])
        try:
            with pytest.raises(PiimageError, match="piimage did not create"):
                list(site.target(client).deploy(site.workloads()))
            assert client.api.inspect_container("web")["Id"] == theirs["Id"]
        finally:
            client.api.remove_container(theirs, force=True)


@pytest.mark.provokes("deploy.no-previous")
def test_without_an_earlier_version_there_is_no_way_back(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    with site.host.client() as client:
        for container in client.containers.list(all=True):
            container.remove(force=True)
    assert cli.execute(["rollback", *site.words]) == 1
    site.deploy("the first")
    assert cli.execute(["rollback", *site.words]) == 1
    assert "there is no earlier version" in capsys.readouterr().err


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
    with pytest.raises(PiimageError, match="no Docker engine answers at"), bare.client():
        pass
    subprocess.run([*bare.ssh.argv(bare.host, None), "true"], check=True)
