"""One container's ``config.json``: LinuxKit's meanings, piimage's secure defaults.

Sources: OCI runtime-spec 1.0.2 (config.md, config-linux.md); LinuxKit, docs/yaml.md. Beyond
LinuxKit: seccomp, protected paths, a PATH where none is set, and the image's own user (unless the
image carries LinuxKit's label, whose meaning is root).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface
from typing import Any, Final, Literal

from piimage.config.container import LABEL, ContainerConfig
from piimage.config.fields import rlimit_name
from piimage.config.resources import Resources
from piimage.container.bridge import ANY_PORT, hook, is_bridged
from piimage.container.capabilities import administers, capabilities_of
from piimage.container.mounts import (
    FoundDevice,
    all_mounts,
    binds_disks,
    device_rules,
    found_devices,
    has_user_namespace,
    made_devices,
    shares,
)
from piimage.container.profile import read_profile
from piimage.container.rootfs import ProcessUser, Root
from piimage.container.seccomp import LOADERS, default_profile, native_profile
from piimage.container.starts import faults, maps
from piimage.errors import InputError, PiimageError, raise_all
from piimage.oci.models import Execution

VERSION: Final = "1.0.2"
ROOTS: Final = "/run/piimage/rootfs"
_PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_UNLIMITED: Final = 2**64 - 1
_FIRST_ID: Final = 100
_BUSYBOX: Final = "/usr/bin/busybox"
_GROUP: Final = "io.containerd.runc.v2.group"
# systemd's defaults. A program that uses select(2) breaks with more than 1024 files, so the soft
# limit is low, and a program that can use more raises it (systemd.exec(5), LimitNOFILE=).
_OPEN_FILES: Final = "nofile,1024,524288"
# Container engines hide these from containers: the kernel's state, and interfaces to change it that
# check the user id only.
MASKED: Final = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
    "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
    "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
)  # fmt: skip
READ_ONLY: Final = (
    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
)  # fmt: skip

ContainerKind = Literal["onboot", "services", "onshutdown"]


@dataclass(frozen=True)
class Container:
    """One container of an appliance, with everything that its config.json depends on.

    `config` is merged and includes the defaults; `execution` is what the image says of its program;
    `folder` is the name of its folder in the containers layer (``NAME``, or ``NNN-NAME`` in a
    section whose order counts); `layers` are the digests of its layers, lowest first; `place` is
    where the YAML file names it, for messages.
    """

    name: str
    kind: ContainerKind
    folder: str
    config: ContainerConfig
    execution: Execution
    root: Root
    layers: tuple[str, ...]
    place: str
    profile: bytes | None = None
    """The seccomp profile's JSON, if `config.seccomp` names a file."""
    apparmor: str | None = None
    """The name of the AppArmor profile, which the Pi has loaded by then; None for none."""
    address: str | None = None
    """ADDRESS/PREFIX on the bridge, if it is there."""

    @property
    def devices(self) -> tuple[FoundDevice, ...]:
        """The devices whose numbers are looked up on the Pi."""
        return found_devices(self.config, f"{self.kind}/{self.folder}")


def container_ids(names: Sequence[str]) -> Mapping[str, int]:
    """Return the ids that `uid:` and `gid:` mean by a container's name, numbered as LinuxKit does.

    `names` are those of onboot, onshutdown and services, in this order.
    """
    return {name: _FIRST_ID + number for number, name in enumerate(names)}


def runtime_spec(
    container: Container, ids: Mapping[str, int], architecture: str = "arm64"
) -> dict[str, Any]:
    """Return the content of config.json.

    Raises InputError: ``oci.no-command`` if neither file nor image names a program, ``oci.user``
    for an unknown user, ``oci.seccomp`` for an invalid profile, and the faults of starts.py:
    ``oci.userns``, ``oci.hostname``, ``oci.sysctl``, ``oci.unsupported``.
    """
    config = container.config
    raise_all(fault.error(container.place) for fault in faults(config))
    user = run_as(container, ids)
    _require_mapped(container, user)
    spec: dict[str, Any] = {
        "ociVersion": VERSION,
        "process": _process(container, user),
        # The Pi mounts the root as `readonly:` says (container.env). runc would mount one that it
        # has to make read-only again, without nodev.
        "root": {"path": _root_path(container), "readonly": False},
        "mounts": all_mounts(
            config, container.devices, container.name, f"{container.kind}/{container.folder}"
        ),
        "linux": _linux(container, user, architecture),
    }
    if config.hostname:
        spec["hostname"] = config.hostname
    if hooks := _hooks(container):
        spec["hooks"] = hooks
    if annotations := _annotations(container):
        spec["annotations"] = annotations
    return spec


