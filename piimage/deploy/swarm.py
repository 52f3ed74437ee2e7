"""Services as a stack of Docker Swarm: a global service each, on the nodes with the board's label.

Source: docker/cli, "Compose file version 3 reference", and what ``docker stack config`` accepts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import yaml

from piimage.config.container import ContainerConfig, Health
from piimage.config.values import parse_size
from piimage.container.capabilities import capabilities_of
from piimage.deploy.cluster import (
    BOARD_LABEL,
    Cluster,
    binds,
    dns_name,
    image_name,
    in_memory,
    same_names,
)
from piimage.deploy.workloads import Workload, beyond, unsupported_settings
from piimage.errors import PiimageError, raise_all

TARGET: Final = "Docker Swarm"
_UNSUPPORTED: Final = (
    "ambient", "annotations", "cgroups_path", "devices", "gid_mappings", "masked_paths",
    "oom_score_adj", "readonly_paths", "rootfs_propagation", "runtime", "schedule", "uid_mappings",
    "userns",
)  # fmt: skip
_NETWORK: Final = "host"
_MONITOR_S: Final = 10
"""Seconds after a start in which a failure still undoes an update."""
_SIZE: Final = re.compile(r"size=([0-9]+[kmg]?)", re.IGNORECASE)
_RESTARTS: Final = {"always": "any", "on-failure": "on-failure", "no": "none"}


def render(workloads: Sequence[Workload], cluster: Cluster, existing: Iterable[str] = ()) -> str:
    """Return the stack file of `workloads`.

    `existing` are the services that the stack may already have. Raises InputError
    ``deploy.beyond-target`` for settings that Swarm does not support, and ``deploy.same-name`` for
    names that are equal there.
    """
    unsupported = (error for workload in workloads for error in _unsupported(workload))
    raise_all([*unsupported, *same_names(workloads, existing, TARGET)])
    document: dict[str, Any] = {
        "version": "3.9",
        "services": {dns_name(found.name): service(found, cluster) for found in workloads},
        "networks": {_NETWORK: {"external": True, "name": _NETWORK}},
    }
    secrets = sorted({name for found in workloads for name in found.config.secrets or ()})
    if secrets:
        document["secrets"] = {name: {"external": True} for name in secrets}
    return yaml.safe_dump(_escaped(document), sort_keys=False)


def limits_that_are_missing(workloads: Iterable[Workload]) -> Iterator[str]:
    """Yield a line for each limit and check of the file that Swarm does not have."""
    loose = [found.name for found in workloads if found.config.no_new_privileges]
    if loose:
        yield f"{TARGET} has no noNewPrivileges; without it run: {', '.join(loose)}"
    unchecked = [
        found.name for found in workloads
        if found.config.health is not None and found.config.health.command is None
    ]  # fmt: skip
    if unchecked:
        yield f"{TARGET} checks no http: and tcp:, so these are not checked: {', '.join(unchecked)}"


def _unsupported(workload: Workload) -> Iterator[PiimageError]:
    yield from unsupported_settings(workload, _UNSUPPORTED, TARGET)
    config = workload.config
    if config.net in ("none", "new"):
        yield beyond(workload, f"net: {config.net}", TARGET)
    for name in ("ipc", "pid", "uts"):
        if getattr(config, name) in ("host", "root"):
            yield beyond(workload, f"{name}: {getattr(config, name)}", TARGET)
    if config.seccomp != "default":
        yield beyond(workload, f"seccomp: {config.seccomp or 'unconfined'}", TARGET)
    if config.apparmor == "unconfined":
        yield beyond(workload, "apparmor: unconfined", TARGET)
    for target, options in in_memory(config):
        if any(text.startswith("size=") and not _SIZE.fullmatch(text) for text in options):
            yield beyond(workload, f"tmpfs: {target} with a share of the memory", TARGET)
    if workload.user.groups:
        yield beyond(workload, "additionalGids", TARGET)


def _escaped(value: object) -> Any:  # noqa: ANN401  # a tree of YAML
    """Return the tree with ``$`` doubled, which the Docker client would replace by variables."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    return [_escaped(item) for item in value] if isinstance(value, list) else value


