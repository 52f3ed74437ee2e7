from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from piimage import events
from piimage.board import PrefixLayout
from piimage.boards import load_board
from piimage.card.ext4 import Ext4Volume
from piimage.card.fat_folders import FolderedVolume
from piimage.card.fat_layout import sectors_per_cluster
from piimage.compose.layers import ModulesLayer
from piimage.config.models import Appliance
from piimage.errors import InputError
from piimage.lock.model import Lock, LockedSuite
from piimage.plan.containers import plan_containers
from piimage.plan.slot import (
    Version,
    boot_of,
    card_plan,
    order_of,
    published_identity,
    slot_files,
    slots,
    withheld,
)
from piimage.plan.system import plan_system
from piimage.run import Runner
from piimage.steps import Job, Step
from piimage.store import Blob, Store
from tests.unit.signing_keys import checks, pair

from .locks import lock_of

BOARDS = ("pi3", "pi4", "pi5", "qemu-virt", "zero2w")
SERVICES = {"services": [{"name": "hello", "use": "hello_world"}]}


def planned(board_name: str, **sections: object) -> Version:
    appliance = Appliance.model_validate(SERVICES | sections)
    board = load_board(board_name)
    lock = lock_of(appliance, board)
    system = plan_system(appliance, board, lock, {})
    return Version("pi4", appliance, board, system, plan_containers(appliance, lock, {}))


def made(version: Version, store: Store) -> Job:
    """A job in which each step has made a blob for each output that the slot needs."""
    outputs: dict[str, dict[str, Blob]] = {}
    for step in version.steps():
        names = {"squashfs": "", "initramfs": "", "image": "", "release": ""}
        if step is version.system.kernel:
            names |= dict.fromkeys(version.board.trees, "")
        if step is version.system.overlays:
            names = {"i2c1": ""}
        if step is version.system.firmware:
            names = {f"usr/lib/raspi-firmware/{n}": "" for n in version.board.firmware.files}
        outputs[step.key] = {name: _blob(store, step, name) for name in names}
    return Job(store, Runner(), events.ignore, outputs)


FILE = {"path": "etc/mqtt/password"}


@pytest.mark.parametrize(
    ("fields", "private"),
    [({}, True), ({"mode": "0400"}, True), ({"mode": "0640"}, False), ({"mode": "0604"}, False)],
)
def test_published_digests_do_not_depend_on_a_file_that_only_its_owner_may_read(
    store: Store, fields: dict[str, str], private: bool
) -> None:
    """Else an attacker who knows everything else could try passwords without the card."""
    versions = [
        planned("pi4", files=[{**FILE, **fields, "contents": text}]) for text in ("one", "two")
    ]
    identities = {published_identity(version, made(version, store)) for version in versions}
    assert len(identities) == (1 if private else 2)
    assert {version.file_mode for version in versions} == {0o600 if private else 0o644}


def test_the_parent_folders_of_a_private_file_are_the_same_in_both_layers(store: Store) -> None:
    """The uppermost layer that has a folder determines its owner and mode."""
    files = [
        {"path": "root/a", "contents": "x"},
        {"path": "etc/own", "directory": True, "mode": "0711", "uid": 7},
        {"path": "etc/own/b", "contents": "x"},
        {"path": "srv/made/c", "contents": "x", "uid": 8},
    ]
    *_, public, private = planned("pi4", files=files).system.layers
    trees = [
        {e.path: (e.mode, e.uid) for e in layer.tree(made_nothing(store)) if not e.size}
        for layer in (public, private)
    ]
    assert trees[1].items() <= trees[0].items()
    assert trees[1] == {
        "etc": (0o755, 0), "etc/own": (0o711, 7), "root": (0o700, 0), "srv": (0o755, 0),
        "srv/made": (0o700, 8),
    }  # fmt: skip


def made_nothing(store: Store) -> Job:
    return Job(store, Runner(), events.ignore, {})


def _blob(store: Store, step: Step, name: str) -> Blob:
    return store.add_bytes(f"{step.key} {name}".encode())


def network(passphrase: str, ssid: str = "garden") -> dict[str, object]:
    return {"country": "AT", "wifi": {"ssid": ssid, "psk": passphrase}}


