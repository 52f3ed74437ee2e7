"""Services as Kubernetes manifests: a DaemonSet each, on the nodes that carry the board's label.

Sources: Kubernetes API, apps/v1 DaemonSet and core/v1 PodSpec; Pod Security Standards.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from piimage.config.container import ContainerConfig, Health
from piimage.container.capabilities import capabilities_of
from piimage.container.mounts import complete_mount
from piimage.deploy.workloads import Workload, beyond, refusals
from piimage.errors import InputError, PiimageError, raise_all

TARGET: Final = "Kubernetes"
BOARD_LABEL: Final = "piimage.board"
_UNKNOWN: Final = (
    "ambient", "annotations", "cgroups_path", "gid_mappings", "masked_paths", "oom_score_adj",
    "readonly_paths", "rlimits", "rootfs_propagation", "runtime", "uid_mappings", "userns",
)  # fmt: skip


@dataclass(frozen=True)
class Cluster:
    """Where the manifests are for.

    `registry` is what image names begin with, such as ``registry.local:5000/greenhouse``;
    `device_plugin` the domain of a device plugin (``DOMAIN/i2c-1: 1``), without which a container
    with devices has to be privileged: the kubelet opens no device by itself.
    """

    board: str
    appliance: str
    registry: str
    device_plugin: str | None = None


def render(workloads: Sequence[Workload], cluster: Cluster, beside: Iterable[str] = ()) -> str:
    """Return the manifests of `workloads` as YAML.

    `beside` names the services that may be in the cluster already. Raises InputError
    ``deploy.beyond-target`` for all that a pod cannot be told, and ``deploy.same-name`` for names
    that Kubernetes would not tell apart.
    """
    beyond_it = (error for one in workloads for error in _cannot(one))
    raise_all([*beyond_it, *_same_names(workloads, beside), *_same_devices(workloads, cluster)])
    return yaml.safe_dump_all(
        (daemon_set(one, cluster) for one in workloads), sort_keys=False, explicit_start=True
    )


def _same_names(workloads: Sequence[Workload], beside: Iterable[str]) -> Iterator[InputError]:
    """Give an error for each service whose name there is that of another one."""
    known: dict[str, str] = {}
    for name in beside:
        known.setdefault(_dns(name), name)
    for one in workloads:
        other = known.setdefault(_dns(one.name), one.name)
        if other != one.name:
            yield _same(one, f"the services {other} and {one.name}", _dns(one.name))


def _same_devices(workloads: Sequence[Workload], cluster: Cluster) -> Iterator[InputError]:
    """Give an error for each device that a plugin would count as another one."""
    if cluster.device_plugin is None:
        return
    known: dict[str, str] = {}
    for one in workloads:
        for device in one.config.devices or ():
            other = known.setdefault(_resource(device.path), device.path)
            if other != device.path:
                yield _same(one, f"the devices {other} and {device.path}", _resource(device.path))


def _same(workload: Workload, what: str, name: str) -> InputError:
    return InputError(
        "deploy.same-name",
        f"{what} would both be {name} in {TARGET}",
        place=workload.container.place,
        hint="rename one of them: there, names have small letters, digits and '-' alone",
    )


def _cannot(workload: Workload) -> Iterator[PiimageError]:
    yield from refusals(workload, _UNKNOWN, TARGET)
    config = workload.config
    for name in ("net", "ipc", "uts", "pid"):
        if (getattr(config, name) or "").startswith("/"):
            yield beyond(workload, f"{name}: a path", TARGET)
    if config.net in ("none", "new"):
        yield beyond(workload, f"net: {config.net}", TARGET)
    if config.restart is not None and config.restart.policy != "always":
        yield beyond(workload, f"restart: {config.restart.policy}", TARGET)
    if config.seccomp not in (None, "default", "unconfined"):
        yield beyond(workload, "seccomp: a file", TARGET)
    for device in config.devices or ():
        if device.path == "all" or device.major is not None:
            yield beyond(workload, f"devices: {device.path} by number", TARGET)
    for mount in config.mounts or ():
        if complete_mount(mount)["type"] not in ("bind", "tmpfs"):
            yield beyond(workload, f"mounts: type {mount.type}", TARGET)


def image_name(workload: Workload, cluster: Cluster) -> str:
    """Return the image's name in the registry, by digest."""
    return (
        f"{cluster.registry.rstrip('/')}/{_dns(workload.name)}@{workload.image.descriptor.digest}"
    )


