from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from piimage.config.container import (
    LABEL,
    ContainerConfig,
    linuxkit_defaults,
    merge,
    secure_defaults,
)
from piimage.container.mounts import FoundDevice, has_user_namespace
from piimage.container.rootfs import Root, notes_of
from piimage.container.spec import Container, container_ids, runtime_spec
from piimage.errors import InputError, PiimageError
from piimage.oci.models import Execution
from piimage.trees import Entry, Kind, file, folder

PASSWD = b"root:x:0:0::/:/bin/sh\nsensor:x:110:120::/:\nbroken:x:y\nhuge:x:99999999999:1::/:\n"
GROUP = b"root:x:0:\nsensor:x:120:\ni2c:x:130:sensor,other\nspi:x:131:sensor\n"
ROOT = Root([notes_of([folder("etc"), file("etc/passwd", PASSWD), file("etc/group", GROUP)])])
IMAGE = Execution(entrypoint=("/bin/entry",), cmd=("arg",), env=("A=1",), working_dir="/work")
IDS = {"dhcp": 100, "web": 103}


def container(
    image: Execution = IMAGE,
    profile: bytes | None = None,
    base: ContainerConfig | None = None,
    **fields: Any,
) -> Container:
    entry = ContainerConfig.model_validate(fields)
    config = merge(base or secure_defaults(), entry)
    return Container("web", "services", "web", config, image, ROOT, ("aa",), "pi4.yml:9:5", profile)


def spec(image: Execution = IMAGE, **fields: Any) -> dict[str, Any]:
    return runtime_spec(container(image, **fields), IDS)


def mounts(**fields: Any) -> dict[str, dict[str, Any]]:
    return {mount["destination"]: mount for mount in spec(**fields)["mounts"]}


def test_nothing_said_is_secure() -> None:
    made = spec()
    assert made["ociVersion"] == "1.0.2"  # config.md, "Specification version"; runc takes 1.0
    assert made["root"] == {"path": "/run/piimage/rootfs/services/web", "readonly": True}
    assert made["process"]["capabilities"] == {}
    assert made["process"]["noNewPrivileges"] is True
    assert made["process"]["terminal"] is False
    assert made["linux"]["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"
    assert made["linux"]["cgroupsPath"] == "/piimage/services/web"
    assert made["linux"]["resources"]["devices"] == [{"allow": False, "access": "rwm"}]
    assert "/proc/sys" in made["linux"]["readonlyPaths"]
    assert "/proc/kcore" in made["linux"]["maskedPaths"]
    assert made["linux"]["namespaces"] == [{"type": "pid"}, {"type": "mount"}]


def test_two_specs_are_the_same_bytes() -> None:
    assert json.dumps(spec(capabilities=["CAP_NET_RAW", "CAP_CHOWN"])) == json.dumps(
        spec(capabilities=["CAP_CHOWN", "CAP_NET_RAW"])
    )


@pytest.mark.parametrize(
    ("fields", "args", "env", "cwd"),
    [
        ({}, ["/bin/entry", "arg"], ["A=1"], "/work"),
        ({"command": ["/x"]}, ["/x"], ["A=1"], "/work"),
        ({"env": ["B=2"], "cwd": "/c"}, ["/bin/entry", "arg"], ["B=2"], "/c"),
        ({"env": ["PATH=/p"]}, ["/bin/entry", "arg"], ["PATH=/p"], "/work"),
    ],
)
def test_the_file_replaces_the_images_program(
    fields: dict[str, Any], args: list[str], env: list[str], cwd: str
) -> None:
    process = spec(**fields)["process"]
    assert process["args"] == args
    assert [text for text in process["env"] if not text.startswith("PATH=/usr/local")] == env
    assert sum(text.startswith("PATH=") for text in process["env"]) == 1
    assert process["cwd"] == cwd


@pytest.mark.provokes("oci.no-command")
def test_a_container_without_a_program_is_refused() -> None:
    with pytest.raises(InputError, match="web has no program to run"):
        spec(Execution())


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"user": "sensor"}, {"uid": 110, "gid": 120, "additionalGids": [130, 131]}),
        ({"user": "sensor:i2c"}, {"uid": 110, "gid": 130, "additionalGids": [131]}),
        ({"user": "110"}, {"uid": 110, "gid": 120, "additionalGids": [130, 131]}),
        ({"user": "7:8"}, {"uid": 7, "gid": 8}),
        ({"user": "7"}, {"uid": 7, "gid": 0}),
        ({"uid": 5}, {"uid": 5, "gid": 0}),
        ({"uid": "dhcp", "gid": "web"}, {"uid": 100, "gid": 103}),
        ({"uid": "root"}, {"uid": 0, "gid": 0}),
        ({"user": "1", "additionalGids": [7]}, {"uid": 1, "gid": 0, "additionalGids": [7]}),
        ({}, {"uid": 0, "gid": 0}),
    ],
)  # fmt: skip
def test_who_a_container_runs_as(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert spec(**fields)["process"]["user"] == expected


def test_the_images_own_user_counts_unless_it_is_linuxkits() -> None:
    plain = Execution(cmd=("/x",), user="sensor")
    labelled = Execution(cmd=("/x",), user="sensor", labels={LABEL: "{}"})
    assert spec(plain)["process"]["user"]["uid"] == 110
    assert spec(labelled)["process"]["user"]["uid"] == 0


@pytest.mark.provokes("oci.user")
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"user": "nobody"}, "the image has no user 'nobody'"),
        ({"user": "sensor:none"}, "the image has no group 'none'"),
        ({"user": "huge"}, "the image has no user 'huge'"),
        ({"user": "broken"}, "the image has no user 'broken'"),
        ({"uid": "sensor"}, "no container is named 'sensor'"),
    ],
)
def test_an_unknown_user_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        spec(**fields)
    assert caught.value.place == "pi4.yml:9:5"


