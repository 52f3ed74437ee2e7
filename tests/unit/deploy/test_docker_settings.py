from __future__ import annotations

import json
from typing import Any

import pytest

from piimage.config.container import ContainerConfig
from piimage.container.ids import with_range
from piimage.container.rootfs import ProcessUser
from piimage.deploy.docker_settings import create_body, seccomp_profile, unsupported
from piimage.errors import InputError
from tests.unit.deploy.services import workload


def host(**fields: Any) -> dict[str, Any]:
    made = workload(**fields)
    body = create_body(made, "image", (), seccomp_profile(made))
    found: dict[str, Any] = body["HostConfig"]
    return found


def test_nothing_said_is_as_secure_as_on_our_own_system() -> None:
    made = host()
    assert made["ReadonlyRootfs"] is True
    assert made["CapDrop"] == ["ALL"] and made["CapAdd"] == []
    options = made["SecurityOpt"]
    assert "no-new-privileges:true" in options
    profile = next(option for option in options if option.startswith("seccomp="))
    assert json.loads(profile.partition("=")[2])["defaultAction"] == "SCMP_ACT_ERRNO"
    assert "/proc/sys" in made["ReadonlyPaths"] and "/proc/kcore" in made["MaskedPaths"]
    assert made["Devices"] == []


def test_namespaces_are_those_of_piimage_s_own_system() -> None:
    made = host()
    assert (made["NetworkMode"], made["UTSMode"]) == ("host", "host")
    assert (made["IpcMode"], made["CgroupnsMode"]) == ("private", "private")
    shared = host(ipc="host", cgroupns="host")
    assert (shared["IpcMode"], shared["CgroupnsMode"]) == ("host", "host")
    assert made["PidMode"] == ""
    apart = host(net="new", ipc="new", uts="new", pid="host")
    assert (apart["NetworkMode"], apart["IpcMode"]) == ("none", "private")
    assert (apart["UTSMode"], apart["PidMode"]) == ("", "host")


def test_a_host_name_comes_with_a_namespace_of_its_own() -> None:
    body = create_body(workload(hostname="shed", uts="new"), "image", (), None)
    assert body["Hostname"] == "shed" and body["HostConfig"]["UTSMode"] == ""


def test_capabilities_lose_the_prefix_that_the_engine_does_not_want() -> None:
    assert host(capabilities=["CAP_NET_RAW"])["CapAdd"] == ["NET_RAW"]


def test_a_device_is_readable_and_writable_and_its_group_is_the_users() -> None:
    made = create_body(
        workload(user=ProcessUser(10001, 10001, (30,)), devices=["/dev/i2c-1"]),
        "image",
        [994],
        None,
    )
    assert made["User"] == "10001:10001"
    assert made["HostConfig"]["GroupAdd"] == ["30", "994"]
    assert made["HostConfig"]["Devices"] == [
        {"PathOnHost": "/dev/i2c-1", "PathInContainer": "/dev/i2c-1", "CgroupPermissions": "rw"}
    ]


def test_what_the_entry_says_of_the_program_replaces_the_images() -> None:
    body = create_body(
        workload(command=["/bin/sh", "-c", "x"], env=["A=1"], cwd="/w"), "i", (), None
    )
    assert body["Entrypoint"] == ["/bin/sh", "-c", "x"] and body["Cmd"] == []
    assert body["Env"] == ["A=1"] and body["WorkingDir"] == "/w"
    assert "Entrypoint" not in create_body(workload(), "i", (), None)


def test_mounts_and_memory_file_systems() -> None:
    made = host(
        binds=["/data/x:/x:ro,rbind"],
        tmpfs=["/run:size=1m"],
        mounts=[
            {"type": "tmpfs", "destination": "/t", "options": ["mode=700"]},
            {"type": "bind", "source": "/data/y", "destination": "/y", "options": ["bind", "ro"]},
        ],
    )
    assert made["Binds"] == ["/data/x:/x:ro"]
    assert made["Tmpfs"] == {"/run": "size=1m", "/t": "nosuid,nodev,mode=700"}
    assert made["Mounts"] == [
        {"Type": "bind", "Source": "/data/y", "Target": "/y", "ReadOnly": True}
    ]


@pytest.mark.parametrize(
    ("policy", "name"),
    [(None, "unless-stopped"), ("always", "unless-stopped"), ("on-failure", "on-failure"),
     ("no", "no")],
)  # fmt: skip
def test_restart_policy(policy: str | None, name: str) -> None:
    fields = {"restart": {"policy": policy}} if policy else {}
    assert host(**fields)["RestartPolicy"] == {"Name": name}


def test_a_command_check_is_the_engines_to_run_and_the_others_are_not() -> None:
    health = {"command": ["/bin/ok"], "every": "10s", "timeout": "2s", "retries": 2, "start": "5s"}
    body = create_body(workload(health=health), "i", (), None)
    assert body["Healthcheck"] == {
        "Test": ["CMD", "/bin/ok"], "Interval": 10 * 10**9, "Timeout": 2 * 10**9, "Retries": 2,
        "StartPeriod": 5 * 10**9,
    }  # fmt: skip
    assert "Healthcheck" not in create_body(workload(health={"tcp": "127.0.0.1:80"}), "i", (), None)


def test_limits_and_logs() -> None:
    made = host(
        resources={"memory": {"limit": "64M"}, "cpu": {"quota": 50000}, "pids": {"limit": 20}},
        log={"size": "8k", "count": 2},
        rlimits=["memlock,100,unlimited"],
        oomScoreAdj=500,
    )
    assert (made["Memory"], made["CpuQuota"], made["PidsLimit"]) == (64 << 20, 50000, 20)
    assert made["LogConfig"]["Config"] == {"max-size": "8192", "max-file": "2"}
    assert made["Ulimits"] == [{"Name": "memlock", "Soft": 100, "Hard": -1}]
    assert made["OomScoreAdj"] == 500


@pytest.mark.provokes("deploy.beyond-target")
@pytest.mark.parametrize(
    ("fields", "setting"),
    [
        ({"ambient": ["CAP_NET_RAW"]}, "ambient"),
        ({"secrets": ["token"]}, "secrets"),
        ({"schedule": "0 3 * * *"}, "schedule"),
        ({"net": "/run/netns/x"}, "net: a path"),
        ({"net": "bridge", "ports": ["80:80"]}, "net: bridge"),
        ({"devices": [{"path": "all", "type": "c"}]}, "devices: all by number"),
        ({"mounts": [{"type": "cgroup2", "destination": "/c"}]}, "mounts: type cgroup2"),
        ({"runtime": {"mkdir": ["/data/x"]}}, "runtime"),
        ({"binds": ["/run/piimage/rootfs/volumes/v-ro-1:/v"]}, "a volume from an image"),
    ],
)
def test_what_an_engine_cannot_do_is_refused_by_name(fields: dict[str, Any], setting: str) -> None:
    (error,) = unsupported(workload(**fields))
    with pytest.raises(InputError) as caught:
        raise error
    assert setting in caught.value.message and caught.value.place == "services.bmp280"


def test_a_range_of_user_ids_is_refused_as_the_file_spells_it() -> None:
    mapped = with_range(ContainerConfig.model_validate({"userns": "auto"}), workload().name)
    (ids,) = mapped.uid_mappings or ()
    written = [ids.model_dump(by_alias=True)]
    fields = {"userns": "new", "uidMappings": written, "gidMappings": written}
    (error,) = unsupported(workload(**fields))
    assert "`userns: auto` of bmp280" in error.message
