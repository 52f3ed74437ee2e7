"""A whole system updated over SSH on an emulated Pi: written, tried, kept, undone, rolled back."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from piimage.deploy import system
from piimage.deploy.link import linked
from piimage.errors import PiimageError
from tests.system.deploy import system_fleet, system_site
from tests.system.deploy.greenhouse import PATIENCE
from tests.system.deploy.system_site import Site

KEPT = (
    "boot: { cmdline: [shed.version=2], config: { dtparam: audio=on } }\n"
    "files: [ { path: etc/of-the-base, contents: new }, { path: usr/share/five, source: five } ]\n"
)
LAYER = 5_000_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, piimage_store: Path) -> Iterator[Site]:
    with system_site.site(tmp_path_factory.mktemp("update"), piimage_store) as found:
        (found.greenhouse.folder / "five").write_bytes(random.Random(5).randbytes(LAYER))
        yield found


def test_a_system_that_differs_is_updated_as_a_whole_and_kept(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    wish = site.wish(KEPT, "a system of its own")
    outcome = site.deploy(wish)
    with capsys.disabled():
        sys.stdout.write(f"\nupdate: {outcome.sent} bytes sent, {outcome.seconds:.1f} s\n")
    assert LAYER < outcome.sent < 1.02 * LAYER + 100_000
    state = site.state()
    assert (state.booted, state.kept, state.update) == ("3", "3", "kept")
    assert "shed.version=2" in site.pi.sh("cat /proc/cmdline")
    assert site.pi.sh("cat /etc/of-the-base") == "new"
    site.pi.session.wait_for("a system of its own", PATIENCE)
    assert site.compare(wish, 3) > 40 << 20


@pytest.mark.parametrize(
    ("line", "cause"), [("exit 7", "these services are not up after .*: hello_world")]
)
def test_a_version_whose_service_does_not_stay_up_is_undone(
    site: Site, line: str, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "_RESTART_S", 100.0)
    script = site.greenhouse.folder / "services/hello_world/hello.sh"
    text = script.read_text()
    first, _, rest = text.partition("\n")
    script.write_text(f"{first}\n{line}\n{rest}")
    wish = site.wish("boot: { cmdline: [shed.version=3] }\n", "never seen")
    script.write_text(text)
    with pytest.raises(PiimageError, match=cause) as caught:
        site.deploy(replace(wish, wait=1))
    assert caught.value.code == "deploy.undone"
    state = site.state()
    assert (state.booted, state.kept, state.update) == ("3", "3", "undone")
    assert "shed.version=2" in site.pi.sh("cat /proc/cmdline")


def test_a_kernel_that_panics_is_undone(site: Site) -> None:
    wish = site.wish("boot: { cmdline: [rdinit=/nothing, init=/nothing] }\n", "never seen")
    with pytest.raises(PiimageError, match="did not come as far as mounting /data") as caught:
        site.deploy(wish)
    assert caught.value.code == "deploy.undone"
    assert site.state().booted == "3"


def test_an_initramfs_without_its_layer_is_undone_on_the_canary_and_reaches_no_other(
    site: Site, tmp_path: Path
) -> None:
    with system_site.others(site, tmp_path, 2) as spared:
        layer, results = system_fleet.failing_on_the_canary(site, spared)
        assert [result.skipped for result in results] == [False, True, True]
        assert [(pi.state().update, pi.pi.session.restarts) for pi in spared] == [("", ())] * 2
    error = results[0].error
    assert error is not None
    assert error.code == "deploy.undone"
    assert f"could not start: system layer {layer} is missing or broken" in str(error)
    assert site.state().booted == "3"


HANGS = """
files:
  - { path: usr/sbin/finit, contents: "#!/bin/sh\\nwhile :; do sleep 1000; done\\n", mode: "0755" }
"""


def test_a_process_1_that_hangs_is_ended_by_the_watchdog_and_undone(site: Site) -> None:
    before = site.state().booted
    wish = site.wish(HANGS, "never seen")
    with pytest.raises(PiimageError, match="before process 1 had started") as caught:
        site.deploy(wish)
    assert caught.value.code == "deploy.undone"
    assert site.pi.session.restarts[-1].cause == "watchdog"
    assert site.state().booted == before


def test_one_word_of_the_command_line_costs_little(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = site.deploy(site.wish(KEPT.replace("version=2", "version=4"), "a system of its own"))
    with capsys.disabled():
        sys.stdout.write(f"\none word: {outcome.sent} bytes sent, {outcome.seconds:.1f} s\n")
    assert outcome.sent < 30_000
    assert site.state().booted == "2"


def test_a_rollback_leads_to_the_other_slot(site: Site) -> None:
    with linked(site.pi.ssh, site.pi.host, threading.Event()) as link:
        assert system.roll_back(link, site.pi.ssh, threading.Event(), 60) == "3"
    assert site.state().update == "kept"
    assert "shed.version=2" in site.pi.sh("cat /proc/cmdline")
