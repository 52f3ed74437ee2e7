"""An emulated Pi that updates itself from a real goosebit."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
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
from tests.unit.signing_keys import pair

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
    tmp_path: Path, piimage_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """First containers alone, then a word of the kernel's command line."""
    with (
        goosebit(tmp_path / "goosebit") as server,
        counting(server.port) as proxy,
        system_site.site(tmp_path / "site", piimage_store, change=calling(proxy.port)) as site,
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
