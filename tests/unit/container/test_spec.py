from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from piimage.config.container import (
    LABEL,
    ContainerConfig,
    linuxkit_defaults,
)
from piimage.container.bundle import environment
from piimage.container.mounts import has_user_namespace
from piimage.container.rootfs import Root, notes_of
from piimage.container.spec import container_ids, runtime_spec
from piimage.errors import InputError, PiimageError
from piimage.oci.models import Execution
from piimage.trees import Entry, Kind, file, folder
from tests.unit.container.specs import (
    IDS,
    IMAGE,
    MAPPING,
    PASSWD,
    container,
    spec,
)


def test_the_defaults_are_secure() -> None:
    made = spec()
    assert made["ociVersion"] == "1.0.2"  # config.md, "Specification version"; runc takes 1.0
    assert made["root"] == {"path": "/run/piimage/rootfs/services/web", "readonly": False}
    assert made["process"]["capabilities"] == {}
    assert made["process"]["noNewPrivileges"] is True
    assert made["process"]["terminal"] is False
    assert made["linux"]["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"
    assert made["linux"]["cgroupsPath"] == "/piimage/services/web"
    assert made["linux"]["resources"]["devices"] == [{"allow": False, "access": "rwm"}]
    assert "/proc/sys" in made["linux"]["readonlyPaths"]
    assert "/proc/kcore" in made["linux"]["maskedPaths"]
    assert made["linux"]["namespaces"] == [
        {"type": "ipc"}, {"type": "cgroup"}, {"type": "pid"}, {"type": "mount"},
    ]  # fmt: skip


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


@pytest.mark.parametrize("path", ["../x", "/../../x", "a/../../b", "a/./b", "a//b", "/", "", "."])
def test_no_container_leaves_the_appliance_s_control_group(path: str) -> None:
    with pytest.raises(ValidationError, match="is not a valid cgroup path"):
        ContainerConfig.model_validate({"cgroupsPath": path})
    with pytest.raises(ValidationError, match="is not a valid cgroup path"):
        ContainerConfig.model_validate({"runtime": {"cgroups": [path]}})


@pytest.mark.parametrize("name", ["../memory.max", "a/b", "..", ""])
def test_no_file_outside_of_its_own_control_group_is_written(name: str) -> None:
    with pytest.raises(ValidationError, match="is not a file of cgroup v2"):
        ContainerConfig.model_validate({"resources": {"unified": {name: "1"}}})


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


def test_what_is_not_set_is_not_in_the_spec() -> None:
    made = spec()
    keys = {"ociVersion", "process", "root", "mounts", "linux", "annotations", "hooks"}
    assert set(made) == keys
    assert set(made["process"]) == {
        *("terminal", "user", "args", "env", "cwd", "capabilities", "noNewPrivileges"),
        "rlimits",
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
    assert made[0] == {"type": "RLIMIT_CORE", "soft": 2**64 - 1, "hard": 2**64 - 1}


@pytest.mark.parametrize(
    ("own", "expected"), [([], (1024, 524288)), (["NoFile,64,65"], (64, 65)), (["core,0,0"], None)]
)
def test_open_files_are_limited_unless_the_file_has_its_own_limit(
    own: list[str], expected: tuple[int, int] | None
) -> None:
    made = spec(rlimits=own)["process"]["rlimits"]
    (files,) = (limit for limit in made if limit["type"] == "RLIMIT_NOFILE")
    assert (files["soft"], files["hard"]) == (expected or (1024, 524288))


@pytest.mark.parametrize(
    ("path", "made"),
    [(None, "/piimage/services/web"), ("/mine", "/piimage/mine"), ("a/b", "/piimage/a/b")],
)
def test_where_the_control_group_is(path: str | None, made: str) -> None:
    assert spec(**({"cgroupsPath": path} if path else {}))["linux"]["cgroupsPath"] == made


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"net": "new"}, {"type": "network"}),
        ({"net": "none"}, {"type": "network"}),
        ({"net": "/run/netns/x"}, {"type": "network", "path": "/run/netns/x"}),
        ({"ipc": "new"}, {"type": "ipc"}),
        ({"cgroupns": "/run/group"}, {"type": "cgroup", "path": "/run/group"}),
        ({"uts": "/run/uts"}, {"type": "uts", "path": "/run/uts"}),
        ({"hostname": "box"}, {"type": "uts"}),
        ({"userns": "/run/user"}, {"type": "user", "path": "/run/user"}),
        ({"pid": "/run/pid"}, {"type": "pid", "path": "/run/pid"}),
    ],
)
def test_namespaces(fields: dict[str, Any], expected: dict[str, str]) -> None:
    assert expected in spec(**fields)["linux"]["namespaces"]


