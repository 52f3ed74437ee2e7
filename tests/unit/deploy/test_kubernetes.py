from __future__ import annotations

import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from piimage.container.rootfs import ProcessUser
from piimage.deploy.cluster import Cluster, image_name
from piimage.deploy.kubernetes import daemon_set, kustomize_base, render
from piimage.errors import PiimageError
from tests.unit.deploy.services import digest, workload

CLUSTER = Cluster("pi4", "greenhouse", "registry.example:5000/greenhouse/")
FULL: dict[str, Any] = {
    "devices": ["/dev/i2c-1"],
    "env": ["A=1", "B=$(A)"],
    "command": ["/bin/x", "--loud"],
    "cwd": "/w",
    "binds": ["/data/x:/x:ro"],
    "tmpfs": ["/run:size=1m"],
    "health": {"http": "http://127.0.0.1:9280/healthz?full=1", "every": "10s", "start": "25s"},
    "resources": {"memory": {"limit": "64M"}, "cpu": {"quota": 50000}},
    "stop_timeout": "3s",
}


def pod(
    cluster: Cluster = CLUSTER, user: ProcessUser | None = None, **fields: Any
) -> dict[str, Any]:
    made = daemon_set(workload(user=user, **fields), cluster)
    found: dict[str, Any] = made["spec"]["template"]["spec"]
    return found


@pytest.fixture
def schemas() -> ModuleType:
    """Kubernetes' schemas and their validator; to import it takes more than a second."""
    import kubernetes_validate

    return kubernetes_validate


@pytest.mark.parametrize(
    "fields",
    [
        {},
        FULL,
        {"health": {"command": ["/bin/ok"]}},
        {"health": {"tcp": "[::1]:80"}},
        {"sysctl": {"a.b": "1"}},
    ],
)
def test_manifests_pass_the_schema_of_kubernetes(
    schemas: ModuleType, fields: dict[str, Any]
) -> None:
    text = render([workload(**fields), workload("hello_world")], CLUSTER)
    documents = list(yaml.safe_load_all(text))
    assert [document["metadata"]["name"] for document in documents] == ["bmp280", "hello-world"]
    for document in documents:
        schemas.validate(document, "1.31", strict=True)


def test_kubectl_reads_a_base_for_kustomize(tmp_path: Path) -> None:
    made = [workload(**FULL), workload("kustomization")]
    for name, text in kustomize_base(made, CLUSTER).items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["kubectl", "kustomize", tmp_path], capture_output=True, text=True, check=True, timeout=60
    )
    read = {found["metadata"]["name"]: found for found in yaml.safe_load_all(done.stdout)}
    assert read == {
        name: daemon_set(found, CLUSTER)
        for name, found in zip(("bmp280", "kustomization"), made, strict=True)
    }


def test_the_schema_would_notice_a_wrong_manifest(schemas: ModuleType) -> None:
    broken = daemon_set(workload(), CLUSTER)
    broken["spec"]["template"]["spec"]["hostNetwork"] = "yes"
    with pytest.raises(schemas.ValidationError):
        schemas.validate(broken, "1.31", strict=True)


def test_an_image_is_named_by_digest() -> None:
    assert image_name(workload("hello_world"), CLUSTER) == (
        f"registry.example:5000/greenhouse/hello-world@{digest('d')}"
    )


def test_only_nodes_with_the_boards_label_run_it() -> None:
    assert pod()["nodeSelector"] == {"kubernetes.io/arch": "arm64", "piimage.board": "pi4"}


def test_nothing_said_is_as_secure_as_on_our_own_system() -> None:
    made = pod(user=ProcessUser(10001, 10001))
    assert made["automountServiceAccountToken"] is False
    assert made["hostIPC"] is False and made["hostPID"] is False
    assert made["containers"][0]["securityContext"] == {
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "runAsNonRoot": True,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
        "allowPrivilegeEscalation": False,
    }