def test_containers_are_numbered_as_linuxkit_does() -> None:
    assert container_ids(["a", "b", "c"]) == {"a": 100, "b": 101, "c": 102}


@pytest.mark.parametrize(
    ("fields", "sets"),
    [
        ({"capabilities": ["none"]}, {}),
        (
            {"capabilities": ["CAP_SYS_TIME", "CAP_CHOWN"]},
            {
                "bounding": ["CAP_CHOWN", "CAP_SYS_TIME"],
                "effective": ["CAP_CHOWN", "CAP_SYS_TIME"],
                "permitted": ["CAP_CHOWN", "CAP_SYS_TIME"],
            },
        ),
        (
            {"ambient": ["CAP_NET_RAW"]},
            {
                "bounding": ["CAP_NET_RAW"],
                "inheritable": ["CAP_NET_RAW"],
                "permitted": ["CAP_NET_RAW"],
                "ambient": ["CAP_NET_RAW"],
            },
        ),
    ],
)
def test_the_sets_of_capabilities(fields: dict[str, Any], sets: dict[str, list[str]]) -> None:
    assert spec(**fields)["process"]["capabilities"] == sets


def test_all_capabilities_are_all_of_linux() -> None:
    made = spec(capabilities=["all"])["process"]["capabilities"]
    assert len(made["bounding"]) == 41
    assert made["effective"] == made["bounding"]
    assert "ambient" not in made


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
    [("/t", {}), ("/t:size=1m,mode=700", {"options": ["size=1m", "mode=700"]})],
)
def test_a_tmpfs_is_a_mount_of_that_type(text: str, options: dict[str, list[str]]) -> None:
    """LinuxKit, docs/yaml.md: ``tmpfs``; the type is mount(2)'s file system."""
    expected = {"destination": "/t", "type": "tmpfs", "source": "tmpfs"} | options
    assert mounts(tmpfs=[text])["/t"] == expected