@pytest.mark.slow
@pytest.mark.parametrize("board", ["pi4", "pi3", "pi5", "zero2w"])
def test_published_digests_are_the_same_for_every_passphrase(board: str, store: Store) -> None:
    """Else an attacker who knows everything else could try passphrases without the card."""
    first, second = (planned(board, network=network(text)) for text in ("password1", "password2"))
    jobs = [made(version, store) for version in (first, second)]
    assert card_plan(first, jobs[0]).identity != card_plan(second, jobs[1]).identity
    assert published_identity(first, jobs[0]) == published_identity(second, jobs[1])
    files = [slot_files(v, job) for v, job in zip((first, second), jobs, strict=True)]
    hidden = [withheld(v, job) for v, job in zip((first, second), jobs, strict=True)]
    published = [
        {n: c for n, c in f.items() if n not in h} for f, h in zip(files, hidden, strict=True)
    ]
    assert published[0] == published[1]
    assert files[0].keys() - published[0].keys() == hidden[0]
    assert len(hidden[0]) == 3  # the layer, and the two files that name it


@pytest.mark.slow
def test_appliance_json_is_signed_and_the_same_key_gives_the_same_card(
    tmp_path: Path, store: Store
) -> None:
    ours = pair(tmp_path, "ours")
    signing = {"key": str(ours.key), "certificates": [str(ours.certificate)]}
    version = planned("pi4", signing=signing, version=7)
    job = made(version, store)
    files = slot_files(version, job)
    manifest, signature = files["appliance.json"], files["appliance.json.cms"]
    assert isinstance(manifest, bytes)
    assert isinstance(signature, bytes)
    assert checks(manifest, signature, ours.certificate.read_bytes(), tmp_path)
    assert "appliance.json.cms" not in json.loads(manifest)["files"]
    again = planned("pi4", signing=signing, version=7)
    assert card_plan(again, job).identity == card_plan(version, job).identity


def test_a_signature_is_withheld_with_the_secrets_that_it_covers(
    tmp_path: Path, store: Store
) -> None:
    """Whoever knows the public key can tell from it whether a guessed text was signed."""
    ours = pair(tmp_path, "ours")
    signing = {"key": str(ours.key), "certificates": [str(ours.certificate)]}
    versions = [
        planned("pi4", signing=signing, network=network(text))
        for text in ("password1", "password2")
    ]
    identities = {published_identity(version, made(version, store)) for version in versions}
    assert len(identities) == 1


def test_the_place_of_a_version_is_its_number_and_then_its_newest_index() -> None:
    days = [datetime(2026, 1, day, tzinfo=UTC) for day in (3, 9, 5)]
    lock = Lock(tuple(LockedSuite(str(day), (), day, "") for day in days))
    orders = [order_of(Appliance(version=number), lock) for number in (0, 2)]
    assert orders == [(0, 1_767_916_800), (2, 1_767_916_800)]  # date -d 2026-01-09Z +%s
    assert order_of(Appliance(), Lock()) == (0, 0)
    version = planned("pi4")
    assert version.order == (0, 0)


def test_the_published_identity_depends_on_everything_but_secrets(store: Store) -> None:
    """The identity of a card without secrets is the one that its plan has."""
    versions = [
        planned("pi4"), planned("pi4", kernel={"cmdline": "quiet"}),
        planned("pi4", network=network("password1")),
        planned("pi4", network=network("password1"), kernel={"cmdline": "quiet"}),
    ]  # fmt: skip
    published = [published_identity(v, made(v, store)) for v in versions]
    assert len(set(published)) == 4
    assert published[:2] == [card_plan(v, made(v, store)).identity for v in versions[:2]]


def test_the_files_of_a_version_with_secrets_are_for_the_owner_only(tmp_path: Path) -> None:
    assert planned("pi4").file_mode == 0o644
    assert planned("pi4", network=network("password1")).file_mode == 0o600
    assert planned("pi4", ssh={"host_key": str(tmp_path / "key")}).file_mode == 0o600


def settings(version: Version) -> dict[str, str]:
    lines = version.system.initramfs_base.board.decode().splitlines()
    return {key: value.strip("'") for key, _, value in (line.partition("=") for line in lines)}


def test_the_initramfs_knows_that_the_boards_loader_selects_the_slot() -> None:
    assert settings(planned("pi4")) == {
        "BOARD": "pi4", "SELECTOR": "1", "BOOT": "2", "DATA": "4", "GROW": "1",
        "WATCHDOG": "watchdog0", "TRY": "tryboot",
    }  # fmt: skip


def test_the_initramfs_knows_that_the_boards_slots_are_folders() -> None:
    assert settings(planned("pi3")) == {
        "BOARD": "pi3", "SELECTOR": "0", "BOOT": "1", "DATA": "2", "GROW": "1",
        "WATCHDOG": "watchdog0", "TRY": "tryboot",
    }  # fmt: skip


