"""Services as Kubernetes manifests: a DaemonSet each, on the nodes that carry the board's label.

Sources: Kubernetes API, apps/v1 DaemonSet and core/v1 PodSpec; Pod Security Standards.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from piimage.config.container import ContainerConfig, Health
from piimage.container.capabilities import capabilities_of
from piimage.deploy.cluster import (
    BOARD_LABEL,
    Cluster,
    binds,
    dns_name,
    image_name,
    in_memory,
    same,
    same_names,
)
from piimage.deploy.workloads import Workload, beyond, unsupported_settings
from piimage.errors import InputError, PiimageError, raise_all

TARGET: Final = "Kubernetes"
KUSTOMIZATION: Final = "kustomization.yaml"
_UNSUPPORTED: Final = (
    "ambient", "annotations", "cgroups_path", "gid_mappings", "masked_paths", "oom_score_adj",
    "readonly_paths", "rlimits", "rootfs_propagation", "runtime", "schedule", "secrets",
    "uid_mappings", "userns",
)  # fmt: skip


def render(workloads: Sequence[Workload], cluster: Cluster, existing: Iterable[str] = ()) -> str:
    """Return the manifests of `workloads` as YAML.

    `existing` are the services that the cluster may already have. Raises InputError
    ``deploy.beyond-target`` for settings that a pod does not support, and ``deploy.same-name`` for
    names that are equal in Kubernetes.
    """
    _require_possible(workloads, cluster, existing)
    return yaml.safe_dump_all(
        (daemon_set(workload, cluster) for workload in workloads),
        sort_keys=False,
        explicit_start=True,
    )


def kustomize_base(
    workloads: Sequence[Workload], cluster: Cluster, existing: Iterable[str] = ()
) -> dict[str, str]:
    """Return the files of a base for Kustomize by name; raises the errors of `render`."""
    _require_possible(workloads, cluster, existing)
    made = [daemon_set(workload, cluster) for workload in workloads]
    files = {f"daemonset-{found['metadata']['name']}.yaml": found for found in made}
    base: dict[str, Any] = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
        "resources": list(files),
    }  # fmt: skip
    every = {**files, KUSTOMIZATION: base}
    return {name: yaml.safe_dump(content, sort_keys=False) for name, content in every.items()}


def _require_possible(
    workloads: Sequence[Workload], cluster: Cluster, existing: Iterable[str]
) -> None:
    unsupported = (error for workload in workloads for error in _unsupported(workload))
    raise_all(
        [*unsupported, *same_names(workloads, existing, TARGET), *_same_devices(workloads, cluster)]
    )


def _same_devices(workloads: Sequence[Workload], cluster: Cluster) -> Iterator[InputError]:
    """Yield an error for each device with the resource name of another device."""
    if cluster.device_plugin is None:
        return
    known: dict[str, str] = {}
    for workload in workloads:
        for device in workload.config.devices or ():
            other = known.setdefault(_resource(device.path), device.path)
            if other != device.path:
                devices = f"the devices {other} and {device.path}"
                yield same(workload, devices, _resource(device.path), TARGET)


def _unsupported(workload: Workload) -> Iterator[PiimageError]:
    yield from unsupported_settings(workload, _UNSUPPORTED, TARGET)
    config = workload.config
    if config.net in ("none", "new"):
        yield beyond(workload, f"net: {config.net}", TARGET)
    if config.restart is not None and config.restart.policy != "always":
        yield beyond(workload, f"restart: {config.restart.policy}", TARGET)
    if config.seccomp not in (None, "default", "unconfined"):
        yield beyond(workload, "seccomp: a file", TARGET)


def daemon_set(workload: Workload, cluster: Cluster) -> dict[str, Any]:
    """Return the DaemonSet of one service."""
    name = dns_name(workload.name)
    selector = {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": cluster.appliance}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {
            "name": name,
            "labels": {**selector, "app.kubernetes.io/managed-by": "piimage"},
        },
        "spec": {
            "selector": {"matchLabels": selector},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
            "template": {"metadata": {"labels": selector}, "spec": _pod(workload, cluster)},
        },
    }


def _pod(workload: Workload, cluster: Cluster) -> dict[str, Any]:
    config = workload.config
    volumes = list(_volumes(config, cluster))
    pod: dict[str, Any] = {
        "nodeSelector": {"kubernetes.io/arch": "arm64", BOARD_LABEL: cluster.board},
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "hostNetwork": True,
        "dnsPolicy": "ClusterFirstWithHostNet",
        "hostPID": config.pid in ("host", "root"),
        "hostIPC": config.ipc in ("host", "root"),
        "terminationGracePeriodSeconds": 10 if config.stop_timeout is None else config.stop_timeout,
        "containers": [_container(workload, cluster, [mount for mount, _ in volumes])],
    }
    if workload.user.groups or config.sysctl:
        pod["securityContext"] = _pod_security(workload)
    if volumes:
        pod["volumes"] = [volume for _, volume in volumes]
    return pod


def _pod_security(workload: Workload) -> dict[str, Any]:
    security: dict[str, Any] = {}
    if workload.user.groups:
        security["supplementalGroups"] = list(workload.user.groups)
    if workload.config.sysctl:
        security["sysctls"] = [
            {"name": name, "value": value} for name, value in workload.config.sysctl.items()
        ]
    return security


def _container(
    workload: Workload, cluster: Cluster, mounts: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    config = workload.config
    container: dict[str, Any] = {
        "name": dns_name(workload.name),
        "image": image_name(workload, cluster),
        "securityContext": _security(workload, cluster),
    }
    if config.command is not None:
        container["command"] = list(config.command)
    if config.env is not None:
        pairs = (text.partition("=") for text in config.env)
        # The kubelet would expand $(NAME).
        container["env"] = [{"name": k, "value": v.replace("$(", "$$(")} for k, _, v in pairs]
    if config.cwd:
        container["workingDir"] = config.cwd
    if config.health is not None:
        container |= _probes(config.health, workload)
    limits = _limits(config, cluster)
    if limits:
        container["resources"] = {"limits": limits, "requests": limits}
    if mounts:
        container["volumeMounts"] = list(mounts)
    return container


def _security(workload: Workload, cluster: Cluster) -> dict[str, Any]:
    config, user = workload.config, workload.user
    context: dict[str, Any] = {
        "runAsUser": user.uid,
        "runAsGroup": user.gid,
        "runAsNonRoot": user.uid != 0,
        "readOnlyRootFilesystem": bool(config.readonly),
        "capabilities": _capabilities(config),
        "seccompProfile": {
            "type": "RuntimeDefault" if config.seccomp == "default" else "Unconfined"
        },
    }
    if config.apparmor == "unconfined":
        context["appArmorProfile"] = {"type": "Unconfined"}
    if config.devices and cluster.device_plugin is None:
        # Without a plugin only a privileged container gets a device; that excludes the next field.
        return context | {"privileged": True}
    return context | {"allowPrivilegeEscalation": not config.no_new_privileges}


def _capabilities(config: ContainerConfig) -> dict[str, list[str]]:
    names = [name.removeprefix("CAP_") for name in capabilities_of(config.capabilities)]
    return {"drop": ["ALL"]} | ({"add": names} if names else {})


def _volumes(
    config: ContainerConfig, cluster: Cluster
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each mount of the container with the volume of the pod."""
    for number, (target, source, read_only) in enumerate(binds(config)):
        name = f"bind-{number}"
        mount = {"name": name, "mountPath": target, "readOnly": read_only}
        yield mount, {"name": name, "hostPath": {"path": source}}
    for number, (target, _) in enumerate(in_memory(config)):
        name = f"memory-{number}"
        yield {"name": name, "mountPath": target}, {"name": name, "emptyDir": {"medium": "Memory"}}
    if cluster.device_plugin is not None:
        return
    for number, device in enumerate(config.devices or ()):
        name = f"device-{number}"
        kind = "BlockDevice" if device.type == "b" else "CharDevice"
        host = {"path": device.path, "type": kind}
        yield {"name": name, "mountPath": device.path}, {"name": name, "hostPath": host}


