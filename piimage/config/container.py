"""What a container may do and how it is kept running: LinuxKit's image fields and piimage's own.

One model serves three places: an entry of the YAML, a container folder's `config:`, and the label
``org.mobyproject.config`` of an image. A field that is None was not said; `merge` lays what was
said in the three over one another. Source of the fields and their meaning: LinuxKit's
docs/yaml.md, src/cmd/linuxkit/moby/{schema,config}.go; and the OCI runtime specification.
"""

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator

from piimage.config.deferred import Deferred
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
    Variable,
)
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
    check_numbers,
    form,
    key_of,
    problem,
    quoted,
)

_MOST_PORT: Final = 65535
LABEL: Final = "org.mobyproject.config"
"""The image label that carries a ContainerConfig as JSON."""

PROFILE_WORDS: Final = (None, "default", "unconfined")
"""What `seccomp` says without naming a file."""

if TYPE_CHECKING:
    from piimage.config.resources import Resources
    from piimage.config.runtime import Mount, Runtime
else:  # few files need them, and every class costs time when it is made
    Mount = Annotated[Any, Deferred("piimage.config.runtime", "Mount")]
    Resources = Annotated[Any, Deferred("piimage.config.resources", "Resources")]
    Runtime = Annotated[Any, Deferred("piimage.config.runtime", "Runtime")]


SettingName = Annotated[
    str, *form(r"[A-Za-z_][A-Za-z0-9_]*", "setting name", "letters, digits and _")
]


# The parts of by-path names have colons too, but no slash or nothing but r, w, m behind them.
_COMPOSE: Final = re.compile(r"(/dev/.+?)(?::/[^:]*(?::[rwm]+)?|:[rwm]+)")


def _device_type(value: object) -> object:
    """Return the type as the kernel has it: unbuffered is mknod(1)'s other word for character."""
    return "c" if value == "u" else value