def _hooks(container: Container) -> dict[str, list[dict[str, Any]]]:
    """Return the programs that the runtime runs before the container's own."""
    hooks: dict[str, list[dict[str, Any]]] = {}
    if not has_user_namespace(container.config):
        hooks["createContainer"] = [_root_options(container)]
    if container.address is not None:
        hooks["createRuntime"] = [hook(IPv4Interface(container.address))]
    return hooks


def _require_mapped(container: Container, user: ProcessUser) -> None:
    """Refuse a user, of the image or by name, whom the mappings of the namespace leave out."""
    config = container.config
    for name, number, ranges in (
        ("user", user.uid, config.uid_mappings), ("group", user.gid, config.gid_mappings),
    ):  # fmt: skip
        if ranges and not maps(ranges, number):
            raise InputError(
                "oci.userns",
                f"{container.name} runs as {name} {number}, which is not mapped",
                place=container.place,
                hint="write `user:` with an id within the range: 0 to 65535 with userns: auto",
            )


def _root_path(container: Container) -> str:
    """Return where the Pi mounts the container's root."""
    return f"{ROOTS}/{container.kind}/{container.folder}"


def _root_options(container: Container) -> dict[str, Any]:
    """Return the hook that mounts the root again as the Pi mounted it, before it becomes ``/``.

    crun's mount of the root has no options: devices could be opened in it. In a user namespace the
    kernel lets nobody remove the options (mount_namespaces(7)).
    """
    options = f"remount,bind,nodev,{'ro' if container.config.readonly else 'rw'}"
    return {"path": _BUSYBOX, "args": ["mount", "-o", options, _root_path(container)]}


def _annotations(container: Container) -> dict[str, str]:
    """Return the file's annotations, and for a service that of its shim.

    containerd's shim serves all containers of a group in one process (containerd,
    runtime/v2/README.md and cmd/containerd-shim-runc-v2/manager).
    """
    own = {_GROUP: container.kind} if container.kind == "services" else {}
    return {**dict(container.config.annotations or {}), **own}


def run_as(container: Container, ids: Mapping[str, int]) -> ProcessUser:
    """Return the user and groups of the container's process."""
    config = container.config
    if config.user is not None:
        user = container.root.user(config.user, container.place)
    elif config.uid is not None or config.gid is not None:
        user = ProcessUser(_id(config.uid, ids, container), _id(config.gid, ids, container))
    elif container.execution.user and LABEL not in (container.execution.labels or {}):
        user = container.root.user(container.execution.user, container.place)
    else:
        user = ProcessUser()
    if config.additional_gids is not None:
        groups = tuple(_id(gid, ids, container) for gid in config.additional_gids)
        return ProcessUser(user.uid, user.gid, groups)
    return user


def _id(value: int | str | None, ids: Mapping[str, int], container: Container) -> int:
    if value in (None, "", "root"):
        return 0
    if isinstance(value, int):
        return value
    if value not in ids:
        raise InputError(
            "oci.user",
            f"no container is named {value!r}",
            place=container.place,
            hint="write a number or a container's name for uid and gid; "
            "for a user of the image, write `user:`",
        )
    return ids[value]


def _process(container: Container, user: ProcessUser) -> dict[str, Any]:
    config, execution = container.config, container.execution
    command = config.command
    if command is None:
        command = (*(execution.entrypoint or ()), *(execution.cmd or ()))
    if not command:
        raise InputError(
            "oci.no-command",
            f"{container.name} has no program to run",
            place=container.place,
            hint="the image names none: write `command: [PROGRAM, ARGUMENT…]`",
        )
    env = list(config.env if config.env is not None else execution.env or ())
    if not any(variable.startswith("PATH=") for variable in env):
        env.insert(0, _PATH)
    process: dict[str, Any] = {
        "terminal": False,
        "user": {"uid": user.uid, "gid": user.gid},
        "args": list(command),
        "env": env,
        "cwd": _cwd(config.cwd or execution.working_dir or "/"),
        "capabilities": _capability_sets(config),
        "noNewPrivileges": bool(config.no_new_privileges),
    }
    if container.apparmor is not None:
        process["apparmorProfile"] = container.apparmor
    if user.groups:
        process["user"]["additionalGids"] = list(user.groups)
    process["rlimits"] = [_rlimit(text) for text in _limits(config)]
    if config.oom_score_adj is not None:
        process["oomScoreAdj"] = config.oom_score_adj
    return process


def _cwd(text: str) -> str:
    """Return an absolute path, as runc requires; an image may have one relative to its root."""
    return f"/{text.lstrip('/')}"


