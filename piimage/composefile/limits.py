"""Converts the limits of a Compose service, and how it is stopped.

Source: the Compose specification, "Services top-level elements".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from piimage.composefile.service import Converter, Service, simple
from piimage.composefile.values import (
    as_written,
    mapping,
    seconds,
    size,
    texts,
)


def _cpus(value: Any, service: Service) -> None:  # noqa: ANN401
    if float(as_written(value)) > 0:
        service.limit("cpu", quota=round(float(as_written(value)) * 100_000), period=100_000)


def _limit(kind: str, name: str, convert: Callable[[Any], object]) -> Converter:
    def converted(value: Any, service: Service) -> None:  # noqa: ANN401
        service.limit(kind, **{name: convert(value)})

    return converted


def _pids(value: Any, service: Service) -> None:  # noqa: ANN401
    if int(value) > 0:
        service.limit("pids", limit=int(value))


def _deploy(value: Any, service: Service) -> None:  # noqa: ANN401
    resources = value.get("resources") or {}
    limits, kept = resources.get("limits") or {}, resources.get("reservations") or {}
    for key, limit in (
        ("cpus", limits.get("cpus")),
        ("mem_limit", limits.get("memory")),
        ("pids_limit", limits.get("pids")),
        ("mem_reservation", kept.get("memory")),
    ):
        if limit is not None:
            CONVERTERS[key](limit, service)
    if kept.get("devices"):
        service.note("deploy.resources: name the devices of the Pi in devices:")
    if condition := (value.get("restart_policy") or {}).get("condition"):
        policies = {"any": "always", "none": "no"}
        service.entry["restart"] = policies.get(condition, condition)
    if int(value.get("replicas", 1)) > 1:
        service.note("deploy.replicas: ignored; one instance of a service runs")


def _ulimits(value: Any, service: Service) -> None:  # noqa: ANN401
    for name, limit in value.items():
        two = isinstance(limit, Mapping)
        soft, hard = (limit["soft"], limit["hard"]) if two else (limit, limit)
        both = ",".join("unlimited" if int(n) == -1 else str(int(n)) for n in (soft, hard))
        service.add("rlimits", f"{name},{both}")


def _shm_size(value: Any, service: Service) -> None:  # noqa: ANN401
    service.add("tmpfs", f"/dev/shm:size={as_written(size(value)).lower()}")  # noqa: S108  # in the container


def _tmpfs(value: Any, service: Service) -> None:  # noqa: ANN401
    service.add("tmpfs", *texts(value))


def _logging(value: Any, service: Service) -> None:  # noqa: ANN401
    options = value.get("options") or {}
    log: dict[str, Any] = {}
    if "max-size" in options:
        log["size"] = size(options["max-size"])
    if "max-file" in options:
        log["count"] = int(options["max-file"])
    if log:
        service.entry["log"] = log
    if value.get("driver") not in (None, "json-file", "local"):
        service.note(f"logging: the driver {value['driver']} is ignored; logs stay on the Pi")


def _stop_grace_period(value: Any, service: Service) -> None:  # noqa: ANN401
    wanted = seconds(value)
    service.entry["stop_timeout"] = f"{min(wanted, 45)}s"
    if wanted > 45:
        service.note(f"stop_grace_period: a service has 45 s to stop, not {wanted} s")


def _stop_signal(value: Any, service: Service) -> None:  # noqa: ANN401
    if value not in ("SIGTERM", "TERM", 15):
        service.note(f"stop_signal: a service is stopped with SIGTERM, not with {value}")


def _sysctls(value: Any, service: Service) -> None:  # noqa: ANN401
    for name, text in mapping(value).items():
        if not name.startswith("net."):
            service.entry.setdefault("sysctl", {})[name] = text
            continue
        service.sysctl[name] = text
        service.note(
            f"sysctls: {name} applies to the whole Pi, because services share its network"
            if service.folder is not None
            else f'sysctl: {{{name}: "{text}"}} at the top level'
        )


def _group_add(value: Any, service: Service) -> None:  # noqa: ANN401
    for group in texts(value):
        if group.isdecimal():
            service.add("additionalGids", int(group))
        else:
            service.note(f"group_add: {group}: add its number to additionalGids")


def _platform(value: Any, service: Service) -> None:  # noqa: ANN401
    if not as_written(value).startswith(("linux/arm64", "linux/aarch64")):
        service.note(f"platform: {value}: a Pi runs linux/arm64")


CONVERTERS: Final[Mapping[str, Converter]] = {
    "annotations": simple("annotations", mapping),
    "cgroup_parent": simple("cgroupsPath", as_written),
    "cpu_period": _limit("cpu", "period", int),
    "cpu_quota": _limit("cpu", "quota", int),
    "cpu_shares": _limit("cpu", "shares", int),
    "cpus": _cpus,
    "cpuset": _limit("cpu", "cpus", as_written),
    "deploy": _deploy,
    "group_add": _group_add,
    "labels": simple("annotations", mapping),
    "logging": _logging,
    "mem_limit": _limit("memory", "limit", size),
    "mem_reservation": _limit("memory", "reservation", size),
    "memswap_limit": _limit("memory", "swap", size),
    "oom_score_adj": simple("oomScoreAdj", int),
    "pids_limit": _pids,
    "platform": _platform,
    "shm_size": _shm_size,
    "stop_grace_period": _stop_grace_period,
    "stop_signal": _stop_signal,
    "sysctls": _sysctls,
    "tmpfs": _tmpfs,
    "ulimits": _ulimits,
}
"""The converters by key."""
