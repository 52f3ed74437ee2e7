"""The settings of a service for a Docker engine: the body of ``POST /containers/create``.

The limits are those of piimage's own system: no capability, the default seccomp profile, and a
read-only root, unless the file has other settings. Source: Docker Engine API 1.41, ContainerCreate.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from piimage.config.container import ContainerConfig, Health
from piimage.container.capabilities import administers, capabilities_of
from piimage.container.mounts import complete_mount
from piimage.container.seccomp import default_profile
from piimage.container.spec import MASKED, READ_ONLY
from piimage.deploy.workloads import Workload, unsupported_settings
from piimage.errors import PiimageError

TARGET: Final = "a Docker engine"
_UNSUPPORTED: Final = (
    "ambient", "annotations", "cgroups_path", "gid_mappings", "rootfs_propagation", "runtime",
    "schedule", "secrets", "uid_mappings", "userns",
)  # fmt: skip
_SECOND: Final = 1_000_000_000  # in nanoseconds, as the engine counts
_BIND_WORDS: Final = frozenset(
    {"ro", "rw", "shared", "slave", "private", "rshared", "rslave", "rprivate"}
)
_NEW: Final = {"network": "none", "ipc": "private", "uts": "", "pid": "", "cgroupns": "private"}


def unsupported(workload: Workload) -> Iterator[PiimageError]:
    """Yield an error for each setting of `workload` that a Docker engine does not support."""
    return unsupported_settings(workload, _UNSUPPORTED, TARGET)


def seccomp_profile(workload: Workload, architecture: str = "arm64") -> str | None:
    """Return the seccomp profile of `workload` as JSON; None if it has none.

    `architecture` is the engine's, whose system calls are filtered.
    """
    config = workload.config
    if config.seccomp == "default":
        names = set(capabilities_of(config.capabilities))
        return json.dumps(default_profile(names, architecture))
    if config.seccomp in (None, "unconfined"):
        return None
    return (workload.container.profile or b"").decode()


def create_body(
    workload: Workload, image: str, groups: Sequence[int], seccomp: str | None
) -> dict[str, Any]:
    """Return the request that creates a container of `image`.

    `groups` own the device nodes of the engine's machine. The engine does not change the nodes, so
    a service that does not run as root needs these groups. `seccomp` is the profile, or the path of
    its file if the engine reads files; None for no profile.
    """
    config, user = workload.config, workload.user
    body: dict[str, Any] = {
        "Image": image,
        "User": f"{user.uid}:{user.gid}",
        "Labels": {},
        "HostConfig": _host(workload, groups, seccomp),
    }
    if config.command is not None:
        body |= {"Entrypoint": list(config.command), "Cmd": []}
    if config.env is not None:
        body["Env"] = list(config.env)
    if config.cwd:
        body["WorkingDir"] = config.cwd
    if config.hostname:
        body["Hostname"] = config.hostname
    if config.stop_timeout is not None:
        body["StopTimeout"] = config.stop_timeout
    if config.health is not None and config.health.command is not None:
        body["Healthcheck"] = _check(config.health, config.health.command)
    return body


def _host(workload: Workload, groups: Sequence[int], seccomp: str | None) -> dict[str, Any]:
    config = workload.config
    powerful = administers(config)
    hidden = config.masked_paths if config.masked_paths is not None else () if powerful else MASKED
    only = config.readonly_paths
    only = only if only is not None else () if powerful else READ_ONLY
    host: dict[str, Any] = {
        "NetworkMode": _namespace(config.net, "network"),
        "IpcMode": _namespace(config.ipc, "ipc"),
        "CgroupnsMode": _namespace(config.cgroupns, "cgroupns"),
        "UTSMode": "" if config.hostname else _namespace(config.uts, "uts"),
        "PidMode": _namespace(config.pid or "new", "pid"),
        "ReadonlyRootfs": bool(config.readonly),
        "CapDrop": ["ALL"],
        "CapAdd": [name.removeprefix("CAP_") for name in capabilities_of(config.capabilities)],
        "SecurityOpt": list(_security(config, seccomp)),
        "MaskedPaths": list(hidden),
        "ReadonlyPaths": list(only),
        "GroupAdd": [str(group) for group in sorted({*workload.user.groups, *groups})],
        "Devices": [
            {
                "PathOnHost": device.path,
                "PathInContainer": device.path,
                "CgroupPermissions": "rw",
            }
            for device in config.devices or ()
        ],
        "Binds": [_bind(text) for text in config.binds or ()],
        "Mounts": [
            {"Type": "bind", "Source": mount["source"], "Target": mount["destination"],
             "ReadOnly": "ro" in mount.get("options", ())}
            for mount in map(complete_mount, config.mounts or ()) if mount["type"] == "bind"
        ],
        "Tmpfs": _tmpfs(config),
        "RestartPolicy": {"Name": _restart(config)},
        "LogConfig": _log(config),
        "Sysctls": dict(config.sysctl or {}),
        "Ulimits": [_ulimit(text) for text in config.rlimits or ()],
    }  # fmt: skip
    if config.oom_score_adj is not None:
        host["OomScoreAdj"] = config.oom_score_adj
    return host | _limits(workload)


def _namespace(value: str | None, kind: str) -> str:
    return "host" if value in (None, "host", "root") else _NEW[kind]


def _security(config: ContainerConfig, seccomp: str | None) -> Iterator[str]:
    if config.no_new_privileges:
        yield "no-new-privileges:true"
    yield f"seccomp={'unconfined' if seccomp is None else seccomp}"
    if config.apparmor == "unconfined":
        yield "apparmor=unconfined"


def _bind(text: str) -> str:
    """Return a bind with the options that an engine knows; the others are the engine's defaults."""
    source, target, *options = text.split(":")
    words = [word for word in (options[0].split(",") if options else ()) if word in _BIND_WORDS]
    return ":".join([source, target, *([",".join(words)] if words else [])])


