"""Stacks for Docker Swarm: what the Docker client takes, and what Swarm cannot do."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from piimage.container.rootfs import ProcessUser
from piimage.deploy.cluster import Cluster
from piimage.deploy.swarm import limits_that_are_missing, render, service
from piimage.errors import PiimageError
from tests.unit.deploy.services import digest, workload

CLUSTER = Cluster("pi4", "greenhouse", "registry.example:5000/greenhouse/")
FULL: dict[str, Any] = {
    "env": ["A=1", "B=$HOME"],
    "command": ["/bin/x", "--loud"],
    "cwd": "/w",
    "binds": ["/data/x:/x:ro", "/data/y:/y"],
    "tmpfs": ["/run:size=1m,mode=0700", "/tmp"],
    "health": {"command": ["/bin/ok"], "every": "10s", "start": "25s"},
    "resources": {
        "memory": {"limit": "64M", "reservation": "32M"}, "cpu": {"quota": 50000},
        "pids": {"limit": 20},
    },
    "capabilities": ["CAP_SYS_TIME"],
    "rlimits": ["nofile,100,200", "core,0,unlimited"],
    "sysctl": {"net.core.somaxconn": "100"},
    "secrets": ["mqtt_password"],
    "stop_timeout": "3s",
}  # fmt: skip


def stack(**fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(render([workload(**fields)], CLUSTER))
    return found


def as_docker_reads(path: Path) -> dict[str, Any]:
    """Return what Docker's client makes of a stack; it needs no engine for that.

    Debian 12's, which is older than version 23, cannot print it: there the file stands for itself.
    """
    environment = {"PATH": os.environ["PATH"], "HOME": str(path.parent)}
    words = ["docker", "stack", "config"]
    told = subprocess.run([*words, "--help"], capture_output=True, env=environment, check=False)
    if b"--compose-file" not in told.stdout:
        itself: dict[str, Any] = yaml.safe_load(path.read_text().replace("$$", "$"))
        for found in itself["services"].values():
            lines = found.get("environment", [])
            found["environment"] = dict(line.split("=", 1) for line in lines)
        return itself
    done = subprocess.run(
        [*words, "--compose-file", path],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "unsupported" not in done.stderr
    read: dict[str, Any] = yaml.safe_load(done.stdout)
    return read


@pytest.mark.parametrize("fields", [{}, FULL, {"health": {"tcp": "127.0.0.1:80"}}])
def test_the_docker_client_takes_a_stack_and_reads_what_was_meant(
    fields: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "stack.yml"
    path.write_text(render([workload(**fields), workload("hello_world")], CLUSTER))
    read = as_docker_reads(path)
    assert list(read["services"]) == ["bmp280", "hello-world"]
    found = read["services"]["bmp280"]
    assert found["image"] == f"registry.example:5000/greenhouse/bmp280@{digest('d')}"
    assert found["deploy"]["mode"] == "global"
    if fields is FULL:
        assert found["environment"]["B"] == "$HOME"
        assert found["deploy"]["resources"]["limits"]["pids"] == 20
        assert found["healthcheck"]["start_period"] == "25s"
        assert found["secrets"][0]["target"] == "mqtt_password"


def test_nothing_said_is_as_secure_as_swarm_can_be() -> None:
    made = service(workload(user=ProcessUser(10001, 10001)), CLUSTER)
    assert made["user"] == "10001:10001"
    assert made["cap_drop"] == ["ALL"]
    assert made["read_only"] is True
    assert "cap_add" not in made


def test_a_service_runs_on_the_nodes_with_the_boards_label_and_undoes_itself() -> None:
    deploy = service(workload(**FULL), CLUSTER)["deploy"]
    assert deploy["placement"] == {"constraints": ["node.labels.piimage.board == pi4"]}
    assert deploy["update_config"]["failure_action"] == "rollback"
    assert deploy["update_config"]["monitor"] == "35s"
    assert deploy["restart_policy"] == {"condition": "any"}


def test_the_networks_and_the_folders_are_the_nodes_own() -> None:
    found = stack(**FULL)
    assert found["networks"] == {"host": {"external": True, "name": "host"}}
    assert found["services"]["bmp280"]["volumes"] == [
        {"type": "bind", "source": "/data/x", "target": "/x", "read_only": True},
        {"type": "bind", "source": "/data/y", "target": "/y"},
        {"type": "tmpfs", "target": "/run", "tmpfs": {"size": 1 << 20}},
        {"type": "tmpfs", "target": "/tmp"},
    ]


def test_secrets_are_those_of_the_swarm_for_the_user_alone() -> None:
    found = stack(**FULL)
    assert found["secrets"] == {"mqtt_password": {"external": True}}
    (secret,) = found["services"]["bmp280"]["secrets"]
    assert (secret["mode"], secret["uid"]) == (0o400, "0")
    assert "secrets" not in stack()


def test_limits_and_checks_that_swarm_lacks_are_told() -> None:
    lines = list(limits_that_are_missing([workload(health={"tcp": "127.0.0.1:80"})]))
    assert lines == [
        "Docker Swarm has no noNewPrivileges; without it run: bmp280",
        "Docker Swarm checks no http: and tcp:, so these are not checked: bmp280",
    ]
    assert list(limits_that_are_missing([workload(no_new_privileges=False)])) == []


@pytest.mark.provokes("deploy.beyond-target")
@pytest.mark.parametrize(
    ("fields", "setting"),
    [
        ({"devices": ["/dev/i2c-1"]}, "devices"),
        ({"net": "none"}, "net: none"),
        ({"pid": "host"}, "pid: host"),
        ({"ipc": "host"}, "ipc: host"),
        ({"seccomp": "unconfined"}, "seccomp: unconfined"),
        ({"apparmor": "unconfined"}, "apparmor: unconfined"),
        ({"oom_score_adj": 5}, "oomScoreAdj"),
        ({"tmpfs": ["/tmp:size=50%"]}, "tmpfs: /tmp with a share of the memory"),
    ],
)
def test_what_swarm_cannot_do_is_refused_by_name(fields: dict[str, Any], setting: str) -> None:
    with pytest.raises(PiimageError) as caught:
        render([workload(**fields)], CLUSTER)
    assert caught.value.message == f"Docker Swarm does not support `{setting}` of bmp280"


@pytest.mark.provokes("deploy.beyond-target")
def test_a_user_with_more_groups_is_refused() -> None:
    with pytest.raises(PiimageError, match="additionalGids"):
        render([workload(user=ProcessUser(1, 1, (5,)))], CLUSTER)


@pytest.mark.provokes("deploy.same-name")
def test_names_that_are_equal_in_a_swarm_are_refused() -> None:
    with pytest.raises(PiimageError, match="would both have the name a-b in Docker Swarm"):
        render([workload("a_b"), workload("a.b")], CLUSTER)
