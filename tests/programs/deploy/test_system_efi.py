"""Updates of machines with UEFI and U-Boot: tool, agent, and stand-ins for the boot loaders."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from piimage.deploy import system
from piimage.deploy.agent_remote import AgentRemote
from piimage.deploy.link import linked
from piimage.deploy.ssh import Ssh
from piimage.errors import PiimageError
from piimage.run import Runner
from tests.programs.deploy.efi_stand import EfiStand
from tests.programs.deploy.slots_stand import KERNEL
from tests.programs.deploy.uboot_stand import UBootStand
from tests.unit.deploy.stand_in import AGENT, fake_ssh, target

sys.path.insert(0, str(AGENT))

from piimage_agent import places
from piimage_agent.choices import BY_KIND
from piimage_agent.folders import Folders

SECTOR = 512


@pytest.fixture(params=[EfiStand, UBootStand])
def stand(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> EfiStand:
    monkeypatch.setattr(system, "_PAUSE_S", 0.2)
    monkeypatch.setattr(system, "_RESTART_S", 10.0)
    monkeypatch.setattr(system, "_MARGIN_S", 10.0)
    found: EfiStand = request.param(tmp_path)
    return found


@pytest.fixture
def tool(stand: EfiStand) -> Runner:
    return fake_ssh(stand.folder / "bin", {"pi": stand.command})


def deploy(stand: EfiStand, tool: Runner) -> int:
    return target(tool, stand.store, "pi", stand.wish()).deploy(lambda line: None).sent


def state(stand: EfiStand) -> str:
    return stand.pi.text("data/piimage/system/state").partition("'")[2].partition("'")[0]


def test_a_version_is_written_to_the_other_folder_tried_and_kept_by_the_entries(
    stand: EfiStand, tool: Runner
) -> None:
    before = stand.slot(1)
    assert stand.choice == ("a/", "b/")
    deploy(stand, tool)
    assert (stand.choice, state(stand)) == (("b/", "a/"), "kept")
    after = stand.slot(1)
    folders = Folders(str(stand.pi.root / "dev/mmcblk0p1"), BY_KIND[stand.kind])
    room = places.Room("", folders.head("b/"), folders.room("b/"))
    starts = range(0, len(before), SECTOR)
    outside = [
        at for at in starts
        if before[at : at + SECTOR] != after[at : at + SECTOR] and not room.holds(at, at + SECTOR)
    ]  # fmt: skip
    assert len(outside) == 2  # what names the folders
    assert stand.file("b/kernel.img") == stand.file("a/kernel.img") == KERNEL
    assert stand.file(stand.files[0]) == stand.file("b/select.txt")
    assert stand.file(stand.files[1]) == stand.file("a/try.txt")
    # Whoever asks what runs does not wear the firmware's flash.
    assert stand.requests.count("probe") == 1
    assert stand.requests[0] == "check"


@pytest.mark.parametrize(
    ("fate", "cause"),
    [
        ("panic", "did not come as far as mounting /data"),
        ("sick", "these services are not up after 12 s: one"),
    ],
)
def test_a_version_that_fails_is_undone_and_the_entry_is_what_it_was(
    stand: EfiStand, tool: Runner, fate: str, cause: str
) -> None:
    stand.pi.write("fate", fate)
    stand.pi.write("proc/uptime", "100.0 1.0\n")
    entry = stand.file(stand.files[0])
    with pytest.raises(PiimageError, match=cause) as caught:
        deploy(stand, tool)
    assert caught.value.code == "deploy.undone"
    assert (stand.file(stand.files[0]), stand.choice) == (entry, ("a/", "b/"))
    assert state(stand) == "undone"


def test_a_rollback_selects_the_folder_before(stand: EfiStand, tool: Runner) -> None:
    deploy(stand, tool)
    ssh, host = Ssh(tool, ask=False), target(tool, stand.store, "pi", stand.wish()).host
    (stand.pi.root / "run/piimage/system/confirmed").unlink()  # /run is new after a restart
    with linked(ssh, host, threading.Event()) as link:
        remote = AgentRemote(link, ssh, threading.Event())
        assert remote.roll_back_system() == "a/"
    assert stand.choice == ("a/", "b/")


@pytest.mark.provokes("deploy.needs-flash")
def test_a_machine_without_variables_is_refused_before_anything_is_sent(
    stand: EfiStand, tool: Runner
) -> None:
    stand.pi.write("refuses-check", "this machine's firmware has no variables\n")
    before = stand.slot(1)
    with pytest.raises(
        PiimageError, match="cannot try another: this machine's firmware has no"
    ) as (caught):
        deploy(stand, tool)
    assert caught.value.code == "deploy.needs-flash"
    assert "what a machine with UEFI or U-Boot needs" in str(caught.value.hint)
    assert stand.slot(1) == before
    assert "probe" not in stand.requests


def test_a_firmware_that_does_not_keep_a_variable_is_refused_before_anything_is_written(
    stand: EfiStand, tool: Runner
) -> None:
    stand.pi.write("refuses-probe", "this machine's firmware does not keep a variable\n")
    before = stand.slot(1)
    reason = "cannot be told to try another version: this machine's"
    with pytest.raises(PiimageError, match=reason) as caught:
        deploy(stand, tool)
    assert caught.value.code == "deploy.refused"
    assert stand.slot(1) == before


@pytest.mark.provokes("deploy.boot-firmware")
@pytest.mark.parametrize("stand", [EfiStand], indirect=True)
def test_another_systemd_boot_is_refused(stand: EfiStand, tool: Runner) -> None:
    loader = stand.pi.root / "EFI/BOOT/BOOTAA64.EFI"
    loader.write_bytes(b"MZ an older one")
    before = stand.slot(1)
    with pytest.raises(PiimageError, match="both slots of this card share: BOOTAA64") as caught:
        deploy(stand, tool)
    assert caught.value.code == "deploy.boot-firmware"
    assert stand.slot(1) == before