def _tmpfs(config: ContainerConfig) -> dict[str, str]:
    filesystems = {}
    for text in config.tmpfs or ():
        destination, _, options = text.partition(":")
        filesystems[destination] = options
    for mount in map(complete_mount, config.mounts or ()):
        if mount["type"] == "tmpfs":
            filesystems[mount["destination"]] = ",".join(mount.get("options", ()))
    return filesystems


def _restart(config: ContainerConfig) -> str:
    policy = config.restart.policy if config.restart else "always"
    # `always` would restart a service that the user stopped, when the engine starts.
    return {"always": "unless-stopped"}.get(policy, policy)


def _log(config: ContainerConfig) -> dict[str, Any]:
    size, count = (config.log.size, config.log.count) if config.log else (256 * 1024, 4)
    return {"Type": "json-file", "Config": {"max-size": str(size), "max-file": str(count)}}


def _ulimit(text: str) -> dict[str, Any]:
    name, soft, hard = (part.strip() for part in text.split(","))
    number = {"unlimited": -1}
    return {
        "Name": name.lower().removeprefix("rlimit_"),
        "Soft": int(number.get(soft.lower(), soft)),
        "Hard": int(number.get(hard.lower(), hard)),
    }


def _limits(workload: Workload) -> dict[str, Any]:
    resources = workload.config.resources
    if resources is None:
        return {}
    memory, cpu = resources.memory, resources.cpu
    wanted: Mapping[str, Any] = {
        "Memory": memory and memory.limit,
        "MemoryReservation": memory and memory.reservation,
        "MemorySwap": memory and memory.swap,
        "CpuShares": cpu and cpu.shares,
        "CpuQuota": cpu and cpu.quota,
        "CpuPeriod": cpu and cpu.period,
        "CpusetCpus": cpu and cpu.cpus,
        "PidsLimit": resources.pids and resources.pids.limit,
    }
    return {name: value for name, value in wanted.items() if value}


def _check(health: Health, command: Sequence[str]) -> dict[str, Any]:
    return {
        "Test": ["CMD", *command],
        "Interval": health.every * _SECOND,
        "Timeout": health.timeout * _SECOND,
        "Retries": health.retries,
        "StartPeriod": health.start * _SECOND,
    }