def _capability_sets(config: ContainerConfig) -> dict[str, list[str]]:
    """Return the five sets of capabilities(7).

    Inheritable has the ambient capabilities only: others in it would bypass file capabilities
    (CVE-2022-29162).
    """
    effective = capabilities_of(config.capabilities)
    ambient = capabilities_of(config.ambient)
    every = sorted({*effective, *ambient})
    sets = {
        "bounding": every,
        "effective": effective,
        "inheritable": ambient,
        "permitted": every,
        "ambient": ambient,
    }
    return {name: members for name, members in sets.items() if members}


def _limits(config: ContainerConfig) -> tuple[str, ...]:
    """Return the limits of `config`, with the default for open files unless it has its own."""
    own = config.rlimits or ()
    return own if "NOFILE" in map(rlimit_name, own) else (*own, _OPEN_FILES)


def _rlimit(text: str) -> dict[str, Any]:
    name, soft, hard = (part.strip() for part in text.split(","))
    kind = f"RLIMIT_{name.upper().removeprefix('RLIMIT_')}"
    return {"type": kind, "soft": _limit(soft), "hard": _limit(hard)}


def _limit(text: str) -> int:
    return _UNLIMITED if text.lower() == "unlimited" else int(text)


def _linux(container: Container, user: ProcessUser, architecture: str) -> dict[str, Any]:
    config = container.config
    linux: dict[str, Any] = {
        "namespaces": _namespaces(container),
        "cgroupsPath": _cgroup(container),
        "resources": _resources(config.resources, device_rules(config)),
    }
    powerful = administers(config)
    masked = config.masked_paths if config.masked_paths is not None else () if powerful else MASKED
    only = config.readonly_paths
    only = only if only is not None else () if powerful else READ_ONLY
    optional = {
        "uidMappings": [ids.model_dump(by_alias=True) for ids in config.uid_mappings or ()],
        "gidMappings": [ids.model_dump(by_alias=True) for ids in config.gid_mappings or ()],
        "sysctl": _sysctl(config),
        "devices": made_devices(config, user.uid, user.gid),
        # crun makes the root private unless it is told otherwise.
        "rootfsPropagation": config.rootfs_propagation or ("slave" if binds_disks(config) else ""),
        "maskedPaths": list(masked),
        "readonlyPaths": list(only),
        "seccomp": _seccomp(container, architecture),
    }
    return linux | {name: value for name, value in optional.items() if value}


def _namespaces(container: Container) -> list[dict[str, str]]:
    config = container.config
    paths = {
        "network": _network(config),
        "ipc": config.ipc or "host",
        "cgroup": config.cgroupns or "host",
        "uts": config.uts or ("new" if config.hostname else "host"),
        "pid": config.pid or "new",
        "user": (config.userns or "new") if has_user_namespace(config) else "host",
        "mount": "new",
    }
    return [
        {"type": kind} | ({"path": path} if path != "new" else {})
        for kind, path in paths.items()
        if not shares(path, "host")
    ]


def _network(config: ContainerConfig) -> str:
    return "new" if config.net == "none" or is_bridged(config) else config.net or "host"


def _sysctl(config: ContainerConfig) -> dict[str, str]:
    """Return the settings of the namespaces: the ports of a network of its own are all free."""
    own = dict(config.sysctl or {})
    return {**(ANY_PORT if is_bridged(config) else {}), **own}


def _cgroup(container: Container) -> str:
    """Return the container's cgroup, which is always inside the appliance's own."""
    chosen = container.config.cgroups_path
    return f"/piimage/{chosen.strip('/') if chosen else f'{container.kind}/{container.folder}'}"


def _resources(resources: Resources | None, rules: list[dict[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if resources is not None:
        fields = resources.model_dump(
            mode="json", by_alias=True, exclude_none=True, exclude_defaults=True
        )
    if "blockio" in fields:
        fields["blockIO"] = fields.pop("blockio")
    # The file's own rules come last, because the last rule that matches counts.
    own = [{"access": "rwm"} | rule for rule in fields.get("devices", [])]
    return fields | {"devices": [*rules, *own]}


def _runs_32_bit(root: Root, architecture: str) -> bool:
    paths = (f"/lib/{loader}" for loader in LOADERS[architecture])
    return any(root.find(path)[1] is not None for path in paths)


def _seccomp(container: Container, architecture: str) -> Mapping[str, Any] | None:
    chosen = container.config.seccomp
    if chosen in (None, "unconfined"):
        return None
    if chosen == "default":
        names = capabilities_of(container.config.capabilities)
        profile = default_profile(
            {*names, *capabilities_of(container.config.ambient)}, architecture
        )
        return profile if _runs_32_bit(container.root, architecture) else native_profile(profile)
    try:
        return read_profile(container.profile or b"", chosen)
    except PiimageError as error:
        raise InputError(
            "oci.seccomp",
            f"{chosen} is not a seccomp profile: {error.message}",
            place=container.place,
            hint="write the `linux.seccomp` object of the OCI runtime specification",
        ) from error
