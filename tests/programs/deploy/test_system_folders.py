"""Updates of boards whose slots are folders: tool, agent, and stand-ins for the boot loaders."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from piimage.card.fat import FatVolume
from piimage.card.fat_folders import FolderedVolume
from piimage.deploy import system
from piimage.deploy.agent_remote import AgentRemote
from piimage.deploy.link import linked
from piimage.deploy.ssh import Ssh
from piimage.deploy.system import Consent
from piimage.errors import PiimageError
from piimage.firmware import writer
from piimage.run import Runner
from tests.programs.deploy.efi_stand import EfiStand
from tests.programs.deploy.folders_stand import BOARD, PLACE, SIZE, FoldersStand
from tests.programs.deploy.slots_stand import KERNEL, MIB
from tests.programs.deploy.uboot_stand import UBootStand
from tests.unit.deploy.stand_in import AGENT, fake_ssh, target

sys.path.insert(0, str(AGENT))

from piimage_agent import places, slots
from piimage_agent import recipe as agent_recipe
from piimage_agent.choices import BY_KIND
from piimage_agent.folders import Folders
from piimage_agent.refusal import Refused
from piimage_agent.root import Root

SECTOR = 512


every_kind = pytest.mark.parametrize("stand", [FoldersStand, EfiStand, UBootStand], indirect=True)
"""For a Pi, a machine with UEFI, and a board with U-Boot."""


@pytest.fixture
def stand(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> FoldersStand:
    monkeypatch.setattr(system, "_PAUSE_S", 0.2)
    monkeypatch.setattr(system, "_RESTART_S", 10.0)
    monkeypatch.setattr(system, "_MARGIN_S", 10.0)
    kind: type[FoldersStand] = getattr(request, "param", FoldersStand)
    return kind(tmp_path)


@pytest.fixture
def tool(stand: FoldersStand) -> Runner:
    return fake_ssh(stand.folder / "bin", {"pi": stand.command})


def changed(before: bytes, after: bytes) -> Iterator[int]:
    """Yield the offsets of the sectors that differ."""
    for at in range(0, len(before), SECTOR):
        if before[at : at + SECTOR] != after[at : at + SECTOR]:
            yield at


@every_kind
def test_a_version_is_written_to_the_other_folder_tried_and_kept(
    stand: FoldersStand, tool: Runner, tmp_path: Path
) -> None:
    before, wish = stand.slot(1), stand.wish()
    assert stand.choice == ("a/", "b/")
    assert stand.deploy(tool, wish) < 20_000
    assert stand.choice == ("b/", "a/")
    assert stand.state == "kept"
    after = stand.slot(1)
    folders = Folders(str(stand.pi.root / "dev/mmcblk0p1"), BY_KIND[stand.kind])
    room = places.Room("", folders.head("b/"), folders.room("b/"))
    outside = [at for at in changed(before, after) if not room.holds(at, at + SECTOR)]
    assert len(outside) == 2  # what names the folders: config.txt and tryboot.txt on a Pi
    assert wish.system is not None
    volume, fresh = wish.system.slots.volumes["b/"], tmp_path / "fresh"
    fresh.write_bytes(bytes(SIZE))
    for extent in volume.write(Runner(), fresh, 0):
        built = fresh.read_bytes()[extent.start : extent.end]
        assert after[extent.start : extent.end] == built
    assert stand.file("b/kernel.img") == stand.file("a/kernel.img") == KERNEL
    assert stand.file(stand.files[0]) == stand.file("b/select.txt")
    assert stand.file(stand.files[1]) == stand.file("a/try.txt")


@every_kind
@pytest.mark.parametrize(
    ("fate", "cause"),
    [
        ("panic", "did not come as far as mounting /data"),
        ("sick", "these services are not up after 12 s: one"),
        ("unreachable", "no tool reached the new version within 12 s"),
    ],
)
def test_a_version_that_fails_is_undone_and_what_decides_is_what_it_was(
    stand: FoldersStand, tool: Runner, fate: str, cause: str
) -> None:
    stand.pi.write("fate", fate)
    stand.pi.write("proc/uptime", "100.0 1.0\n")
    decides = stand.file(stand.files[0])
    with pytest.raises(PiimageError, match=cause) as caught:
        stand.deploy(tool)
    assert caught.value.code == "deploy.undone"
    assert (stand.file(stand.files[0]), stand.choice) == (decides, ("a/", "b/"))
    assert stand.state == "undone"


@every_kind
def test_a_rollback_selects_the_folder_before(stand: FoldersStand, tool: Runner) -> None:
    stand.deploy(tool)
    ssh, host = Ssh(tool, ask=False), target(tool, stand.store, "pi", stand.wish()).host
    (stand.pi.root / "run/piimage/system/confirmed").unlink()  # /run is new after a restart
    with linked(ssh, host, threading.Event()) as link:
        assert AgentRemote(link, ssh, threading.Event()).roll_back_system() == "a/"
    assert stand.choice == ("a/", "b/")


@pytest.mark.provokes("deploy.boot-firmware")
def test_another_boot_firmware_is_refused_unless_the_card_may_keep_its_own(
    stand: FoldersStand, tool: Runner
) -> None:
    wish = stand.wish()
    assert wish.system is not None
    firmware = {**wish.system.firmware, "start.elf": "0" * 64}
    wish = replace(wish, system=replace(wish.system, firmware=firmware))
    before = stand.pi.everything()
    with pytest.raises(PiimageError, match="both slots of this card share: start") as caught:
        stand.deploy(tool, wish)
    assert caught.value.code == "deploy.boot-firmware"
    assert stand.pi.everything() == before
    stand.deploy(tool, replace(wish, consent=Consent(other_firmware=True)))
    assert stand.choice == ("b/", "a/")
    assert stand.file("start.elf") == b"\x7fELF"


@pytest.mark.provokes("deploy.needs-flash")
def test_a_card_that_was_not_made_for_two_folders_is_refused(
    stand: FoldersStand, tool: Runner
) -> None:
    device = stand.pi.root / "dev/mmcblk0p1"
    device.write_bytes(bytes(SIZE))
    FatVolume("old", "PIIMAGE", 7, SIZE, FoldersStand.card({}).files).write(Runner(), device, 0)
    before = device.read_bytes()
    with pytest.raises(PiimageError, match="no second slot to try it in"):
        stand.deploy(tool)
    assert device.read_bytes() == before


def test_a_recipe_that_leaves_the_other_folder_is_refused(stand: FoldersStand) -> None:
    wish = stand.wish()
    assert wish.system is not None
    root = Root(str(stand.pi.root))
    room = places.room(root, places.other(root))
    fitting, running = (agent_recipe.parse(wish.system.recipe(name).data) for name in ("b/", "a/"))
    slots.require_room(room, fitting)
    before = stand.slot(1)
    with pytest.raises(Refused, match="outside of the other slot"):
        slots.write(room, running, {}, lambda done: None)
    assert stand.slot(1) == before
    outside = agent_recipe.Recipe(
        fitting.size, fitting.head, [*fitting.parts, agent_recipe.Literal(0, b"x" * SECTOR)]
    )
    with pytest.raises(Refused, match="outside of the other slot"):
        slots.require_room(room, outside)


def selected(tmp_path: Path, files: dict[str, Path | bytes], **changes: int) -> Folders:
    device = tmp_path / "device"
    device.write_bytes(bytes(SIZE))
    volume = FolderedVolume("the card", "PIIMAGE", 7, SIZE, 16 * MIB, files)
    replace(volume, **changes).write(Runner(), device, 0)  # type: ignore[arg-type]
    return Folders(str(device))


def root_files() -> dict[str, Path | bytes]:
    texts = writer.root_files(BOARD, writer.Boot())
    return {name: text.encode() for name, text in texts.items()}


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "does not say how it is selected|has no select.txt"),
        ({"b/try.txt": b"[all]\n".ljust(512, b"\n")}, "the version in the folder b/ does not say"),
        ({"b/try.txt": b"[all]\nos_prefix=b/\n"}, "the version in the folder b/ does not say"),
        ({"config.txt": b"os_prefix=a/\n"}, "not one sector long"),
    ],
)
def test_what_cannot_be_selected_is_refused_before_anything_is_written(
    tmp_path: Path, files: dict[str, Path | bytes], reason: str
) -> None:
    own: dict[str, Path | bytes] = {
        f"{prefix}{name}": text.encode()
        for prefix in ("a/", "b/")
        for name, text in writer.folder_files(BOARD, writer.Boot(), 7, prefix).items()
        if files
    }
    folders = selected(tmp_path, {**root_files(), **own, **files})
    before = (tmp_path / "device").read_bytes()
    with pytest.raises(Refused, match=reason):
        folders.set("a/", "b/")
    assert (tmp_path / "device").read_bytes() == before


@pytest.mark.parametrize(
    ("volume", "reason"),
    [
        (None, "no FAT file system"),
        (FatVolume("small", "S", 1, 8 * MIB, {}, 16), "not a FAT32"),
        (FatVolume("plain", "S", 1, SIZE, {"a/x": b"", "config.txt": b""}), "it has no b"),
        (FatVolume("plain", "S", 1, SIZE, {"a/x": b"", "b/x": b""}), "share sectors"),
    ],
)
def test_a_partition_without_two_folders_of_their_own_is_refused(
    tmp_path: Path, volume: FatVolume | None, reason: str
) -> None:
    device = tmp_path / "device"
    device.write_bytes(bytes(PLACE.size))
    if volume is not None:
        volume.write(Runner(), device, 0)
    with pytest.raises(Refused, match=reason):
        Folders(str(device))