def test_host_namespaces_are_not_listed() -> None:
    fields = {"net": "host", "ipc": "root", "pid": "host", "uts": "host", "cgroupns": "host"}
    assert spec(**fields)["linux"]["namespaces"] == [{"type": "mount"}]


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
    assert made["annotations"] == {"a": "b", "io.containerd.runc.v2.group": "services"}
    linux = made["linux"]
    assert linux["sysctl"] == {"net.ipv4.ip_forward": "1"}
    assert linux["rootfsPropagation"] == "shared"
    assert linux["cgroupsPath"] == "/piimage/mine"
    resources = linux["resources"]
    assert resources["memory"] == {"limit": 64 << 20}
    assert resources["blockIO"] == {"weight": 10}
    assert resources["pids"] == {"limit": 9}
    assert resources["devices"][-1] == {"allow": True, "type": "c", "major": 1, "access": "rwm"}


def test_linuxkits_label_gets_linuxkits_namespaces() -> None:
    made = runtime_spec(container(base=linuxkit_defaults()), IDS)
    assert made["linux"]["namespaces"] == [{"type": "pid"}, {"type": "mount"}]
    own = runtime_spec(container(base=linuxkit_defaults(), ipc="new", cgroupns="new"), IDS)
    assert {"type": "ipc"} in own["linux"]["namespaces"]
    assert {"type": "cgroup"} in own["linux"]["namespaces"]


def test_linuxkits_label_gets_linuxkits_root() -> None:
    """The Pi mounts the root as the file says; the runtime leaves it as it is."""
    made = container(base=linuxkit_defaults())
    assert runtime_spec(made, IDS)["root"]["readonly"] is False
    assert "READONLY='0'\n" in environment(made, runtime_spec(made, IDS))
    assert "READONLY='1'\n" in environment(container(), runtime_spec(container(), IDS))


@pytest.mark.parametrize(("readonly", "kind"), [(True, "ro"), (False, "rw")])
def test_a_root_stays_mounted_without_devices(readonly: bool, kind: str) -> None:
    root = "/run/piimage/rootfs/services/web"
    words = ["mount", "-o", f"remount,bind,nodev,{kind}", root]
    assert spec(readonly=readonly)["hooks"] == {
        "createContainer": [{"path": "/usr/bin/busybox", "args": words}]
    }


def test_in_a_user_namespace_the_kernel_keeps_the_options_of_the_root() -> None:
    ids = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    assert "hooks" not in spec(userns="new", uidMappings=ids, gidMappings=ids)


def test_services_share_a_shim_and_other_containers_have_none() -> None:
    assert spec()["annotations"] == {"io.containerd.runc.v2.group": "services"}
    assert "annotations" not in runtime_spec(replace(container(), kind="onboot"), IDS)


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


@pytest.mark.parametrize("path", ["lib", "usr/lib"])
def test_a_container_with_a_loader_of_32_bit_programs_may_run_them(path: str) -> None:
    native = ["SCMP_ARCH_AARCH64"]
    assert runtime_spec(container(), IDS)["linux"]["seccomp"]["architectures"] == native
    loader = [folder(path), file(f"{path}/ld-linux-armhf.so.3", b"")]
    if path != "lib":
        loader.append(Entry("lib", Kind.SYMLINK, link=path))
    mixed = replace(container(), root=Root([notes_of(loader)]))
    profile = runtime_spec(mixed, IDS)["linux"]["seccomp"]
    assert profile["architectures"] == [*native, "SCMP_ARCH_ARM"]


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


@pytest.mark.provokes("oci.userns")
def test_a_user_of_the_image_has_to_be_mapped() -> None:
    image = IMAGE.model_copy(update={"user": "65536"})
    with pytest.raises(InputError) as caught:
        spec(image, uidMappings=MAPPING, gidMappings=MAPPING)
    assert caught.value.message == "web runs as user 65536, which is not mapped"
    assert spec(image)["process"]["user"]["uid"] == 65536