def daemon_set(workload: Workload, cluster: Cluster) -> dict[str, Any]:
    """Return the DaemonSet of one service."""
    name = _dns(workload.name)
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
    found: dict[str, Any] = {}
    if workload.user.groups:
        found["supplementalGroups"] = list(workload.user.groups)
    if workload.config.sysctl:
        found["sysctls"] = [
            {"name": name, "value": value} for name, value in workload.config.sysctl.items()
        ]
    return found


def _container(
    workload: Workload, cluster: Cluster, mounts: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    config = workload.config
    container: dict[str, Any] = {
        "name": _dns(workload.name),
        "image": image_name(workload, cluster),
        "securityContext": _security(workload, cluster),
    }
    if config.command is not None:
        container["command"] = list(config.command)
    if config.env is not None:
        pairs = (text.partition("=") for text in config.env)
        # $(NAME) would be replaced by the kubelet.
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
    if config.devices and cluster.device_plugin is None:
        # Privileged is the one way to a device without a plugin; it excludes the next field.
        return context | {"privileged": True}
    return context | {"allowPrivilegeEscalation": not config.no_new_privileges}


def _capabilities(config: ContainerConfig) -> dict[str, list[str]]:
    names = [name.removeprefix("CAP_") for name in capabilities_of(config.capabilities)]
    return {"drop": ["ALL"]} | ({"add": names} if names else {})


def _volumes(
    config: ContainerConfig, cluster: Cluster
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Give each mount of the container with the pod's volume behind it."""
    for number, (target, source, read_only) in enumerate(_binds(config)):
        name = f"bind-{number}"
        mount = {"name": name, "mountPath": target, "readOnly": read_only}
        yield mount, {"name": name, "hostPath": {"path": source}}
    for number, target in enumerate(_memory(config)):
        name = f"memory-{number}"
        yield {"name": name, "mountPath": target}, {"name": name, "emptyDir": {"medium": "Memory"}}
    if cluster.device_plugin is not None:
        return
    for number, device in enumerate(config.devices or ()):
        name = f"device-{number}"
        kind = "BlockDevice" if device.type == "b" else "CharDevice"
        host = {"path": device.path, "type": kind}
        yield {"name": name, "mountPath": device.path}, {"name": name, "hostPath": host}


def _binds(config: ContainerConfig) -> Iterator[tuple[str, str, bool]]:
    for text in config.binds or ():
        source, target, *options = text.split(":")
        yield target, source, bool(options) and "ro" in options[0].split(",")
    for mount in map(complete_mount, config.mounts or ()):
        if mount["type"] == "bind":
            yield mount["destination"], mount["source"], "ro" in mount.get("options", ())


def _memory(config: ContainerConfig) -> Iterable[str]:
    yield from (text.partition(":")[0] for text in config.tmpfs or ())
    for mount in map(complete_mount, config.mounts or ()):
        if mount["type"] == "tmpfs":
            yield mount["destination"]


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
            f"the health check of {workload.name} has no usable address ({error})",
            place=workload.container.place,
            hint="write http://HOST:PORT/PATH",
        ) from error
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    return {"httpGet": {"host": url.hostname, "port": port_number, "path": path}}


def _limits(config: ContainerConfig, cluster: Cluster) -> dict[str, str]:
    resources, found = config.resources, {}
    if resources is not None and resources.memory is not None and resources.memory.limit:
        found["memory"] = str(resources.memory.limit)
    if resources is not None and resources.cpu is not None and resources.cpu.quota:
        thousandths = resources.cpu.quota * 1000 // (resources.cpu.period or 100_000)
        found["cpu"] = f"{max(thousandths, 1)}m"
    if cluster.device_plugin is not None:
        for device in config.devices or ():
            found[f"{cluster.device_plugin}/{_resource(device.path)}"] = "1"
    return found


def _resource(device: str) -> str:
    """Return what a device plugin calls a device file."""
    return device.removeprefix("/dev/").replace("/", "-")


def _dns(name: str) -> str:
    """Return `name` as a DNS label, which is what Kubernetes takes for a name (RFC 1123)."""
    return name.lower().replace("_", "-").replace(".", "-").strip("-")[:63]