def service(workload: Workload, cluster: Cluster) -> dict[str, Any]:
    """Return one service of the stack."""
    config, user = workload.config, workload.user
    found: dict[str, Any] = {
        "image": image_name(workload, cluster),
        "user": f"{user.uid}:{user.gid}",
        "networks": [_NETWORK],
        "read_only": bool(config.readonly),
        "cap_drop": ["ALL"],
        "stop_grace_period": f"{10 if config.stop_timeout is None else config.stop_timeout}s",
        "logging": _logging(config),
    }
    capabilities = [name.removeprefix("CAP_") for name in capabilities_of(config.capabilities)]
    optional = {
        "cap_add": capabilities,
        "entrypoint": config.command and list(config.command),
        "environment": config.env and list(config.env),
        "working_dir": config.cwd,
        "hostname": config.hostname,
        "volumes": list(_volumes(config)),
        "sysctls": config.sysctl and dict(config.sysctl),
        "ulimits": dict(map(_ulimit, config.rlimits or ())),
        "healthcheck": _check(config.health),
        "secrets": [
            {"source": name, "target": name, "uid": str(user.uid), "gid": str(user.gid),
             "mode": 0o400}
            for name in config.secrets or ()
        ],
    }  # fmt: skip
    found |= {key: value for key, value in optional.items() if value}
    return found | {"deploy": _deploy(config, cluster)}


def _deploy(config: ContainerConfig, cluster: Cluster) -> dict[str, Any]:
    policy = config.restart.policy if config.restart else "always"
    start = config.health.start if config.health is not None else 0
    careful = {"parallelism": 1, "order": "stop-first", "monitor": f"{start + _MONITOR_S}s"}
    found: dict[str, Any] = {
        "mode": "global",
        "labels": {"piimage.appliance": cluster.appliance},
        "placement": {"constraints": [f"node.labels.{BOARD_LABEL} == {cluster.board}"]},
        "restart_policy": {"condition": _RESTARTS[policy]},
        "update_config": {**careful, "failure_action": "rollback"},
        "rollback_config": careful,
    }
    resources = _resources(config)
    return found | ({"resources": resources} if resources else {})


def _resources(config: ContainerConfig) -> dict[str, Any]:
    resources = config.resources
    if resources is None:
        return {}
    limits: dict[str, Any] = {}
    if resources.memory is not None and resources.memory.limit:
        limits["memory"] = str(resources.memory.limit)
    if resources.cpu is not None and resources.cpu.quota:
        limits["cpus"] = f"{resources.cpu.quota / (resources.cpu.period or 100_000):.3f}"
    if resources.pids is not None and resources.pids.limit:
        limits["pids"] = resources.pids.limit
    found = {"limits": limits} if limits else {}
    if resources.memory is not None and resources.memory.reservation:
        found["reservations"] = {"memory": str(resources.memory.reservation)}
    return found


def _volumes(config: ContainerConfig) -> Iterator[dict[str, Any]]:
    for target, source, read_only in binds(config):
        bind: dict[str, Any] = {"type": "bind", "source": source, "target": target}
        yield bind | ({"read_only": True} if read_only else {})
    for target, options in in_memory(config):
        # Swarm knows the size alone; owner and mode are those of /tmp.
        sizes = [parse_size(found[1]) for text in options if (found := _SIZE.fullmatch(text))]
        size = {"tmpfs": {"size": sizes[-1]}} if sizes else {}
        yield {"type": "tmpfs", "target": target, **size}


def _ulimit(text: str) -> tuple[str, dict[str, int]]:
    name, soft, hard = (part.strip().lower() for part in text.split(","))
    soft_number, hard_number = (
        -1 if number == "unlimited" else int(number) for number in (soft, hard)
    )
    return name.removeprefix("rlimit_"), {"soft": soft_number, "hard": hard_number}


def _check(health: Health | None) -> dict[str, Any]:
    if health is None or health.command is None:
        return {}
    return {
        "test": ["CMD", *health.command],
        "interval": f"{health.every}s",
        "timeout": f"{health.timeout}s",
        "retries": health.retries,
        "start_period": f"{health.start}s",
    }


def _logging(config: ContainerConfig) -> dict[str, Any]:
    size, count = (config.log.size, config.log.count) if config.log else (256 * 1024, 4)
    return {"driver": "json-file", "options": {"max-size": str(size), "max-file": str(count)}}
