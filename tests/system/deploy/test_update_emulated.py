"""An emulated Pi that updates itself from a real goosebit."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.deploy import system_site
from tests.system.deploy.calling_site import bundle_of, calling
from tests.system.deploy.counting_proxy import counting
from tests.system.deploy.goosebit import Goosebit, goosebit
from tests.system.deploy.greenhouse import PATIENCE

WORD = "boot: { cmdline: [shed.version=2] }\nversion: 2\n"


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