@pytest.mark.parametrize("only", [True, False])
def test_the_default_mounts_are_linuxkits(only: bool) -> None:
    # LinuxKit, docs/yaml.md ("Image specification") and moby/config.go; /sys is always closed here.
    ro = ["ro"] if only else []
    expected = [
        ("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k", *ro]),
        ("/dev/pts", "devpts", "devpts",
         ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
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


@pytest.mark.parametrize("path", ["../x", "/../../x", "a/../../b", "a/./b", "a//b", "/", "", "."])
def test_no_container_leaves_the_appliance_s_control_group(path: str) -> None:
    with pytest.raises(ValidationError, match="is not a valid cgroup path"):
        ContainerConfig.model_validate({"cgroupsPath": path})
    with pytest.raises(ValidationError, match="is not a valid cgroup path"):
        ContainerConfig.model_validate({"runtime": {"cgroups": [path]}})


@pytest.mark.parametrize("path", ["/dev/../etc/x", "/dev/", "/dev/..", "/dev/a/../../b", "/devil"])
def test_no_device_lies_outside_of_dev(path: str) -> None:
    with pytest.raises(ValidationError, match="is not a device path"):
        ContainerConfig.model_validate({"devices": [path]})


@pytest.mark.parametrize("name", ["../memory.max", "a/b", "..", ""])
def test_no_file_outside_of_its_own_control_group_is_written(name: str) -> None:
    with pytest.raises(ValidationError, match="is not a file of cgroup v2"):
        ContainerConfig.model_validate({"resources": {"unified": {name: "1"}}})


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
    assert made["/tmp"]["options"] == ["size=1m", "mode=1777"]
    assert "options" not in made["/run"]


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


@pytest.mark.parametrize("key", ["uidMappings", "gidMappings"])
def test_either_mapping_implies_a_user_namespace(key: str) -> None:
    config = ContainerConfig.model_validate({key: MAPPING})
    assert has_user_namespace(config)
    assert not has_user_namespace(ContainerConfig.model_validate({key: MAPPING, "userns": "host"}))
    assert not has_user_namespace(ContainerConfig())


def test_the_program_of_an_image_that_says_little() -> None:
    process = spec(Execution(entrypoint=("/x",)))["process"]
    assert process["args"] == ["/x"]
    assert process["env"] == ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
    assert process["cwd"] == "/"
    own = spec(Execution(cmd=("/y",), env=("A=1",), working_dir="srv/"))["process"]
    assert own["args"] == ["/y"]
    assert [text.partition("=")[0] for text in own["env"]] == ["PATH", "A"]
    assert own["cwd"] == "/srv/"


def test_what_is_not_said_is_not_in_the_spec() -> None:
    made = spec()
    assert set(made) == {"ociVersion", "process", "root", "mounts", "linux"}
    assert set(made["process"]) == {
        *("terminal", "user", "args", "env", "cwd", "capabilities", "noNewPrivileges"),
    }
    assert set(made["linux"]) == {
        *("namespaces", "cgroupsPath", "resources", "maskedPaths", "readonlyPaths", "seccomp"),
    }
    named = spec(hostname="box", gidMappings=MAPPING, uidMappings=MAPPING)
    assert named["hostname"] == "box"
    assert named["linux"]["gidMappings"] == MAPPING
    assert spec(noNewPrivileges=False)["process"]["noNewPrivileges"] is False


def test_limits_are_written_in_any_case() -> None:
    made = spec(rlimits=["Core,Unlimited,unlimited"])["process"]["rlimits"]
    assert made == [{"type": "RLIMIT_CORE", "soft": 2**64 - 1, "hard": 2**64 - 1}]


@pytest.mark.parametrize(
    ("path", "made"),
    [(None, "/piimage/services/web"), ("/mine", "/piimage/mine"), ("a/b", "/piimage/a/b")],
)
def test_where_the_control_group_is(path: str | None, made: str) -> None:
    assert spec(**({"cgroupsPath": path} if path else {}))["linux"]["cgroupsPath"] == made


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


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"net": "new"}, {"type": "network"}),
        ({"net": "none"}, {"type": "network"}),
        ({"net": "/run/netns/x"}, {"type": "network", "path": "/run/netns/x"}),
        ({"ipc": "new"}, {"type": "ipc"}),
        ({"uts": "/run/uts"}, {"type": "uts", "path": "/run/uts"}),
        ({"hostname": "box"}, {"type": "uts"}),
        ({"userns": "/run/user"}, {"type": "user", "path": "/run/user"}),
        ({"pid": "/run/pid"}, {"type": "pid", "path": "/run/pid"}),
    ],
)
def test_namespaces(fields: dict[str, Any], expected: dict[str, str]) -> None:
    assert expected in spec(**fields)["linux"]["namespaces"]


def test_host_namespaces_are_not_listed() -> None:
    fields = {"net": "host", "ipc": "root", "pid": "host", "uts": "host"}
    assert spec(**fields)["linux"]["namespaces"] == [{"type": "mount"}]


MAPPING = [{"containerID": 0, "hostID": 100000, "size": 65536}]


def test_a_user_namespace_binds_what_it_may_not_mount() -> None:
    made = spec(uidMappings=MAPPING, gidMappings=MAPPING)
    assert {"type": "user"} in made["linux"]["namespaces"]
    assert made["linux"]["uidMappings"] == MAPPING
    by_place = {mount["destination"]: mount for mount in made["mounts"]}
    assert (by_place["/sys"]["type"], by_place["/proc"]["type"]) == ("bind", "proc")
    own = mounts(uidMappings=MAPPING, gidMappings=MAPPING, net="new", pid="host")
    assert (own["/sys"]["type"], own["/proc"]["type"]) == ("sysfs", "bind")


