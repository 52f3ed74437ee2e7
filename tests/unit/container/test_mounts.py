"""Mounts and devices of a container's spec."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from piimage.config.container import (
    ContainerConfig,
)
from piimage.container.mounts import FoundDevice
from tests.unit.container.specs import (
    MAPPING,
    container,
    mounts,
    spec,
)


def test_who_may_administer_the_system_sees_all_of_proc() -> None:
    for capabilities in (["CAP_SYS_ADMIN"], ["all"]):
        made = spec(capabilities=capabilities)["linux"]
        assert "maskedPaths" not in made
        assert "readonlyPaths" not in made
    config = spec(capabilities=["CAP_SYS_ADMIN"], maskedPaths=["/proc/kcore"], readonlyPaths=[])
    assert config["linux"]["maskedPaths"] == ["/proc/kcore"]
    assert "readonlyPaths" not in config["linux"]


def test_what_engines_hide_and_protect_is_hidden_and_protected() -> None:
    # Docker's defaults (its oci/defaults.go, which its documentation of --security-opt names).
    made = spec(capabilities=["CAP_NET_ADMIN", "CAP_SYS_RAWIO"])["linux"]
    assert made["maskedPaths"] == [
        "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
        "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
        "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
    ]  # fmt: skip
    assert made["readonlyPaths"] == [
        "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("/t", ["nosuid", "nodev", "mode=1777"]),
        ("/t:size=1m,mode=700", ["nosuid", "nodev", "size=1m", "mode=700"]),
        ("/t:dev", ["nosuid", "mode=1777", "dev"]),
        ("/t:suid,dev", ["mode=1777", "suid", "dev"]),
        ("/t:nodev", ["nosuid", "nodev", "mode=1777"]),
    ],
)
def test_a_tmpfs_is_writable_for_all_has_no_devices_and_programs_in_it_no_privileges(
    text: str, options: list[str]
) -> None:
    """LinuxKit, docs/yaml.md: ``tmpfs``; the type is mount(2)'s file system."""
    expected = {"destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": options}
    assert mounts(tmpfs=[text])["/t"] == expected


