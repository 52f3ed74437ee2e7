"""Mounts, and LinuxKit's `runtime`: actions around a container's start, outside of it."""

from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from piimage.config.fields import ControlGroup
from piimage.config.mounting import check_mount
from piimage.config.values import AbsolutePath, Name, Part, Strings, form, problem

_PSEUDO: Final = frozenset({"mqueue", "devpts", "proc", "sysfs", "cgroup", "cgroup2"})


InterfaceName = Annotated[
    str, *form(r"[^\s/:\0]{1,15}", "interface name", "at most 15 characters, such as eth1")
]
InterfaceType = Annotated[
    str, *form(r"[a-z0-9_]{1,16}", "interface type", "a type of ip-link(8), such as veth")
]


class Mount(Part):
    """A mount of the OCI runtime specification; missing fields are derived from the others."""

    destination: str | None = Field(default=None, description="Mount point in the container.")
    type: str | None = Field(
        default=None,
        description="File system type; if left out, a `source` such as proc or sysfs gives it.",
    )
    source: str | None = Field(
        default=None, description="Source of the mount; the type if left out."
    )
    options: Strings = Field(default=(), description="Mount options.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.type and self.source not in _PSEUDO and self.destination != "/dev":
            raise problem("a mount without a type", "type: as in mount(8), such as tmpfs or bind")
        if not self.destination and (self.type or self.source) not in _PSEUDO:
            raise problem("a mount without a destination", "destination: a path in the container")
        kind = self.type or (self.source if self.source in _PSEUDO else "tmpfs") or ""
        source = self.source or ("" if kind == "bind" else kind)
        check_mount(kind, source, self.destination or f"/{kind}", self.options)
        return self


class Interface(Part):
    """A network interface that is moved into the container or created there."""

    name: InterfaceName = Field(description="Name of the interface in the container.")
    add: InterfaceType | None = Field(
        default=None, description="Type of an interface to create, such as veth or wireguard."
    )
    peer: InterfaceName | None = Field(
        default=None, description="Name of the other end of a veth pair."
    )
    create_in_root: bool = Field(
        default=False, description="true: create it outside, then move it into the container."
    )


class BindNamespaces(Part):
    """Paths where the container's namespaces are bound, so that others can join them."""

    cgroup: AbsolutePath | None = Field(default=None, description="cgroup namespace.")
    ipc: AbsolutePath | None = Field(default=None, description="IPC namespace.")
    mnt: AbsolutePath | None = Field(default=None, description="Mount namespace.")
    net: AbsolutePath | None = Field(default=None, description="Network namespace.")
    pid: AbsolutePath | None = Field(default=None, description="PID namespace.")
    user: AbsolutePath | None = Field(default=None, description="User namespace.")
    uts: AbsolutePath | None = Field(default=None, description="UTS namespace.")


class Runtime(Part):
    """Actions around the start of the container, outside of it."""

    cgroups: tuple[ControlGroup, ...] | None = Field(
        default=None, description="cgroups to create, below the appliance's own."
    )
    mounts: tuple[Mount, ...] | None = Field(default=None, description="Mounts on the host.")
    mkdir: tuple[AbsolutePath, ...] | None = Field(
        default=None, description="Folders to create on the host."
    )
    interfaces: tuple[Interface, ...] | None = Field(
        default=None, description="Network interfaces of the container."
    )
    bind_ns: BindNamespaces | None = Field(
        default=None, description="Paths where the namespaces are bound."
    )
    namespace: Name | None = Field(default=None, description="containerd namespace.")
