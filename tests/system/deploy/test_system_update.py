"""A whole system updated over SSH on an emulated Pi: written, tried, kept, undone, rolled back."""

from __future__ import annotations

import json
import random
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from piimage.card.partitions import SECTOR
from piimage.deploy import system
from piimage.deploy.link import linked
from piimage.errors import PiimageError
from piimage.run import Runner
from piimage.signing import Signer
from tests.system.deploy import system_fleet, system_site
from tests.system.deploy.greenhouse import PATIENCE
from tests.system.deploy.system_faults import NO_DATA, SICK, Fault, undone
from tests.system.deploy.system_site import Site
from tests.unit.signing_keys import pair

KEPT = (
    "boot: { cmdline: [shed.version=2], config: { dtparam: audio=on } }\n"
    "files: [ { path: etc/of-the-base, contents: new }, { path: usr/share/five, source: five } ]\n"
)
LAYER = 5_000_000
SIGNED = (
    "slots: { updates: true, verify: boot }\nsigning: { key: ours.key, certificates: [ours.pem] }\n"
)
# A hook that refuses unless the host name is the file's own.
HOOK = """
    before_update:
      command:
        - /usr/bin/sh
        - -c
        - 'read -r N </proc/sys/kernel/hostname; echo "busy on $N"; [ "$N" = greenhouse ]'
"""


def signed(text: str, folder: Path) -> str:
    """The file with signatures, checked layers, and a hook of hello_world."""
    pair(folder, "ours")
    text = text.replace(
        "  - { name: hello_world, build: services/hello_world }\n",
        f"  - name: hello_world\n    build: services/hello_world{HOOK}",
    )
    assert HOOK in text and system_site.UPDATES in text
    return text.replace(system_site.UPDATES, SIGNED)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, piimage_store: Path) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("update")
    with system_site.site(folder, piimage_store, change=signed) as found:
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
    assert site.compare(wish, "3") > 40 << 20


@pytest.mark.parametrize("fault", [SICK, NO_DATA], ids=lambda fault: fault.name)
def test_a_version_that_fails_is_undone_and_the_cause_is_told(site: Site, fault: Fault) -> None:
    undone(site, fault)
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
    with system_site.others(site, tmp_path, 1) as spared:
        layer, results = system_fleet.failing_on_the_canary(site, spared)
        assert [result.skipped for result in results] == [False, True]
        assert [(pi.state().update, pi.pi.session.restarts) for pi in spared] == [("", ())]
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


@dataclass(frozen=True)
class Stolen(Signer):
    """Shows the certificate that every card has, and signs with another key."""

    other: Signer

    def sign(self, data: bytes, runner: Runner) -> bytes:
        return self.other.sign(data, runner)


def test_what_is_not_signed_older_or_refused_by_a_service_is_not_tried(
    site: Site, tmp_path: Path
) -> None:
    wish = site.wish(KEPT.replace("version=2", "version=5"), "a system of its own")
    ours = wish.system
    assert ours is not None
    other = pair(tmp_path, "other").signer
    assert ours.signer is not None
    stolen = Stolen(other.key, ours.signer.certificate, other)
    older = replace(ours, order=(0, ours.order[1] - 1))
    refusals = {
        "the file has no signing": replace(ours, signer=None),
        "it does not trust": replace(ours, signer=other),
        "the key is not trusted": replace(ours, signer=stolen),
        "is older than one that the Pi has kept": older,
    }
    for message, version in refusals.items():
        with pytest.raises(PiimageError, match=message):
            site.deploy(replace(wish, system=version))
    before = site.state()
    assert (before.booted, before.update) == ("3", "kept")
    assert before.hooks == ("hello_world",)
    site.pi.sh("hostname harvest")
    with pytest.raises(PiimageError, match="hello_world refuses the update: busy on harvest"):
        site.deploy(wish)
    site.pi.sh("hostname greenhouse")
    assert (site.state().booted, site.state().update) == ("3", "written")


def test_a_slot_that_rots_is_named_and_left_for_the_other_one(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """The version that the test before has written is in the other slot."""
    session = site.pi.session
    with capsys.disabled():
        whole = [line.text for line in session.lines() if "are whole" in line.text]
        sys.stdout.write("\n".join(["", *whole, ""]))
    digest = site.pi.sh("head -n 1 /containers/services/hello_world/layers").strip()
    _damage(site, digest)
    number = len(session.restarts)
    with suppress(PiimageError):  # the connection may end before the answer
        site.pi.sh("initctl reboot || :")
    while len(session.restarts) < number + 2:
        session.wait_restart(PATIENCE)
    site.pi.shell.wait(PATIENCE)
    path = f"/run/piimage/slot/layers/{digest}.squashfs"
    named = [line.text for line in session.lines() if "DAMAGED" in line.text]
    assert named == [f"piimage: DAMAGED: {path} has not the digest in its name"]
    state = site.state()
    assert (state.booted, state.kept, state.tried) == ("2", "3", True)
    assert "shed.version=5" in site.pi.sh("cat /proc/cmdline")


def _damage(site: Site, digest: str) -> None:
    """Change a sector of a layer in slot B on the card, where the recipe says that it is."""
    kept = site.wish(KEPT, "a system of its own").system
    assert kept is not None
    line, _, _ = kept.recipe("3").data.partition(b"\n")
    ((at, size),) = [(at, size) for at, size, of, _ in json.loads(line)["files"] if of == digest]
    sector = (at + size // 2) // SECTOR
    disk = f"dd if=/dev/urandom of=/dev/vda3 bs={SECTOR} seek={sector} count=1 conv=notrunc; sync"
    site.pi.sh(disk)
