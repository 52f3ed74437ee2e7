"""What the Pi has for the ready-made service that runs Docker: client, modules, a profile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from piimage import resources
from piimage.compose.apparmor import Profile, shipped
from piimage.compose.rules import File
from piimage.config.container import ContainerConfig
from piimage.config.models import Appliance, Entry
from piimage.container.apparmor import DOCKER
from piimage.container.bundle import quote
from piimage.container.docker_faults import SERVICE

# What iptables asks the kernel for on Docker's behalf, beside the modules of the Pi's own bridge.
_MODULES: Final = (
    "bridge", "veth", "nf_tables", "nft_compat", "nft_chain_nat", "nf_conntrack_netlink",
    "xt_MASQUERADE", "xt_addrtype", "xt_conntrack", "xt_nat", "xt_tcpudp",
)  # fmt: skip

_SECURITY: Final = "/sys/kernel/security:/sys/kernel/security:ro,bind,nosuid,nodev,noexec"


def docker_modules(appliance: Appliance) -> tuple[str, ...]:
    """Return the kernel modules that Docker's networks need.

    A kernel of the file's own may have them built in.
    """
    if _name(appliance) is None or appliance.kernel.image is not None:
        return ()
    return _MODULES


def docker_files(appliance: Appliance) -> Iterator[File]:
    """Yield the command `docker` of the Pi, and the name of the service that it enters."""
    name = _name(appliance)
    if name is not None:
        program = resources.path("appliance") / "docker" / "docker"
        yield File("usr/bin/docker", program.read_bytes(), 0o755)
        yield File("etc/piimage/docker", f"SERVICE={quote(name)}\n".encode())


def docker_profiles(entry: Entry, appliance: Appliance) -> tuple[Profile, ...]:
    """Return the profiles that the containers of Docker get, if `entry` runs it.

    A kernel out of an image may have no AppArmor; Docker then gives its containers no profile.
    """
    if entry.use != SERVICE or appliance.kernel.image is not None:
        return ()
    return (shipped(DOCKER),)


def with_security_files(config: ContainerConfig) -> ContainerConfig:
    """Return the `config` of Docker with a view of the kernel's list of loaded profiles.

    Docker uses AppArmor only if it finds the list, and starts only if its profile is in it.
    """
    return config.model_copy(update={"binds": (*(config.binds or ()), _SECURITY)})


def _name(appliance: Appliance) -> str | None:
    return next((entry.name for entry in appliance.services if entry.use == SERVICE), None)
