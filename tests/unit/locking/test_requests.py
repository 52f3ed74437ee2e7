from __future__ import annotations

from piimage.boards import load_board
from piimage.config.models import Appliance, Entry
from piimage.debian.request import Request
from piimage.locking.folders import entries, folder_of
from piimage.locking.requests import RELEASE, requests, suites, system_tree

HELLO = Entry(name="hello", use="hello_world")


def appliance(**sections: object) -> Appliance:
    return Appliance.model_validate(sections)


def test_backports_are_looked_in_only_where_the_board_says_so() -> None:
    names = [suite.name for suite in suites(load_board("pi4"))]
    assert names == [RELEASE, f"{RELEASE}-updates", f"{RELEASE}-security"]
    last = suites(load_board("pi5"))[-1]
    assert last.name == f"{RELEASE}-backports"
    assert not last.automatic


def test_a_kernel_of_another_suite_is_asked_for_by_that_suite() -> None:
    by_root = {request.root: request for request in requests(Appliance(), load_board("pi5"), [])}
    assert all(name.endswith("/trixie-backports") for name in by_root["kernel"].packages)
    by_root = {request.root: request for request in requests(Appliance(), load_board("pi4"), [])}
    assert by_root["kernel"].packages == ("linux-image-arm64",)


def test_every_root_is_asked_for_once_in_the_order_of_names() -> None:
    folder = folder_of(HELLO)
    assert folder is not None
    roots = [request.root for request in requests(Appliance(), load_board("pi4"), [folder, folder])]
    assert roots == ["container/hello_world", "firmware", "kernel", "system"]


def test_a_board_without_firmware_asks_for_none() -> None:
    roots = [request.root for request in requests(Appliance(), load_board("qemu-virt"), [])]
    assert roots == ["kernel", "system"]


def test_a_kernel_from_an_image_is_not_asked_of_the_archive() -> None:
    own = appliance(kernel={"image": "kernel:1"})
    assert [request.root for request in requests(own, load_board("qemu-virt"), [])] == ["system"]


def test_what_only_wifi_needs_is_asked_for_only_with_wifi() -> None:
    board = load_board("pi4")
    with_wifi = appliance(network={"wifi": {"ssid": "shed"}})
    assert "wifi" in [request.root for request in requests(with_wifi, board, [])]
    assert "wifi" not in [request.root for request in requests(appliance(), board, [])]


def test_entries_come_in_linuxkits_order() -> None:
    subject = appliance(
        services=[{"name": "s", "use": "sshd"}],
        onshutdown=[{"name": "d", "use": "dhcp"}],
        onboot=[{"name": "b", "use": "dhcp"}],
    )
    assert [entry.name for entry in entries(subject)] == ["b", "d", "s"]


def test_an_entry_names_its_folder_in_three_ways() -> None:
    used = folder_of(HELLO)
    assert used is not None
    assert (used.root, used.service.name) == ("container/hello_world", "hello_world")
    built = folder_of(Entry(name="mine", build=str(used.path)))
    assert built is not None
    assert built.service == used.service
    listed = folder_of(Entry(name="tool", packages=("curl",), entrypoint=("/usr/bin/curl",)))
    assert listed is not None
    assert (listed.root, listed.service.packages) == ("container/tool", ("curl",))
    assert folder_of(Entry(name="pulled", image="busybox:1")) is None


def test_what_a_pi_asks_of_the_archive() -> None:
    """What is left out is run by maintainer scripts alone, which never run here."""
    file = appliance(network={"wifi": {"ssid": "shed"}}, services=[{"name": "s", "use": "sshd"}])
    by_root = {request.root: request for request in requests(file, load_board("pi4"), [])}
    assert list(by_root) == ["agent", "base/python", "firmware", "kernel", "system", "wifi"]
    assert by_root["agent"].packages == ("python3-yaml",)
    assert by_root["kernel"] == Request(
        "kernel", ("linux-image-arm64",),
        ("apparmor", "dracut", "initramfs-tools", "kmod", "linux-base", "linux-initramfs-tool"),
    )  # fmt: skip
    assert by_root["firmware"] == Request("firmware", ("raspi-firmware",), ("dosfstools", "dpkg"))
    wifi = by_root["wifi"]
    assert wifi.packages[-1] == "wireless-regdb"
    assert wifi.without == ("dosfstools", "dpkg")
    assert any(name.startswith("python3") for name in by_root["base/python"].packages)


def test_a_system_has_one_runtime_and_only_what_that_needs() -> None:
    board = load_board("qemu-virt")
    with_crun, with_runc = (
        next(made for made in requests(appliance(**fields), board, []) if made.root == "system")
        for fields in ({}, {"runtime": "runc"})
    )
    assert "crun" in with_crun.packages and "runc" in with_crun.without
    assert "libsystemd0" not in with_crun.without  # crun does not start without it
    assert "runc" in with_runc.packages and "crun" not in with_runc.packages
    assert "libsystemd0" in with_runc.without
    assert system_tree("crun").links["usr/sbin/runc"] == "../bin/crun"
    assert {"usr/bin/crun", "usr/bin/busybox"} <= set(system_tree("crun").keep)
    assert "usr/sbin/runc" in system_tree("runc").keep


def test_the_suites_have_firmware_too() -> None:
    components = ("main", "contrib", "non-free-firmware")
    assert {suite.components for suite in suites(load_board("pi5"))} == {components}
    assert RELEASE == "trixie"
