"""Containers on the bridge, and those with user ids of their own, as steps of a build."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from piimage.boards import load_board
from piimage.compose.containers import ContainersLayer
from piimage.config.models import Appliance
from piimage.container.bridge import MODULES
from piimage.container.ids import first_id
from piimage.errors import PiimageError
from piimage.kernel.package import UnpackedKernel
from piimage.locking.requests import requests
from piimage.plan.containers import plan_containers
from piimage.plan.modules import plan_modules
from piimage.plan.system import plan_system
from tests.unit.plan.locks import lock_of
from tests.unit.plan.test_containers import image

IMAGE = "r/net:1"
Data = Mapping[str, Any]


def appliance(*services: Data, **more: object) -> Appliance:
    entries = [{"image": IMAGE, **service} for service in services]
    return Appliance.model_validate({"services": entries, **more})


def planned(folder: Path, found: Appliance, label: Data | None = None) -> ContainersLayer:
    lock = lock_of(found, load_board("qemu-virt"))
    return plan_containers(found, lock, {IMAGE: image(folder, label)})


def layers(folder: Path, found: Appliance) -> list[str]:
    """The names of the system's layers."""
    board = load_board("qemu-virt")
    system = plan_system(found, board, lock_of(found, board), {IMAGE: image(folder, None)})
    return [getattr(layer, "name", "") for layer in system.layers]


WEB: Data = {"name": "web", "net": "bridge", "ports": ["8080:80"]}
DB: Data = {"name": "db", "net": "internal"}


def test_a_container_on_the_bridge_has_its_address_and_the_names_of_the_others(
    tmp_path: Path,
) -> None:
    layer = planned(tmp_path, appliance(WEB, DB, {"name": "host"}))
    web, db, host = layer.containers
    assert host.address is None
    assert web.address is not None and web.address.endswith("/20")
    names = layer.network["hosts"].decode()
    for plan in (web, db):
        assert f"{str(plan.address).removesuffix('/20')} {plan.name}\n" in names
        binds = plan.config.binds or ()
        assert "/run/piimage/network/names.hosts:/etc/hosts:ro,bind" in binds
        assert "/run/resolv.conf:/etc/resolv.conf:ro,bind" in binds
    assert "hosts" not in str(host.config.binds)
    assert b"tcp dport 8080" in layer.network["rules"]


@pytest.mark.parametrize(
    ("own", "left"),
    [
        ({"binds": ["/data/hosts:/etc/hosts"]}, ["/etc/resolv.conf"]),
        ({"binds": ["/data/etc:/etc"]}, []),
        (
            {"mounts": [{"type": "bind", "source": "/x", "destination": "/etc/resolv.conf",
                         "options": ["rbind"]}]},
            ["/etc/hosts"],
        ),
    ],
)  # fmt: skip
def test_a_container_with_names_of_its_own_keeps_them(
    tmp_path: Path, own: Data, left: list[str]
) -> None:
    (plan,) = planned(tmp_path, appliance({**WEB, **own})).containers
    added = [bind for bind in plan.config.binds or () if bind.startswith("/run/")]
    found = [bind.split(":")[1] for bind in added if "localtime" not in bind]
    assert found == left


def test_without_containers_on_the_bridge_the_pi_has_nothing_of_it(tmp_path: Path) -> None:
    found = appliance({"name": "web"})
    assert planned(tmp_path, found).network == {}
    assert not {"the bridge", "the owners of files"} & {*layers(tmp_path, found)}
    board = load_board("qemu-virt")
    assert not {"bridge", "userns"} & {request.root for request in requests(found, board, [])}
    modules = plan_modules(found, board, UnpackedKernel((), ()), lock_of(found, board))
    assert not {*MODULES} & {*modules.late}


def test_the_system_has_the_program_and_the_modules_that_the_bridge_needs(tmp_path: Path) -> None:
    found = appliance(DB)
    assert layers(tmp_path, found).count("the bridge") == 1
    board = load_board("qemu-virt")
    packages = {request.root: request.packages for request in requests(found, board, [])}
    assert packages["bridge"] == ("nftables",)
    modules = plan_modules(found, board, UnpackedKernel((), ()), lock_of(found, board))
    assert {*MODULES} <= {*modules.late}


@pytest.mark.parametrize(("entry", "counts"), [({}, True), ({"net": "host"}, False)])
def test_a_folder_on_the_bridge_counts_unless_the_entry_says_otherwise(
    tmp_path: Path, entry: Data, counts: bool
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "service.yml").write_text("name: mine\nconfig: {net: bridge}\n")
    board = load_board("qemu-virt")
    found = Appliance.model_validate({"services": [{"name": "a", "build": str(folder), **entry}]})
    assert ("bridge" in {request.root for request in requests(found, board, [])}) == counts


def test_a_range_of_the_file_and_a_router_of_the_file_are_in_the_rules(tmp_path: Path) -> None:
    plain = planned(tmp_path, appliance(WEB)).network["rules"]
    own = planned(tmp_path, appliance(WEB, network={"bridge": "172.28.0.0/20"})).network
    assert b"172.28.0.0/20" in own["rules"] and b"10.213." not in own["rules"]
    assert own["bridge"] == b"ADDRESS='172.28.0.1/20'\n"
    router = appliance(WEB, sysctl={"net.ipv4.ip_forward": "1"})
    assert b"meta nfproto ipv4 drop" in plain
    assert b"meta nfproto ipv4 drop" not in planned(tmp_path, router).network["rules"]


def refused(folder: Path, found: Appliance, label: Data) -> list[str]:
    with pytest.raises(PiimageError) as caught:
        planned(folder, found, label)
    return str(caught.value).splitlines()


@pytest.mark.provokes("oci.ports")
def test_what_only_a_label_asks_for_has_to_be_in_the_file(tmp_path: Path) -> None:
    granted = {"name": "web", "trust": ["net: bridge", "ports: 8080:80"]}
    (message,) = refused(
        tmp_path, appliance(granted), {"net": "bridge", "ports": ["8080:80"]}
    )  # fmt: skip
    assert message.startswith("services.web: the image's label asks for net: bridge")
    entry = {**granted, "net": "bridge"}
    layer = planned(tmp_path, appliance(entry), {"net": "bridge", "ports": ["8080:80"]})
    assert b"tcp dport 8080" in layer.network["rules"]
    twice = appliance(entry, {**WEB, "name": "other"})
    (message,) = refused(tmp_path, twice, {"ports": ["8080:80"]})
    assert "tcp port 8080 of the Pi is published by web as well" in message


def test_auto_gives_a_container_a_range_and_the_system_what_maps_owners(tmp_path: Path) -> None:
    found = appliance({"name": "web", "userns": "auto"})
    (plan,) = planned(tmp_path, found).containers
    (whole,) = plan.config.uid_mappings or ()
    assert whole.host_id == first_id("web")
    assert "the owners of files" in layers(tmp_path, found)
    packages = {r.root: r.packages for r in requests(found, load_board("qemu-virt"), [])}
    assert packages["userns"] == ("mount",)


@pytest.mark.provokes("oci.userns")
def test_a_range_that_only_a_label_asks_for_has_to_be_in_the_file(tmp_path: Path) -> None:
    granted = appliance({"name": "web", "trust": ["userns: auto"]})
    (message,) = refused(tmp_path, granted, {"userns": "auto"})
    assert "the image's label asks for userns: auto" in message
