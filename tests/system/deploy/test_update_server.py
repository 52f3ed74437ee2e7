"""Pis that call a real goosebit: stand-ins with the poller's own code, and an emulated one."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from piimage.build import plan
from piimage.deploy.bundle import make_bundle, source_of
from piimage.locking.fetching import make
from piimage.plan.slot import signer_of
from tests.system.deploy import system_site
from tests.system.deploy.counting_proxy import counting
from tests.system.deploy.goosebit import Goosebit, goosebit
from tests.system.deploy.greenhouse import PATIENCE
from tests.system.deploy.system_site import Site
from tests.unit.deploy.calling_pi import CallingPi, release
from tests.unit.deploy.slots_stand import SlotsStand
from tests.unit.signing_keys import Pair, pair


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Goosebit]:
    with goosebit(tmp_path_factory.mktemp("goosebit")) as found:
        yield found


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return pair(tmp_path_factory.mktemp("keys"), "ours")


def stand(folder: Path, keys: Pair, server: Goosebit, name: str) -> CallingPi:
    """A stand-in that the server has registered under `name`."""
    pi = CallingPi(SlotsStand(folder), keys)
    pi.set_up(server.url, "DEFAULT", name)
    pi.call()
    assert server.device(name)["sw_version"]
    return pi


def offered(server: Goosebit, name: str, bundle: Path) -> None:
    server.assign(name, server.upload(bundle))


def test_goosebit_knows_what_a_pi_is(server: Goosebit, keys: Pair, tmp_path: Path) -> None:
    pi = stand(tmp_path, keys, server, "shed")
    found = server.device("shed")
    assert found["hardware"]["model"] == "qemu-virt"
    assert found["hardware"]["revision"] == "greenhouse"
    assert found["sw_version"].startswith("1.1764374400.0+")
    assert pi.call().sleep == 5


def test_containers_come_from_goosebit_and_it_learns_the_version(
    server: Goosebit, keys: Pair, tmp_path: Path
) -> None:
    pi = stand(tmp_path, keys, server, "roof")
    made = pi.containers_bundle(tmp_path / "roof.swu", release(pi, one="2", two="1"))
    offered(server, "roof", made)
    pi.call_until(lambda: server.device("roof")["last_state"] == "Finished")
    version = pi.action()["version"]
    assert server.device("roof")["sw_version"] == version
    number = pi.stand.pi.text("switched")
    pi.call()
    assert pi.stand.pi.text("switched") == number  # it is not offered again


def test_a_version_is_reported_as_it_ends_though_the_server_restarts_meanwhile(
    server: Goosebit, keys: Pair, tmp_path: Path
) -> None:
    pi = stand(tmp_path, keys, server, "barn")
    made = pi.system_bundle(tmp_path / "barn.swu")
    offered(server, "barn", made)
    pi.call_until(lambda: pi.action().get("state") == "trying")
    assert server.device("barn")["last_state"] == "Running"
    server.stop()
    assert pi.call().sleep <= 10
    server.start()
    pi.call_until(lambda: server.device("barn")["last_state"] == "Finished")
    assert pi.stand.autoboot.startswith("[all]\ntryboot_a_b=1\nboot_partition=3")


def test_a_version_that_is_undone_is_an_error_with_its_cause_and_not_offered_again(
    server: Goosebit, keys: Pair, tmp_path: Path
) -> None:
    pi = stand(tmp_path, keys, server, "yard")
    pi.stand.pi.write("fate", "panic")
    offered(server, "yard", pi.system_bundle(tmp_path / "yard.swu", order=(2, 1764374401)))
    pi.call_until(lambda: server.device("yard")["last_state"] == "Error")
    assert "did not come as far as mounting /data" in server.log_of("yard")
    before = pi.stand.slot(3)
    pi.call()
    assert pi.stand.slot(3) == before
    assert pi.action()["state"] == "failure"


# --- an emulated Pi

HOST = "10.0.2.2"
"""The computer that emulates, as the machine sees it (QEMU's user network)."""
WORD = "boot: { cmdline: [shed.version=2] }\nversion: 2\n"


def calling(port: int) -> Callable[[str, Path], str]:
    """Return what makes the greenhouse's file one that calls a server on this computer."""

    def change(text: str, folder: Path) -> str:
        pair(folder, "ours")
        return (
            f"{text}signing: {{ key: ours.key, certificates: [ours.pem] }}\n"
            f"updates: {{ server: 'http://{HOST}:{port}', controller: greenhouse }}\n"
        )

    return change


def bundle_of(site: Site, extra: str, line: str) -> Path:
    """Write the bundle of the greenhouse with `extra` in its file and another line of hello."""
    site.wish(extra, line)
    project, inputs = site.greenhouse.project(), site.greenhouse.sources
    version = plan(project, inputs)
    job = make(version.steps(), project.lock, inputs)
    signer = signer_of(project.appliance)
    assert signer is not None
    target = site.greenhouse.folder / f"{line}.swu"
    make_bundle(source_of(version, job, signer, inputs), inputs.runner).write(target, 0o644)
    return target


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(1)


def updated(server: Goosebit, bundle: Path) -> None:
    """Have the Pi take a bundle, and wait until it has reported the end."""
    number = server.upload(bundle)
    before = server.device("greenhouse")["sw_version"]
    server.assign("greenhouse", number)
    until(lambda: server.device("greenhouse")["sw_version"] != before)
    assert server.device("greenhouse")["last_state"] == "Finished"


def test_an_emulated_pi_updates_itself_from_goosebit(
    server: Goosebit, tmp_path: Path, piimage_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """First containers alone, then a word of the kernel's command line."""
    with (
        counting(server.port) as proxy,
        system_site.site(tmp_path, piimage_store, change=calling(proxy.port)) as site,
    ):
        until(lambda: "greenhouse" in server.names())
        until(lambda: bool(server.device("greenhouse")["sw_version"]))
        updated(server, bundle_of(site, "", "containers-alone"))
        site.pi.session.wait_for("containers-alone", PATIENCE)
        assert (site.state().booted, site.state().update) == ("2", "")
        made = bundle_of(site, WORD, "containers-alone")
        before = proxy.received
        updated(server, made)
        received = proxy.received - before
        state = site.state()
        assert (state.booted, state.kept, state.update) == ("3", "3", "kept")
        assert "shed.version=2" in site.pi.sh("cat /proc/cmdline")
    with capsys.disabled():
        size = made.stat().st_size
        sys.stdout.write(f"\nbundle: {size} bytes, received: {received}\n")
    assert received < 20_000 + 10_000  # and what the calls during the try cost