def test_all_versions_of_a_card_have_the_same_disk_id(store: Store) -> None:
    first, second = planned("pi4"), planned("pi4", hostname="other")
    plan = card_plan(first, made(first, store))
    assert plan.disk_id == card_plan(second, made(second, store)).disk_id
    line = slot_files(first, made(first, store))["cmdline.txt"]
    assert isinstance(line, bytes)
    assert f"piimage.disk-id={plan.disk_id:08x}".encode() in line.split()
    assert plan.disk_id != replace(first, name="greenhouse").disk_id
    assert plan.disk_id != planned("pi5").disk_id


def test_a_data_partition_with_a_fixed_size_is_not_grown() -> None:
    version = planned("pi4", data={"size": "32M"})
    assert settings(version)["GROW"] == "0"


def test_a_data_partition_that_grows_has_the_boards_initial_size(store: Store) -> None:
    version = planned("pi4")
    layout = version.board.layout.model_copy(update={"data_mib": 96})
    larger = replace(version, board=version.board.model_copy(update={"layout": layout}))
    sizes = [card_plan(v, made(v, store)).volumes[-1].size for v in (version, larger)]
    assert sizes == [64 << 20, 96 << 20]


def test_the_initramfs_knows_that_the_board_has_no_watchdog() -> None:
    version = planned("pi4")
    board = version.board.model_copy(update={"watchdog": None})
    system = plan_system(version.appliance, board, lock_of(version.appliance, board), {})
    assert settings(replace(version, system=system))["WATCHDOG"] == ""


@pytest.mark.parametrize(("console", "shown"), [("hdmi", True), (True, False), (False, False)])
def test_a_screen_is_told_about_the_pi_if_the_file_says_hdmi(console: object, shown: bool) -> None:
    system = planned("pi4", console=console).system
    rules = [layer.rules for layer in system.layers if not isinstance(layer, ModulesLayer)]
    files = {file.path for rule in rules for file in rule.files}
    assert ("etc/finit.d/screen.conf" in files) == shown
    version = planned("pi4", console=console)
    assert boot_of(version.appliance, version.board).screen == shown


def test_a_file_without_a_console_names_neither_port_nor_screen(store: Store) -> None:
    version = planned("pi4", console=False)
    line = slot_files(version, made(version, store))["cmdline.txt"]
    assert isinstance(line, bytes)
    words = line.decode().split()
    assert [word for word in words if word.startswith(("console=", "loglevel="))] == [
        "console=tty62", "loglevel=0",
    ]  # fmt: skip
    assert "panic=10" in words


@pytest.mark.parametrize("board", BOARDS)
def test_a_slot_has_the_files_that_the_firmware_and_the_initramfs_need(
    board: str, store: Store
) -> None:
    version = planned(board)
    files = slot_files(version, made(version, store))
    trees = set(version.board.trees)
    fixed = {
        "kernel.img", "initramfs.img", "config.txt", "cmdline.txt", "appliance.json",
        "overlays/README", "overlays/i2c1.dtbo",
    }  # fmt: skip
    layers = set(files) - fixed - trees
    assert fixed | trees <= set(files)
    assert len(layers) == len(version.layers)
    assert all(name.startswith("layers/") and name.endswith(".squashfs") for name in layers)


def test_the_manifest_names_every_file_by_its_digest(store: Store) -> None:
    version = planned("pi4")
    files = slot_files(version, made(version, store))
    manifest = files.pop("appliance.json")
    assert isinstance(manifest, bytes)
    document = json.loads(manifest)
    assert document["board"] == "pi4"
    assert set(document["files"]) == {*files, "start4.elf", "fixup4.dat"}
    text = files["config.txt"]
    assert isinstance(text, bytes)
    assert document["files"]["config.txt"] == hashlib.sha256(text).hexdigest()
    named = {f"layers/{digest}.squashfs" for digest in document["system"]}
    named |= {f"layers/{digest}.squashfs" for digest in document["services"]["services/hello"]}
    named.add(f"layers/{document['containers']}.squashfs")
    assert named == {name for name in files if name.startswith("layers/")}


def test_services_of_one_folder_share_its_layers() -> None:
    twice = planned("pi4", services=[{"name": n, "use": "hello_world"} for n in ("a", "b")])
    assert len(twice.layers) == len(planned("pi4").layers)