def _probes(health: Health, workload: Workload) -> dict[str, Any]:
    probe = _probe(health, workload) | {
        "periodSeconds": health.every,
        "timeoutSeconds": health.timeout,
    }
    probes = {
        "readinessProbe": probe | {"failureThreshold": 1},
        "livenessProbe": probe | {"failureThreshold": health.retries},
    }
    if health.start:
        tries = health.retries + math.ceil(health.start / health.every)
        probes["startupProbe"] = probe | {"failureThreshold": tries}
    return probes


def _probe(health: Health, workload: Workload) -> dict[str, Any]:
    if health.command is not None:
        return {"exec": {"command": list(health.command)}}
    if health.tcp is not None:
        host, _, port = health.tcp.rpartition(":")
        return {"tcpSocket": {"host": host.strip("[]"), "port": int(port)}}
    try:
        url = urlsplit(health.http or "")
        port_number = url.port or 80
    except ValueError as error:
        raise InputError(
            "deploy.beyond-target",
            f"the address in the health check of {workload.name} is not valid ({error})",
            place=workload.container.place,
            hint="write http://HOST:PORT/PATH",
        ) from error
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    return {"httpGet": {"host": url.hostname, "port": port_number, "path": path}}


def _limits(config: ContainerConfig, cluster: Cluster) -> dict[str, str]:
    resources, limits = config.resources, {}
    if resources is not None and resources.memory is not None and resources.memory.limit:
        limits["memory"] = str(resources.memory.limit)
    if resources is not None and resources.cpu is not None and resources.cpu.quota:
        thousandths = resources.cpu.quota * 1000 // (resources.cpu.period or 100_000)
        limits["cpu"] = f"{max(thousandths, 1)}m"
    if cluster.device_plugin is not None:
        for device in config.devices or ():
            limits[f"{cluster.device_plugin}/{_resource(device.path)}"] = "1"
    return limits


def _resource(device: str) -> str:
    """Return the resource name of a device file in a device plugin."""
    return device.removeprefix("/dev/").replace("/", "-")