@pytest.mark.parametrize("only", [True, False])
def test_the_default_mounts_are_linuxkits_and_a_small_shm(only: bool) -> None:
    # LinuxKit, docs/yaml.md ("Image specification") and moby/config.go; /sys is always closed here.
    ro = ["ro"] if only else []
    expected = [
        ("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k", *ro]),
        ("/dev/pts", "devpts", "devpts",
         ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
        ("/dev/shm", "tmpfs", "shm",
         ["nosuid", "nodev", "noexec", "mode=1777", "size=65536k"]),
        ("/proc", "proc", "proc", ["nosuid", "nodev", "noexec", "relatime"]),
        ("/sys", "sysfs", "sysfs", ["nosuid", "noexec", "nodev", "ro"]),
        ("/sys/fs/cgroup", "cgroup", "cgroup", ["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ]  # fmt: skip
    assert [
        (mount["destination"], mount["type"], mount["source"], mount["options"])
        for mount in spec(readonly=only)["mounts"]
    ] == expected


@pytest.mark.parametrize("readonly", [True, False])
@pytest.mark.parametrize(
    "more",
    [{}, {"capabilities": ["CAP_NET_ADMIN", "CAP_SYS_RAWIO"]}, {"ambient": ["CAP_SYS_ADMIN"]}],
)
def test_the_kernel_s_own_files_are_read_only_whatever_the_root_is(
    readonly: bool, more: dict[str, Any]
) -> None:
    made = spec(readonly=readonly, **more)
    by_place = {mount["destination"]: mount["options"] for mount in made["mounts"]}
    assert by_place["/sys"] == ["nosuid", "noexec", "nodev", "ro"]
    assert "ro" in by_place["/sys/fs/cgroup"]
    assert {"/proc/sys", "/proc/sysrq-trigger"} <= {*made["linux"]["readonlyPaths"]}


def test_in_a_user_namespace_all_that_the_pi_has_below_sys_is_read_only() -> None:
    made = mounts(uidMappings=MAPPING, gidMappings=MAPPING, readonly=False)
    assert made["/sys"]["options"] == ["rbind", "nosuid", "noexec", "nodev", "rro"]


@pytest.mark.parametrize("capabilities", [["all"], ["CAP_SYS_ADMIN"]])
def test_who_administers_the_system_may_write_to_sys_where_its_root_is_writable(
    capabilities: list[str],
) -> None:
    assert "ro" not in mounts(readonly=False, capabilities=capabilities)["/sys"]["options"]
    assert "ro" in mounts(readonly=True, capabilities=capabilities)["/sys"]["options"]


@pytest.mark.parametrize("path", ["/dev/../etc/x", "/dev/", "/dev/..", "/dev/a/../../b", "/devil"])
def test_no_device_lies_outside_of_dev(path: str) -> None:
    with pytest.raises(ValidationError, match="is not a device path"):
        ContainerConfig.model_validate({"devices": [path]})


@pytest.mark.parametrize(
    ("bind", "options"),
    [
        ("/a:/b", ["rw", "rbind", "rshared"]),
        ("/a:/b:ro", ["ro", "rbind"]),
        ("/a:/b:rslave,rbind", ["rslave", "rbind"]),
    ],
)
def test_binds_have_linuxkits_options(bind: str, options: list[str]) -> None:
    assert mounts(binds=[bind])["/b"] == {
        "destination": "/b",
        "type": "bind",
        "source": "/a",
        "options": options,
    }


def test_mounts_override_defaults_by_destination() -> None:
    made = mounts(
        mounts=[{"type": "sysfs", "destination": "/sys", "options": ["rw"]}, {"source": "mqueue"}],
        tmpfs=["/tmp:size=1m,mode=1777", "/run"],
    )
    assert made["/sys"]["options"] == ["rw"]
    assert made["/sys"]["source"] == "sysfs"
    assert made["/dev/mqueue"]["type"] == "mqueue"
    assert made["/tmp"]["options"] == ["nosuid", "nodev", "size=1m", "mode=1777"]
    assert made["/run"]["options"] == ["nosuid", "nodev", "mode=1777"]


def test_a_dev_of_the_files_own_gets_no_shm_but_the_files() -> None:
    assert "/dev/shm" not in mounts(binds=["/dev:/dev"])
    made = mounts(binds=["/dev:/dev"], tmpfs=["/dev/shm:size=1m"])
    assert made["/dev/shm"]["options"] == ["nosuid", "nodev", "mode=1777", "size=1m"]


def test_a_mounted_tmpfs_is_closed_as_well() -> None:
    made = mounts(mounts=[{"type": "tmpfs", "destination": "/x", "options": ["size=1m"]}])
    assert made["/x"]["options"] == ["nosuid", "nodev", "size=1m"]


def test_devices_with_numbers_are_made_and_allowed() -> None:
    made = spec(
        devices=[
            {"path": "/dev/i2c-1", "type": "c", "major": 89, "minor": 1, "mode": "0660"},
            {"path": "all", "type": "b"},
            {"path": "all", "type": "c", "major": 180, "mode": "rw"},
        ],
        user="sensor",
    )["linux"]
    assert made["devices"] == [
        {"path": "/dev/i2c-1", "type": "c", "major": 89, "minor": 1, "fileMode": 0o660,
         "uid": 110, "gid": 120}
    ]  # fmt: skip
    assert made["resources"]["devices"] == [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "b", "access": "rwm"},
        {"allow": True, "type": "c", "major": 180, "access": "rw"},
        {"allow": True, "type": "c", "major": 89, "minor": 1, "access": "rwm"},
    ]


def test_rules_for_all_and_devices_with_numbers_are_bound_from_nowhere() -> None:
    fuse = {"path": "/dev/fuse", "major": 10, "minor": 229}
    devices = [{"path": "all"}, {"path": "all", "major": 1}, fuse]
    config = container(devices=devices)
    assert config.devices == ()
    assert mounts(devices=devices).keys() == mounts().keys()
    made = spec(devices=devices)["linux"]["devices"]
    assert [(device["path"], device["fileMode"]) for device in made] == [("/dev/fuse", 0o600)]


def test_the_devices_that_the_pi_looks_up() -> None:
    """A name in a folder of /dev becomes one without a slash; 0600, unless the file says more."""
    devices = [{"path": "/dev/sda1", "mode": "0660"}, {"path": "/dev/x", "type": "b"}]
    config = container(devices=["/dev/net/tun", *devices])
    place = "/dev/piimage/services/web"
    assert config.devices == (
        FoundDevice("/dev/net/tun", "c", "0600", f"{place}/net!tun"),
        FoundDevice("/dev/sda1", "b", "0660", f"{place}/sda1"),
        FoundDevice("/dev/x", "b", "0600", f"{place}/x"),
    )
    assert mounts(devices=["/dev/net/tun"])["/dev/net/tun"] == {
        "destination": "/dev/net/tun", "type": "bind", "source": f"{place}/net!tun",
        "options": ["bind", "rw"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["mmcblk0", "sda", "sdz9", "vdb", "nvme0n1", "loop1", "ram0", "zram1", "dm-0", "md0",
     "mapper/x"],
)  # fmt: skip
def test_disks_by_their_names(name: str) -> None:
    """Documentation/admin-guide/devices.txt."""
    assert container(devices=[f"/dev/{name}"]).devices[0].type == "b"


@pytest.mark.parametrize(
    ("source", "destination"),
    [("proc", "/proc"), ("devpts", "/dev/pts"), ("sysfs", "/sys"), ("cgroup", "/sys/fs/cgroup"),
     ("cgroup2", "/sys/fs/cgroup"), ("mqueue", "/dev/mqueue")],
)  # fmt: skip
def test_a_mount_goes_where_its_kind_belongs(source: str, destination: str) -> None:
    """LinuxKit, docs/yaml.md ("mounts"): type and destination may be left out."""
    expected = {"destination": destination, "type": source, "source": source}
    assert mounts(mounts=[{"source": source}])[destination] == expected
    assert mounts(mounts=[{"type": source}])[destination] == expected
    elsewhere = mounts(mounts=[{"type": source, "source": "x", "destination": "/y"}])["/y"]
    assert elsewhere == {"destination": "/y", "type": source, "source": "x"}


def test_a_mount_on_dev_is_a_tmpfs_unless_it_says_more() -> None:
    expected = {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m"]}
    assert mounts(mounts=[{"destination": "/dev", "options": ["size=1m"]}])["/dev"] == expected
    own = {"destination": "/dev", "type": "devtmpfs", "source": "dev"}
    assert mounts(mounts=[own])["/dev"] == own


def test_of_mounts_at_one_place_the_last_kind_counts() -> None:
    """Defaults, tmpfs, binds, mounts, devices; parents come before what is mounted in them."""
    tmpfs, bind = ["/dev", "/x", "/y"], ["/s:/x", "/s:/y", "/s:/dev/tty9"]
    made = mounts(
        tmpfs=tmpfs, binds=bind, devices=["/dev/tty9"],
        mounts=[{"type": "ext4", "source": "/dev/sda", "destination": "/y"}],
    )  # fmt: skip
    assert (made["/dev"]["type"], "options" in made["/dev"]) == ("tmpfs", False)
    assert (made["/x"]["type"], made["/y"]["type"]) == ("bind", "ext4")
    assert made["/dev/tty9"]["source"] == "/dev/piimage/services/web/tty9"
    assert list(made) == sorted(made)


@pytest.mark.parametrize(
    ("path", "major", "kind"),
    [("/dev/mmcblk0p4", 179, "b"), ("/dev/loop0", 7, "b"), ("/dev/fuse", 10, "c")],
)
def test_a_device_with_numbers_is_of_the_type_that_its_name_tells(
    path: str, major: int, kind: str
) -> None:
    """Documentation/admin-guide/devices.txt: c 179 would be something else than mmc's b 179."""
    made = spec(devices=[{"path": path, "major": major, "minor": 0}])["linux"]
    assert made["devices"][0]["type"] == kind
    assert made["resources"]["devices"][1:] == [
        {"allow": True, "type": kind, "major": major, "minor": 0, "access": "rwm"}
    ]


@pytest.mark.parametrize(
    ("device", "rule"),
    [
        ({"major": -1, "minor": -1}, {"type": "a", "access": "rwm"}),
        ({"type": "c", "major": 89, "minor": -1}, {"type": "c", "access": "rwm", "major": 89}),
        ({"type": "b", "major": -1, "minor": 3, "mode": "r"},
         {"type": "b", "access": "r", "minor": 3}),
        ({"type": "c", "major": 0, "minor": 0}, {"type": "c", "access": "rwm", "major": 0,
                                                 "minor": 0}),
        ({"mode": "0600"}, {"type": "a", "access": "rwm"}),
    ],
)  # fmt: skip
def test_minus_one_is_any_number_of_a_rule(device: dict[str, Any], rule: dict[str, Any]) -> None:
    # LinuxKit, docs/yaml.md ("devices"): -1 is a wildcard.
    made = spec(devices=[{"path": "all", **device}])["linux"]
    assert made["resources"]["devices"][1:] == [{"allow": True, **rule}]
    assert "devices" not in made


def test_a_device_without_numbers_is_bound_from_the_pi() -> None:
    made = mounts(devices=["/dev/spidev0.0", "/dev/mmcblk0p4"])
    assert made["/dev/spidev0.0"]["source"] == "/dev/piimage/services/web/spidev0.0"
    assert made["/dev/mmcblk0p4"]["options"] == ["bind", "rw"]


def test_a_device_without_numbers_opens_no_other_of_its_type() -> None:
    # The Pi adds the rule for this very device, whose numbers it knows.
    made = spec(devices=["/dev/hwrng", "/dev/mmcblk0p4"])["linux"]["resources"]["devices"]
    assert made == [{"allow": False, "access": "rwm"}]


def test_a_user_namespace_binds_what_it_may_not_mount() -> None:
    made = spec(uidMappings=MAPPING, gidMappings=MAPPING)
    assert {"type": "user"} in made["linux"]["namespaces"]
    assert made["linux"]["uidMappings"] == MAPPING
    by_place = {mount["destination"]: mount for mount in made["mounts"]}
    assert (by_place["/sys"]["type"], by_place["/proc"]["type"]) == ("bind", "proc")
    own = mounts(uidMappings=MAPPING, gidMappings=MAPPING, net="new", pid="host")
    assert (own["/sys"]["type"], own["/proc"]["type"]) == ("sysfs", "bind")


def test_a_container_with_control_has_the_folder_of_its_own_runner() -> None:
    assert mounts(control=True)["/run/control"] == {
        "destination": "/run/control",
        "type": "bind",
        "source": "/run/piimage/services/web",
        "options": ["bind", "ro", "nosuid", "nodev", "noexec"],
    }
    assert "/run/control" not in mounts(control=False)


def test_secrets_are_bound_from_a_folder_of_the_container_alone() -> None:
    assert mounts(secrets=["token"])["/run/secrets"] == {
        "destination": "/run/secrets", "type": "bind",
        "source": "/run/piimage/secrets/services/web",
        "options": ["bind", "ro", "nosuid", "nodev", "noexec"],
    }  # fmt: skip
    assert "/run/secrets" not in mounts()


@pytest.mark.parametrize(
    ("bind", "options"),
    [
        ("/media/music:/m", ["rw", "rbind", "rslave"]),
        ("/media/music:/m:ro", ["ro", "rbind", "rslave"]),
        ("/media:/m:rshared,ro", ["ro", "rbind", "rslave"]),
    ],
)
def test_a_bind_of_a_disk_shows_what_is_plugged_in_later(bind: str, options: list[str]) -> None:
    """Linux, Documentation/filesystems/sharedsubtree.rst: a slave gets mounts and gives none."""
    assert mounts(binds=[bind])["/m"]["options"] == options
    assert spec(binds=[bind])["linux"]["rootfsPropagation"] == "slave"


def test_other_binds_keep_linuxkits_options_and_the_runtimes_root() -> None:
    assert mounts(binds=["/mediathek:/m"])["/m"]["options"] == ["rw", "rbind", "rshared"]
    assert "rootfsPropagation" not in spec(binds=["/mediathek:/m"])["linux"]
    own = spec(binds=["/media/a:/m"], rootfsPropagation="shared")["linux"]
    assert own["rootfsPropagation"] == "shared"