@pytest.mark.provokes("oci.userns")
def test_a_user_namespace_without_ids_is_refused() -> None:
    with pytest.raises(PiimageError, match="has no uidMappings"):
        spec(userns="new")


@pytest.mark.provokes("oci.hostname")
def test_a_container_does_not_name_the_pi() -> None:
    with pytest.raises(InputError, match="would set the host name of the whole Pi to 'box'"):
        spec(hostname="box", uts="host")


def test_the_rest_is_passed_on() -> None:
    made = spec(
        rlimits=["nofile,100,200", "RLIMIT_CORE, 0, unlimited"],
        oomScoreAdj=-5,
        annotations={"a": "b"},
        net="new",
        sysctl={"net.ipv4.ip_forward": 1},
        rootfsPropagation="shared",
        cgroupsPath="/mine",
        resources={
            "memory": {"limit": "64M"},
            "cpu": {"shares": 5},
            "pids": {"limit": 9},
            "blockio": {"weight": 10},
            "devices": [{"allow": True, "type": "c", "major": 1}],
        },
    )
    assert made["process"]["rlimits"] == [
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 2**64 - 1},
    ]
    assert made["process"]["oomScoreAdj"] == -5
    assert made["annotations"] == {"a": "b"}
    linux = made["linux"]
    assert linux["sysctl"] == {"net.ipv4.ip_forward": "1"}
    assert linux["rootfsPropagation"] == "shared"
    assert linux["cgroupsPath"] == "/piimage/mine"
    resources = linux["resources"]
    assert resources["memory"] == {"limit": 64 << 20}
    assert resources["blockIO"] == {"weight": 10}
    assert resources["pids"] == {"limit": 9}
    assert resources["devices"][-1] == {"allow": True, "type": "c", "major": 1, "access": "rwm"}


def test_linuxkits_label_gets_linuxkits_root() -> None:
    assert runtime_spec(container(base=linuxkit_defaults()), IDS)["root"]["readonly"] is False


def test_an_ambient_capability_brings_its_calls_as_an_effective_one_does() -> None:
    def calls(**fields: Any) -> set[str]:
        rules = spec(**fields)["linux"]["seccomp"]["syscalls"]
        return {name for rule in rules for name in rule["names"] if "args" not in rule}

    for key in ("capabilities", "ambient"):
        assert calls(**{key: ["CAP_SYS_TIME"]}) - calls() == {
            "clock_settime", "clock_settime64", "settimeofday", "stime",
        }  # fmt: skip
    assert "reboot" in calls(ambient=["all"])


def test_seccomp_can_be_replaced_and_dropped() -> None:
    assert "seccomp" not in spec(seccomp="unconfined")["linux"]
    own = b'{"defaultAction":"SCMP_ACT_LOG"}'
    made = runtime_spec(container(profile=own, seccomp="own.json"), IDS)
    assert made["linux"]["seccomp"] == {"defaultAction": "SCMP_ACT_LOG"}


@pytest.mark.provokes("oci.seccomp")
@pytest.mark.parametrize("profile", [b"{}", b"", b"[]", b'{"defaultAction": 1}'])
def test_a_file_that_is_no_profile_is_refused(profile: bytes) -> None:
    with pytest.raises(PiimageError, match=r"own\.json is not a seccomp profile"):
        runtime_spec(container(profile=profile, seccomp="own.json"), IDS)


def test_a_root_is_what_its_layers_show_together() -> None:
    lower = [
        folder("a"),
        file("a/x", b""),
        folder("b"),
        file("b/y", b""),
        file("etc/passwd", PASSWD),
    ]
    upper = [
        Entry("a/x", Kind.CHARACTER, 0),
        Entry("b", Kind.DIRECTORY, 0o755, xattrs={"trusted.overlay.opaque": b"y"}),
        Entry("var", Kind.SYMLINK, link="/b/../a"),
        Entry("loop", Kind.SYMLINK, link="gone"),
    ]
    root = Root([notes_of(lower), type(notes_of(upper)).decode(notes_of(upper).encode())])
    assert root.find("/a") == ("a", Kind.DIRECTORY)
    assert root.find("/a/x") == ("a/x", None)
    assert root.find("/b/y") == ("b/y", None)
    assert root.find("/var/") == ("a", Kind.DIRECTORY)
    assert root.find("/loop") == ("gone", None)
    assert root.find("/") == ("", Kind.DIRECTORY)
    assert root.user("sensor", "x").uid == 110