class Device(ShortPart):
    """A device node; its type and numbers are read on the Pi if only the path is given."""

    short_key = "path"

    path: str = Field(description="The node, such as /dev/i2c-1; `all` allows a whole type.")
    type: Annotated[Literal["a", "b", "c"], BeforeValidator(_device_type)] | None = Field(
        default=None, description="c character (also u), b block, a both (with path all)."
    )
    major: int | None = Field(default=None, description="Major number; -1 for any (with path all).")
    minor: int | None = Field(default=None, description="Minor number; -1 for any (with path all).")
    mode: (
        Annotated[str, *form("[0-7]{3,4}|[rwm]{1,3}", "mode", 'octal digits, or "rwm"')] | None
    ) = Field(
        default=None, description="Octal permission bits of the node; with path all: r, w, m."
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        inside = self.path.startswith("/dev/") and not {"", ".", ".."} & {*self.path[5:].split("/")}
        if self.path != "all" and not inside:
            raise problem(f"{quoted(self.path)} is not a device path", "a path below /dev/, or all")
        if (self.major is None) != (self.minor is None) and self.path != "all":
            raise problem("half a device number", "major and minor, or neither")
        if self.path == "all":
            check_numbers(self.major, self.minor, least=-1)
        else:
            self._check_node()
        return self

    def _check_node(self) -> None:
        if named := _COMPOSE.fullmatch(self.path):
            raise problem(
                f"{quoted(self.path)} is a device as Compose writes it",
                f"{named[1]} alone: a container has it under the same path",
            )
        if {*"*?["} & {*self.path}:
            raise problem(
                f"{quoted(self.path)} has a wildcard, and is the name of no device",
                "each device in turn, such as /dev/i2c-1",
            )
        if self.type == "a":
            raise problem("a node is of one type", "type: c or b, or path: all")
        if self.mode is not None and not self.mode.isdecimal():
            raise problem(
                f"{quoted(self.mode)} is not a valid mode of a device node",
                'octal digits, as in "0660"',
            )
        check_numbers(self.major, self.minor, least=0)


class IdMapping(Part):
    """A range of user or group ids of a user namespace."""

    host_id: int = Field(ge=0, description="First id on the host.")
    container_id: int = Field(ge=0, description="First id in the container.")
    size: int = Field(ge=1, description="How many.")


class Restart(ShortPart):
    """Whether and how fast a service is started again."""

    short_key = "policy"

    policy: Literal["always", "on-failure", "no"] = Field(
        default="always", description="When a service that has ended is started again."
    )
    backoff: BackoffRange = Field(
        default=Backoff(1, 60), description="Wait before a restart, FIRST..MOST; doubled each time."
    )


def _compose_check(command: tuple[str, ...]) -> tuple[str, str]:
    """Return what is wrong with a check as Compose writes it, and what does the same."""
    from piimage.composefile.values import health_command  # noqa: PLC0415  # only errors need it

    if command[0] == "NONE":
        return "'NONE' is not a program", "no health: at all"
    line = json.dumps(health_command(list(command)), ensure_ascii=False)
    return f"{command[0]!r} is Compose's word, not a program", f"command: {line}"


def _port(value: str) -> str:
    if not 1 <= int(value.rpartition(":")[2]) <= _MOST_PORT:
        raise problem(f"{quoted(value)} has no port that there is", f"a port of 1 to {_MOST_PORT}")
    return value


def _port_of_url(value: str) -> str:
    found = re.match(r"http://[^/?#]*:([0-9]*)(?:[/?#]|$)", value, re.ASCII)
    if found:
        _port(f":{found[1] or 80}")
    return value


class Health(Part):
    """A check that says whether a service works; asked in exactly one of three ways."""

    http: (
        Annotated[
            str,
            *form(r"http://[^\s]+", "health check URL", "http://HOST:PORT/PATH"),
            AfterValidator(_port_of_url),
        ]
        | None
    ) = Field(default=None, description="Healthy if this address answers with 2xx.")
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
    timeout: Interval = Field(default=5, description="A check that takes longer has failed.")
    retries: int = Field(default=3, ge=1, description="So many failures in a row: unhealthy.")
    start: Duration = Field(
        default=60, description="Failures in this time after the start do not count."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = [way for way in ("http", "tcp", "command") if getattr(self, way) is not None]
        if len(ways) != 1:
            what = "a check without a target" if not ways else f"a check by {' and by '.join(ways)}"
            raise problem(what, "exactly one of http, tcp, command")
        if self.command and self.command[0] in ("CMD", "CMD-SHELL", "NONE"):
            raise problem(*_compose_check(self.command))
        if self.timeout > self.every:
            raise problem("the timeout is longer than the time between checks", "timeout <= every")
        return self


class Log(Part):
    """A bounded ring of what a service prints."""

    size: Size = Field(default=256 * 1024, ge=4096, description="Bytes of one file.")
    count: int = Field(default=4, ge=1, le=100, description="How many files are kept.")


class ContainerConfig(Part):
    """How one container runs. None: not said here, so the next lower place decides."""

    capabilities: Capabilities | None = Field(
        default=None, description="Capabilities, replacing the image's; [all] or [none] alone."
    )
    capabilities_add: Capabilities | None = Field(
        default=None, description="Capabilities beside the image's."
    )
    ambient: Capabilities | None = Field(default=None, description="Ambient capabilities.")
    binds: tuple[Bind, ...] | None = Field(
        default=None, description="SOURCE:DESTINATION[:OPTIONS], replacing the image's."
    )
    binds_add: tuple[Bind, ...] | None = Field(
        default=None, description="Binds beside the image's."
    )
    mounts: tuple[Mount, ...] | None = Field(
        default=None, description="Mounts; one at a default's destination replaces it."
    )
    tmpfs: tuple[TmpfsMount, ...] | None = Field(
        default=None, description="/DESTINATION[:OPTIONS]."
    )
    devices: tuple[Device, ...] | None = Field(
        default=None, description="Device nodes: /dev/NAME, or path, type, major, minor, mode."
    )
    command: Program | None = Field(
        default=None, description="The program and its arguments, instead of the image's."
    )
    env: tuple[Variable, ...] | None = Field(
        default=None, description="NAME=VALUE, instead of the image's environment."
    )
    settings: tuple[SettingName, ...] | None = Field(
        default=None,
        description="Settings of the card (`piimage flash --set NAME=VALUE`) that it gets as "
        "environment variables, instead of what `env` says.",
    )
    cwd: AbsolutePath | None = Field(default=None, description="Working directory.")
    net: NetworkNamespace | None = Field(
        default=None, description="host (default), new, none, or a path."
    )
    ipc: Namespace | None = Field(default=None, description="host (default), new, or a path.")
    uts: Namespace | None = Field(default=None, description="host (default), new, or a path.")
    pid: Namespace | None = Field(default=None, description="new (default), host, or a path.")
    userns: Namespace | None = Field(default=None, description="host (default), new, or a path.")
    uid_mappings: tuple[IdMapping, ...] | None = Field(
        default=None, description="User ids of `userns`."
    )
    gid_mappings: tuple[IdMapping, ...] | None = Field(
        default=None, description="Group ids of `userns`."
    )
    readonly: bool | None = Field(
        default=None,
        description="Root read-only (default, unless the image carries LinuxKit's label); false: "
        "writable, in memory.",
    )
    masked_paths: tuple[HiddenPath, ...] | None = Field(
        default=None, description="Paths that are hidden."
    )
    readonly_paths: tuple[HiddenPath, ...] | None = Field(
        default=None, description="Paths that are read-only."
    )
    no_new_privileges: bool | None = Field(
        default=None, description="Set-user-id programs gain nothing (default true)."
    )
    hostname: HostName | None = Field(default=None, description="Host name in a new `uts`.")
    oom_score_adj: int | None = Field(
        default=None,
        ge=-1000,
        le=1000,
        description="-1000 to 1000: who is killed when memory runs out.",
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
        default=None, description="shared: mounts made inside are seen outside."
    )
    uid: Identity | None = Field(default=None, description="User id, or the name of a container.")
    gid: Identity | None = Field(default=None, description="Group id, or the name of a container.")
    additional_gids: tuple[Identity, ...] | None = Field(
        default=None, description="Further group ids."
    )
    rlimits: Rlimits | None = Field(default=None, description="NAME,SOFT,HARD.")
    resources: Resources | None = Field(default=None, description="Limits by cgroup.")
    runtime: Runtime | None = Field(default=None, description="What is done around the start.")

    restart: Restart | None = Field(
        default=None, description="Whether and how fast a service is started again."
    )
    after: tuple[Name, ...] | None = Field(
        default=None, description="Services that must be healthy (or run) before this one starts."
    )
    health: Health | None = Field(
        default=None, description="Check that says whether a service works."
    )
    seccomp: str | None = Field(
        default=None, description="default, unconfined, or a profile file in the OCI's JSON form."
    )
    user: UserName | None = Field(
        default=None, description="USER[:GROUP], by name in the image or by number."
    )
    required: bool | None = Field(
        default=None, description="onboot: a failure stops the boot (default false)."
    )
    timeout: Duration | None = Field(
        default=None, description="onboot and onshutdown: killed after this time; 0 for never."
    )
    stop_timeout: StopTimeout | None = Field(
        default=None,
        description="Time between SIGTERM and SIGKILL when a service is stopped; 45s at most.",
    )
    log: Log | None = Field(default=None, description="How much of what a service prints is kept.")
    system: bool | None = Field(
        default=None,
        description="It serves piimage's own system (default: if it binds a folder of that): "
        "`deploy` to a Docker engine or Kubernetes leaves it out.",
    )

    @model_validator(mode="after")
    def _one_identity(self) -> Self:
        if self.user is not None and (self.uid is not None or self.gid is not None):
            raise problem("user and uid or gid", "user: alone, or uid and gid")
        return self


CONFIG_KEYS: Final = tuple(key_of(name) for name in ContainerConfig.model_fields)
"""The keys of a ContainerConfig, as they are written."""

# Lists that `.add` extends, and what it extends.
_EXTENSIONS: Final = {"capabilities_add": "capabilities", "binds_add": "binds"}
# Saying one says that the others do not hold any more.
_RIVALS: Final = {"user": ("uid", "gid"), "uid": ("user",), "gid": ("user",)}


def secure_defaults() -> ContainerConfig:
    """Return what holds where nobody says otherwise."""
    return ContainerConfig(
        capabilities=(), seccomp="default", no_new_privileges=True, readonly=True
    )


def linuxkit_defaults() -> ContainerConfig:
    """Return the same for an image that carries LinuxKit's label: made for a writable root."""
    return ContainerConfig(
        capabilities=(), seccomp="default", no_new_privileges=True, readonly=False
    )


def merge(*places: ContainerConfig | None) -> ContainerConfig:
    """Lay what `places` say over one another, the lowest first: defaults, label, folder, entry.

    LinuxKit's rule: what is said higher replaces what is said lower, lists included; `.add` extends
    the list below; `runtime` is laid over field by field, everything else as a whole. The result
    has no `.add` fields left, and `none` has become an empty list.
    """
    merged: dict[str, Any] = {}
    for place in places:
        for name, value in _said(place) if place else ():
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


def _said(part: BaseModel) -> Iterator[tuple[str, Any]]:
    """Give the fields that say something, plain lists before what extends them, uid before user."""
    whole = ContainerConfig if isinstance(part, ContainerConfig) else type(part)
    for name in whole.model_fields:
        value = getattr(part, name)
        if value is not None:
            yield name, value


def _extended(below: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    if "all" in (*below, *more):
        return ("all",)
    return (*below, *(one for one in more if one not in below and one != "none"))


def _merge_runtime(below: Runtime | None, above: Runtime) -> Runtime:
    if below is None:
        return above
    merged = dict(_said(below)) | dict(_said(above))
    if below.bind_ns and above.bind_ns:
        merged["bind_ns"] = below.bind_ns.model_copy(update=dict(_said(above.bind_ns)))
    return type(above).model_construct(**merged)


def with_user(config: ContainerConfig, user: str | None) -> ContainerConfig:
    """Return `config` with the image's own `user`, which counts only in its label if it has one."""
    if user is None or config.user is not None or config.uid is not None:
        return config
    return config.model_copy(update={"user": user})


def portable(config: ContainerConfig) -> ContainerConfig:
    """Return `config` without a seccomp profile's path, which is this machine's: for a label."""
    if config.seccomp in PROFILE_WORDS:
        return config
    return config.model_copy(update={"seccomp": "default"})


def to_label(config: ContainerConfig) -> str:
    """Return `config` as the JSON that the label carries: what was said, in a fixed order."""
    said = config.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
    return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
