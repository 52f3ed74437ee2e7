"""The configuration of a container: LinuxKit's image fields and piimage's own.

One model serves three places: an entry of the YAML, a container folder's `config:`, and the label
``org.mobyproject.config`` of an image. A field that is None is not set; `merge` combines the
fields that the three places set. Source of the fields and their meaning: LinuxKit's
docs/yaml.md, src/cmd/linuxkit/moby/{schema,config}.go; and the OCI runtime specification.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, model_validator

from piimage.config.deferred import Deferred
from piimage.config.device import Device, IdMapping
from piimage.config.fields import (
    Bind,
    Capabilities,
    ControlGroup,
    HiddenPath,
    Identity,
    Namespace,
    NetworkNamespace,
    Program,
    Rlimits,
    TmpfsMount,
    UserName,
    UserNamespace,
    Variable,
)
from piimage.config.ports import Port
from piimage.config.secret import SecretName
from piimage.config.values import (
    AbsolutePath,
    Backoff,
    BackoffRange,
    Duration,
    HostName,
    Interval,
    Name,
    Part,
    ShortPart,
    Size,
    StopTimeout,
    Texts,
    form,
    key_of,
    problem,
    quoted,
)

_MOST_PORT: Final = 65535
LABEL: Final = "org.mobyproject.config"
"""The image label that carries a ContainerConfig as JSON."""

PROFILE_WORDS: Final = (None, "default", "unconfined")
"""The values of `seccomp` and `apparmor` that do not name a file."""

if TYPE_CHECKING:
    from piimage.config.resources import Resources
    from piimage.config.runtime import Mount, Runtime
    from piimage.config.schedule import Schedule
else:  # few files need them, and each class takes time to create
    Mount = Annotated[Any, Deferred("piimage.config.runtime", "Mount")]
    Resources = Annotated[Any, Deferred("piimage.config.resources", "Resources")]
    Runtime = Annotated[Any, Deferred("piimage.config.runtime", "Runtime")]
    Schedule = Annotated[Any, Deferred("piimage.config.schedule", "Schedule")]


SettingName = Annotated[
    str, *form(r"[A-Za-z_][A-Za-z0-9_]*", "setting name", "letters, digits and _")
]


class Restart(ShortPart):
    """When a service is restarted, and after which delay."""

    short_key = "policy"

    policy: Literal["always", "on-failure", "no"] = Field(
        default="always", description="When a service that has exited is restarted."
    )
    backoff: BackoffRange = Field(
        default=Backoff(1, 60),
        description="Delay before a restart, FIRST..MOST; it doubles each time.",
    )


def _compose_check(command: tuple[str, ...]) -> tuple[str, str]:
    """Return the message for a health check in Compose's form, and the equivalent line."""
    from piimage.composefile.values import health_command  # noqa: PLC0415  # only errors need it

    if command[0] == "NONE":
        return "'NONE' is not a program", "no `health:`"
    line = json.dumps(health_command(list(command)), ensure_ascii=False)
    return f"{command[0]!r} is a keyword of Compose, not a program", f"command: {line}"


def _port(value: str) -> str:
    if not 1 <= int(value.rpartition(":")[2]) <= _MOST_PORT:
        raise problem(f"{quoted(value)} has no valid port", f"a port from 1 to {_MOST_PORT}")
    return value


def _port_of_url(value: str) -> str:
    match = re.match(r"http://[^/?#]*:([0-9]*)(?:[/?#]|$)", value, re.ASCII)
    if match:
        _port(f":{match[1] or 80}")
    return value


