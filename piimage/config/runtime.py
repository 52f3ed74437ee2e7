"""Mounts, and LinuxKit's `runtime`: what is done around a container's start, outside of it."""

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
    """A mount of the OCI runtime specification; what is left out follows from the rest."""

    destination: str | None = Field(
        default=None, description="Where it is mounted in the container."
    )
    type: str | None = Field(
        default=None, description="File system type; proc, sysfs, … from `source`."
    )
    source: str | None = Field(default=None, description="What is mounted; the type if left out.")
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
    """A network interface that is moved or added to the container."""

    name: InterfaceName = Field(description="Name in the container.")
    add: InterfaceType | None = Field(
        default=None, description="Type to add, such as veth or wireguard."
    )
    peer: InterfaceName | None = Field(
        default=None, description="Name of the other end of a veth pair."
    )
    create_in_root: bool = Field(default=False, description="Make it outside, then move it in.")


class BindNamespaces(Part):
    """Paths at which the container's namespaces are kept for others."""

    cgroup: AbsolutePath | None = Field(default=None, description="cgroup namespace.")
    ipc: AbsolutePath | None = Field(default=None, description="IPC namespace.")
    mnt: AbsolutePath | None = Field(default=None, description="Mount namespace.")
    net: AbsolutePath | None = Field(default=None, description="Network namespace.")
    pid: AbsolutePath | None = Field(default=None, description="PID namespace.")
    user: AbsolutePath | None = Field(default=None, description="User namespace.")
    uts: AbsolutePath | None = Field(default=None, description="UTS namespace.")


class Runtime(Part):
    """What is done around the container's start, outside of it."""

    cgroups: tuple[ControlGroup, ...] | None = Field(
        default=None, description="cgroups to make, below the appliance's own."
    )
    mounts: tuple[Mount, ...] | None = Field(default=None, description="Mounts on the host.")
    mkdir: tuple[AbsolutePath, ...] | None = Field(
        default=None, description="Folders to make on the host."
    )
    interfaces: tuple[Interface, ...] | None = Field(
        default=None, description="Network interfaces."
    )
    bind_ns: BindNamespaces | None = Field(default=None, description="Where namespaces are kept.")
    namespace: Name | None = Field(default=None, description="containerd's namespace.")