def test_the_partitions_of_both_layouts(store: Store) -> None:
    four = planned("pi4")
    assert [v.name for v in card_plan(four, made(four, store)).volumes] == [
        "selector", "slot A", "slot B", "data",
    ]  # fmt: skip
    two = planned("zero2w")
    plan = card_plan(two, made(two, store))
    assert [v.name for v in plan.volumes] == ["the boot partition", "data"]
    data = plan.volumes[-1]
    assert isinstance(data, Ext4Volume)
    assert set(data.files) >= {"piimage", "piimage/state"}


def test_the_command_line_of_a_slot_in_a_folder_names_the_folder(store: Store) -> None:
    version = planned("zero2w")
    text = slot_files(version, made(version, store), "a/")["cmdline.txt"]
    assert isinstance(text, bytes)
    assert "piimage.prefix=a/" in text.decode().split()


def test_cards_are_equal_when_their_content_is(store: Store) -> None:
    first, same, other = planned("pi4"), planned("pi4"), planned("pi4", hostname="other")
    identity = card_plan(first, made(first, store)).identity
    assert card_plan(same, made(same, store)).identity == identity
    assert card_plan(other, made(other, store)).identity != identity


def test_the_files_boot_section_reaches_config_and_command_line() -> None:
    boot = boot_of(
        Appliance.model_validate(
            {
                "boot": {
                    "config": {"gpio": ["4=op,dh", "17=ip"], "gpu_mem": 32},
                    "overlays": ["i2c1"],
                    "cmdline": ["one"],
                },
                "kernel": {"cmdline": "two three"},
            }
        ),
        load_board("pi4"),
    )
    assert boot.cmdline == ("one", "two", "three")
    assert tuple(boot.overlays) == ("i2c1",)
    assert boot.config == (("gpio", "4=op,dh"), ("gpio", "17=ip"), ("gpu_mem", "32"))


@pytest.mark.provokes("plan.unknown-owner")
def test_an_owner_that_is_no_container_is_refused() -> None:
    file = {"path": "etc/x", "contents": "x", "uid": "hallo"}
    with pytest.raises(InputError) as caught:
        planned("pi4", files=[file])
    assert caught.value.code == "plan.unknown-owner"


@pytest.mark.parametrize("board", ["pi4", "pi5", "qemu-virt"])
def test_either_slot_holds_the_version_under_its_own_name(board: str, store: Store) -> None:
    version = planned(board)
    job = made(version, store)
    card, found = card_plan(version, job), slots(version, job)
    first, second = found.volumes["2"], found.volumes["3"]
    assert first == card.volumes[1]
    assert second.files == first.files
    assert (second.label, second.serial, second.size) == (
        "SLOT-B",
        card.volumes[2].serial,
        first.size,
    )
    assert found.places["3"].start == found.places["2"].end


@pytest.mark.slow
def test_either_folder_holds_the_version_where_the_card_has_it(
    store: Store, tmp_path: Path
) -> None:
    version = planned("zero2w")
    job = made(version, store)
    card, found = card_plan(version, job).volumes[0], slots(version, job)
    assert list(found.volumes) == ["a/", "b/"]
    assert found.places["a/"] == found.places["b/"]
    first, second = found.volumes.values()
    assert set(first.files) == set(second.files) >= {"select.txt", "try.txt", "trycmd.txt"}
    differing = {path for path in first.files if first.files[path] != second.files[path]}
    assert differing == {"select.txt", "try.txt", "trycmd.txt", "cmdline.txt", "appliance.json"}
    whole, alone = tmp_path / "whole", tmp_path / "alone"
    for image in (whole, alone):
        image.write_bytes(b"")
        os.truncate(image, card.size)
    card.write(job.runner, whole, 0)
    extents = first.write(job.runner, alone, 0)
    assert sum(extent.size for extent in extents) > 1 << 20
    with whole.open("rb") as built, alone.open("rb") as written:
        for extent in extents:
            built.seek(extent.start)
            written.seek(extent.start)
            assert built.read(extent.size) == written.read(extent.size)


@pytest.mark.parametrize("size", [64 << 20, 300 << 20, 16 << 30])
def test_a_first_partition_has_room_for_two_folders_and_for_what_is_shared(size: int) -> None:
    layout = planned("pi3").board.layout
    assert isinstance(layout, PrefixLayout)
    assert layout.size(layout.room) == layout.firmware_mib << 20
    total = layout.size(size)
    volume = FolderedVolume("card", "CARD", 1, total, size)
    cluster = sectors_per_cluster(total, 32)
    assert cluster is not None
    tables = 2 * (total // (cluster * 512) * 4)
    shared = total - 2 * volume.room - tables
    assert 24 << 20 <= shared <= (64 << 20) + size // 32