class Health(Part):
    """A health check of a service, of exactly one of three kinds."""

    http: (
        Annotated[
            str,
            *form(r"http://[^\s]+", "health check URL", "http://HOST:PORT/PATH"),
            AfterValidator(_port_of_url),
        ]
        | None
    ) = Field(
        default=None,
        description="Healthy if this URL answers with a status from 200 to 204, also after "
        "redirects.",
    )
    tcp: (
        Annotated[
            str,
            *form(r"[^\s:]+:[0-9]{1,5}|\[[0-9a-fA-F:]+\]:[0-9]{1,5}", "address", "HOST:PORT"),
            AfterValidator(_port),
        ]
        | None
    ) = Field(default=None, description="Healthy if this address accepts a connection.")
    command: Annotated[Program, Field(min_length=1)] | None = Field(
        default=None, description="Healthy if this program, run in the container, exits with 0."
    )
    every: Interval = Field(default=30, description="Time between two checks.")
    timeout: Interval = Field(default=5, description="A check that takes longer than this fails.")
    retries: int = Field(
        default=3,
        ge=1,
        description="Number of failures in a row after which the service is unhealthy.",
    )
    start: Duration = Field(
        default=60, description="Failures within this time after the start do not count."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = [way for way in ("http", "tcp", "command") if getattr(self, way) is not None]
        if len(ways) != 1:
            kinds = " and ".join(ways) if ways else "no target"
            raise problem(f"a health check with {kinds}", "exactly one of http, tcp, command")
        if self.command and self.command[0] in ("CMD", "CMD-SHELL", "NONE"):
            raise problem(*_compose_check(self.command))
        if self.timeout > self.every:
            raise problem(
                "timeout is longer than every, the time between checks", "timeout <= every"
            )
        return self


class Log(Part):
    """The limits of a service's log, and where it is kept."""

    size: Size = Field(default=256 * 1024, ge=4096, description="Size of one log file.")
    count: int = Field(default=4, ge=1, le=100, description="Number of log files that are kept.")
    keep: Literal["memory", "data"] = Field(
        default="memory",
        description="memory: the log ends when the Pi stops; data: it is kept on the data "
        "partition and survives a restart. Each line is written, which wears a card.",
    )


class BeforeUpdate(Part):
    """A command that a service runs before the system is updated."""

    command: Annotated[Program, Field(min_length=1)] = Field(
        description="Program and arguments, run in the container. The update is refused, with what "
        "it printed, unless it exits with 0."
    )
    timeout: Annotated[Interval, Field(le=600)] = Field(
        default=60, description="The update is refused if the command takes longer; at most 10m."
    )


class ContainerConfig(Part):
    """The configuration of one container. None means not set, so a lower place decides."""

    capabilities: Capabilities | None = Field(
        default=None, description="Capabilities, instead of the image's; or [all], or [none]."
    )
    capabilities_add: Capabilities | None = Field(
        default=None, description="Capabilities in addition to the image's."
    )
    ambient: Capabilities | None = Field(default=None, description="Ambient capabilities.")
    binds: tuple[Bind, ...] | None = Field(
        default=None, description="SOURCE:DESTINATION[:OPTIONS], instead of the image's binds."
    )
    binds_add: tuple[Bind, ...] | None = Field(
        default=None, description="Binds in addition to the image's."
    )
    mounts: tuple[Mount, ...] | None = Field(
        default=None,
        description="Mounts; a mount at the destination of a default mount replaces it.",
    )
    tmpfs: tuple[TmpfsMount, ...] | None = Field(
        default=None,
        description="/DESTINATION[:OPTIONS]; without `mode=`, every user may write there.",
    )
    devices: tuple[Device, ...] | None = Field(
        default=None, description="Device nodes: /dev/NAME, or path, type, major, minor, mode."
    )
    command: Program | None = Field(
        default=None, description="The program and its arguments, instead of the image's."
    )
    env: tuple[Variable, ...] | None = Field(
        default=None,
        description="Environment variables, NAME=VALUE, in addition to those of the image or "
        "folder; a variable of the same name is replaced. In a file with `init:`, as LinuxKit's "
        "files have it, they replace the image's whole environment.",
    )
    settings: tuple[SettingName, ...] | None = Field(
        default=None,
        description="Settings of the card (`piimage flash --set NAME=VALUE`) that the container "
        "gets as environment variables; they override `env`.",
    )
    secrets: tuple[SecretName, ...] | None = Field(
        default=None,
        description="Secrets that the container finds as files /run/secrets/NAME. Their values are "
        "set by `piimage secret set`, or `piimage flash --secret NAME=FILE`.",
    )
    cwd: AbsolutePath | None = Field(default=None, description="Working directory.")
    net: NetworkNamespace | None = Field(
        default=None,
        description="host (default): the Pi's network; bridge: an address of its own on the Pi's "
        "bridge, from which it reaches the network and the other containers there; internal: the "
        "same without a way out of the Pi; none or new: an empty network; or the path of one.",
    )
    ports: tuple[Port, ...] | None = Field(
        default=None,
        description="With `net: bridge` or `internal`: ports of the Pi that lead to the container, "
        "[ADDRESS:]PORT:CONTAINER_PORT[/udp], by IPv4. 127.0.0.1 as ADDRESS: for the Pi itself.",
    )
    ipc: Namespace | None = Field(
        default=None,
        description="new (default), host, or a path. With LinuxKit's label the default is host.",
    )
    cgroupns: Namespace | None = Field(
        default=None,
        description="Cgroup namespace: new (default), host, or a path. With LinuxKit's label the "
        "default is host.",
    )
    uts: Namespace | None = Field(default=None, description="host (default), new, or a path.")
    pid: Namespace | None = Field(default=None, description="new (default), host, or a path.")
    userns: UserNamespace | None = Field(
        default=None,
        description="host (default); auto: the container's root and users are users of the Pi that "
        "nobody else has; new, with `uidMappings` and `gidMappings`; or a path.",
    )
    uid_mappings: tuple[IdMapping, ...] | None = Field(
        default=None, description="User ids of `userns`."
    )
    gid_mappings: tuple[IdMapping, ...] | None = Field(
        default=None, description="Group ids of `userns`."
    )
    readonly: bool | None = Field(
        default=None,
        description="true: the root file system is read-only (default, unless the image has "
        "LinuxKit's label); false: it is writable, in memory.",
    )
    masked_paths: tuple[HiddenPath, ...] | None = Field(
        default=None, description="Paths that the container cannot see."
    )
    readonly_paths: tuple[HiddenPath, ...] | None = Field(
        default=None, description="Paths that the container can only read."
    )
    no_new_privileges: bool | None = Field(
        default=None, description="Set-user-ID programs do not gain privileges (default true)."
    )
    hostname: HostName | None = Field(default=None, description="Host name in a new `uts`.")
    oom_score_adj: int | None = Field(
        default=None,
        ge=-1000,
        le=1000,
        description="-1000 to 1000; the kernel kills higher values first when memory runs out.",
    )
    annotations: Texts | None = Field(
        default=None, description="Annotations of the OCI specification."
    )
    sysctl: Texts | None = Field(
        default=None, description="Kernel settings in the container's namespaces."
    )
    cgroups_path: ControlGroup | None = Field(
        default=None, description="The container's cgroup, below the appliance's own."
    )
    rootfs_propagation: Literal["shared", "slave", "private"] | None = Field(
        default=None, description="shared: mounts made in the container are visible outside."
    )
    uid: Identity | None = Field(default=None, description="User id, or the name of a container.")
    gid: Identity | None = Field(default=None, description="Group id, or the name of a container.")
    additional_gids: tuple[Identity, ...] | None = Field(
        default=None, description="Further group ids."
    )
    rlimits: Rlimits | None = Field(default=None, description="NAME,SOFT,HARD.")
    resources: Resources | None = Field(default=None, description="Limits by cgroup.")
    runtime: Runtime | None = Field(
        default=None, description="Actions around the start of the container."
    )

    restart: Restart | None = Field(
        default=None, description="When a service is restarted, and after which delay."
    )
    after: tuple[Name, ...] | None = Field(
        default=None,
        description="Services that must be healthy (without a check: run) before this one starts.",
    )
    health: Health | None = Field(default=None, description="Health check of the service.")
    schedule: Schedule | None = Field(
        default=None,
        description="The service is not kept running: it runs at these times, or after each "
        "period, and ends.",
    )
    seccomp: str | None = Field(
        default=None,
        description="default, unconfined, or the path of a profile (OCI, JSON).",
    )
    apparmor: str | None = Field(
        default=None,
        description="default (unless the container has CAP_SYS_ADMIN), unconfined, or the path of "
        "an AppArmor profile.",
    )
    user: UserName | None = Field(
        default=None, description="USER[:GROUP], by name in the image or by number."
    )
    required: bool | None = Field(
        default=None, description="onboot: a failure stops the boot (default false)."
    )
    timeout: Duration | None = Field(
        default=None,
        description="onboot, onshutdown, and services with `schedule`: the container is stopped "
        "after this time; 0 for never.",
    )
    stop_timeout: StopTimeout | None = Field(
        default=None,
        description="Time between SIGTERM and SIGKILL when a service is stopped; at most 45s.",
    )
    before_update: BeforeUpdate | None = Field(
        default=None,
        description="Command that may refuse an update of the system, or copy the service's data "
        "before it.",
    )
    log: Log | None = Field(
        default=None, description="Limits of the service's log, and where it is kept."
    )
    control: bool | None = Field(
        default=None,
        description="true: the container may have services of this Pi restarted, stopped and "
        "started, by lines such as `restart NAME` that it writes to the pipe /run/control/events.",
    )
    system: bool | None = Field(
        default=None,
        description="true: the container serves piimage's own system, and `deploy` to a Docker "
        "engine or Kubernetes leaves it out (default: true if it binds a folder of that system, "
        "or has `control: true`).",
    )

    @model_validator(mode="after")
    def _one_identity(self) -> Self:
        if self.user is not None and (self.uid is not None or self.gid is not None):
            raise problem("user together with uid or gid", "either user, or uid and gid")
        return self


CONFIG_KEYS: Final = tuple(key_of(name) for name in ContainerConfig.model_fields)
"""The YAML keys of a ContainerConfig."""

# Each `.add` field and the list that it extends.
_EXTENSIONS: Final = {"capabilities_add": "capabilities", "binds_add": "binds"}
# A field that is set in a higher place resets these fields of lower places.
_RIVALS: Final[Mapping[str, tuple[str, ...]]] = {
    "user": ("uid", "gid"), "uid": ("user",), "gid": ("user",),
    "schedule": ("restart", "health", "before_update"),
    **dict.fromkeys(("restart", "health", "before_update"), ("schedule",)),
}  # fmt: skip


def secure_defaults() -> ContainerConfig:
    """Return the defaults of a container."""
    return ContainerConfig(
        capabilities=(),
        seccomp="default",
        no_new_privileges=True,
        readonly=True,
        ipc="new",
        cgroupns="new",
    )


def linuxkit_defaults() -> ContainerConfig:
    """Return the defaults for an image with LinuxKit's label, which expects a writable root."""
    return ContainerConfig(
        capabilities=(), seccomp="default", no_new_privileges=True, readonly=False
    )


def merge(*places: ContainerConfig | None) -> ContainerConfig:
    """Merge the configurations of `places`, the lowest first: defaults, label, folder, entry.

    LinuxKit's rule: a field of a higher place replaces that of a lower one, lists included; `.add`
    extends the lower list; `runtime` is merged field by field. The result has no `.add` fields,
    and `none` is an empty list in it.
    """
    merged: dict[str, Any] = {}
    for place in places:
        for name, value in _set_fields(place) if place else ():
            for rival in _RIVALS.get(name, ()):
                merged.pop(rival, None)
            if name in _EXTENSIONS:
                plain = _EXTENSIONS[name]
                merged[plain] = _extended(merged.get(plain, ()), value)
            elif name == "runtime":
                merged[name] = _merge_runtime(merged.get(name), value)
            else:
                merged[name] = () if value == ("none",) else value
    return ContainerConfig.model_construct(**merged)


def _set_fields(part: BaseModel) -> Iterator[tuple[str, Any]]:
    """Give the fields that are set; lists before the fields that extend them, uid before user."""
    model = ContainerConfig if isinstance(part, ContainerConfig) else type(part)
    for name in model.model_fields:
        value = getattr(part, name)
        if value is not None:
            yield name, value


def _extended(lower: tuple[str, ...], added: tuple[str, ...]) -> tuple[str, ...]:
    if "all" in (*lower, *added):
        return ("all",)
    return (*lower, *(name for name in added if name not in lower and name != "none"))


def _merge_runtime(lower: Runtime | None, higher: Runtime) -> Runtime:
    if lower is None:
        return higher
    merged = dict(_set_fields(lower)) | dict(_set_fields(higher))
    if lower.bind_ns and higher.bind_ns:
        merged["bind_ns"] = lower.bind_ns.model_copy(update=dict(_set_fields(higher.bind_ns)))
    return type(higher).model_construct(**merged)


def laid_over(lower: Sequence[str], higher: Sequence[str]) -> tuple[str, ...]:
    """Return the variables (NAME=VALUE) of `lower` and `higher`; `higher` wins, each name once."""
    variables = {text.partition("=")[0]: text for text in (*lower, *higher)}
    return tuple(variables.values())


def with_user(config: ContainerConfig, user: str | None) -> ContainerConfig:
    """Return `config` with the image's own `user`, unless `config` sets a user itself."""
    if user is None or config.user is not None or config.uid is not None:
        return config
    return config.model_copy(update={"user": user})


def portable(config: ContainerConfig) -> ContainerConfig:
    """Return `config` for a label: without the paths of profiles on this computer."""
    keys = ("seccomp", "apparmor")
    files = [key for key in keys if getattr(config, key) not in PROFILE_WORDS]
    return config.model_copy(update=dict.fromkeys(files, "default")) if files else config


def to_label(config: ContainerConfig) -> str:
    """Return `config` as the JSON of the label: the fields that are set, in a fixed order."""
    fields = config.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
