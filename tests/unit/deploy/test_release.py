"""What a release says of its containers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from piimage.container.bundle import containers_tree
from piimage.container.spec import Container
from piimage.deploy import release as releases
from piimage.deploy.answers import Slot
from piimage.deploy.release import Release, select_services
from piimage.run import Runner
from piimage.store import Blob, Store
from piimage.trees import Kind
from tests.unit.deploy.stand_in import definition, layer, release


def with_containers(store: Store, *definitions: Container) -> Release:
    tree = containers_tree(definitions, {})
    folders = {e.path: b"".join(e.content()) for e in tree if e.kind is Kind.FILE}
    return replace(release(store), definitions=definitions, folders=folders)


def test_its_patience_is_the_longest_start_of_a_health_check(store: Store) -> None:
    quick = definition("quick", health={"tcp": "127.0.0.1:80", "start": "5s"})
    slow = definition("slow", health={"http": "http://127.0.0.1/", "start": "2m"})
    assert with_containers(store, quick, slow, definition("unchecked")).patience == 120
    assert with_containers(store, definition("unchecked")).patience == 0


def test_a_check_whose_command_looks_like_a_start_does_not_prolong_its_patience(
    store: Store,
) -> None:
    command = ["/bin/sh", "-c", "true\nHEALTH_START=3600"]
    made = with_containers(store, definition("one", health={"command": command, "start": "5s"}))
    assert b"\nHEALTH_START=3600" in made.folders["services/one/container.env"]
    assert made.patience == 5


def test_a_path_that_looks_like_a_device_is_none(store: Store) -> None:
    path = "/data/x\ngrant_device 'services/one'"
    made = with_containers(store, definition("one", runtime={"mkdir": [path]}))
    assert b"\ngrant_device " in made.folders["services/one/prestart"]
    assert made.with_devices == ()


def test_containers_with_devices_are_named_by_their_folders(store: Store) -> None:
    once = replace(
        definition("setup", devices=["/dev/watchdog"]), kind="onboot", folder="000-setup"
    )
    asking = definition("one", devices=["/dev/i2c-1"])
    made = with_containers(store, definition("two"), asking, once)
    assert made.with_devices == ("onboot/000-setup", "services/one")
    assert made.services == ("one", "two")


def test_what_a_partial_deploy_leaves_out_neither_needs_devices_nor_patience(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def written(folders: Mapping[str, bytes], runner: Runner, store: Store) -> Blob:
        return store.add_bytes(layer({path: data.decode() for path, data in folders.items()}))

    monkeypatch.setattr(releases, "_containers_layer", written)
    slow = definition("slow", devices=["/dev/i2c-1"], health={"tcp": "a:1", "start": "1h"})
    made = with_containers(store, slow, definition("quick"))
    part = select_services(made, ["quick"], {}, Runner(), store)
    assert (part.services, part.with_devices, part.patience) == (("quick",), (), 0)
    assert sorted(part.folders) == [
        "finit.d/quick.conf", "services/quick/config.json", "services/quick/container.env",
        "services/quick/layers",
    ]  # fmt: skip


def test_a_partial_deploy_keeps_the_profiles_of_the_containers_that_stay(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Mapping[str, bytes]] = []

    def write(folders: Mapping[str, bytes], runner: Runner, store: Store) -> Blob:
        written.append(folders)
        return store.add_bytes(b"layer")

    monkeypatch.setattr(releases, "_containers_layer", write)
    made = with_containers(store, definition("quick"))
    made = replace(made, folders={**made.folders, "apparmor/piimage-default": b"new"})
    own = bytes(range(256))
    running = {"apparmor/piimage-default": "old", "apparmor/own": own.decode("iso8859-1")}
    select_services(made, ["quick"], running, Runner(), store)
    profiles = {path: data for path, data in written[-1].items() if path.startswith("apparmor/")}
    assert profiles == {"apparmor/piimage-default": b"new", "apparmor/own": own}


def slot_of(release: Release, prefix: str, files: Mapping[str, str]) -> Slot:
    """The answer of a Pi that has the system of `release`, with `files` in its slot."""
    return Slot(
        board=release.board, kernel=release.kernel, arch="aarch64", prefix=prefix,
        system=tuple(release.system), files=files, containers="c" * 64, running="c" * 64,
        temporary=False, folders={},
    )  # fmt: skip


def test_a_folder_is_compared_with_what_the_version_has_for_that_folder(store: Store) -> None:
    folders = {name: {"cmdline.txt": name * 32, "kernel.img": "k" * 64} for name in ("a/", "b/")}
    wanted = replace(release(store), files=folders["a/"], by_prefix=folders)
    for name, files in folders.items():
        assert wanted.differences(slot_of(wanted, name, files)) == []
    assert wanted.differences(slot_of(wanted, "b/", folders["a/"])) == ["cmdline.txt"]


def test_a_manifest_and_its_signature_are_no_difference_of_the_system(store: Store) -> None:
    """They name the containers, which a Pi takes without another system."""
    wanted = release(store)
    signed = {**wanted.files, "appliance.json.cms": "d" * 64}
    assert replace(wanted, files=signed).differences(slot_of(wanted, "", wanted.files)) == []