def test_a_device_is_mounted_and_takes_a_privileged_container() -> None:
    made = pod(devices=["/dev/i2c-1"])
    assert made["volumes"] == [
        {"name": "device-0", "hostPath": {"path": "/dev/i2c-1", "type": "CharDevice"}}
    ]
    context = made["containers"][0]["securityContext"]
    assert context["privileged"] is True and "allowPrivilegeEscalation" not in context


def test_with_a_device_plugin_nothing_is_privileged() -> None:
    made = pod(Cluster("pi4", "g", "r", "squat.example"), devices=["/dev/i2c-1"])
    assert "volumes" not in made
    container = made["containers"][0]
    assert container["resources"]["limits"] == {"squat.example/i2c-1": "1"}
    assert "privileged" not in container["securityContext"]


def test_health_becomes_probes_that_leave_time_to_start() -> None:
    container = pod(**FULL)["containers"][0]
    assert container["readinessProbe"] == {
        "httpGet": {"host": "127.0.0.1", "port": 9280, "path": "/healthz?full=1"},
        "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 1,
    }  # fmt: skip
    assert container["livenessProbe"]["failureThreshold"] == 3
    assert container["startupProbe"]["failureThreshold"] == 3 + 3


def test_program_environment_limits_and_mounts() -> None:
    made = pod(**FULL)
    container = made["containers"][0]
    assert container["command"] == ["/bin/x", "--loud"]
    assert container["env"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "$$(A)"}]
    assert container["resources"]["limits"] == {"memory": str(64 << 20), "cpu": "500m"}
    assert container["volumeMounts"][0] == {"name": "bind-0", "mountPath": "/x", "readOnly": True}
    assert made["terminationGracePeriodSeconds"] == 3


@pytest.mark.provokes("deploy.beyond-target")
@pytest.mark.parametrize(
    ("fields", "setting"),
    [
        ({"runtime": {"mkdir": ["/data/x"]}}, "runtime"),
        ({"net": "none"}, "net: none"),
        ({"net": "internal"}, "net: internal"),
        ({"secrets": ["token"]}, "secrets"),
        ({"schedule": "0 3 * * *"}, "schedule"),
        ({"restart": "no"}, "restart: no"),
        ({"seccomp": "profile.json"}, "seccomp: a file"),
        ({"apparmor": "own"}, "apparmor: a file"),
        ({"devices": [{"path": "all", "type": "c"}]}, "devices: all"),
        ({"health": {"http": "http://127.0.0.1:port/"}}, "is not valid"),
    ],
)
def test_what_a_pod_cannot_be_told_is_refused(fields: dict[str, Any], setting: str) -> None:
    with pytest.raises(PiimageError) as caught:
        render([workload(**fields)], CLUSTER)
    assert setting in str(caught.value)


@pytest.mark.provokes("deploy.same-name")
@pytest.mark.parametrize("names", [("a_b", "a-b"), ("A.b", "a_B"), ("a", "a-"), ("x_", "x.")])
def test_names_that_would_become_one_are_refused(names: tuple[str, str]) -> None:
    services = [workload("other"), *map(workload, names)]
    with pytest.raises(PiimageError) as caught:
        render(services, CLUSTER)
    assert caught.value.code == "deploy.same-name"
    assert f"the services {names[0]} and {names[1]} would both have the name" in str(caught.value)
    # What is not written now may be in the cluster from before.
    with pytest.raises(PiimageError, match="would both have the name"):
        render([workload("other"), workload(names[1])], CLUSTER, ["other", *names])


@pytest.mark.provokes("deploy.same-name")
def test_devices_that_a_plugin_would_take_for_one_are_refused() -> None:
    services = [workload("a", devices=["/dev/bus/1"]), workload("b", devices=["/dev/bus-1"])]
    render(services, CLUSTER)
    with pytest.raises(PiimageError, match="the devices /dev/bus/1 and /dev/bus-1 would both"):
        render(services, Cluster("pi4", "greenhouse", "registry.example", "plugin.example"))
