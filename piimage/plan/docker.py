"""What the system has for the ready-made service that runs Docker: its client, and the modules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from piimage import resources
from piimage.compose.rules import File
from piimage.config.models import Appliance
from piimage.container.bundle import quote
from piimage.container.docker_faults import SERVICE

# What iptables asks the kernel for on Docker's behalf, beside the modules of the Pi's own bridge.
_MODULES: Final = (
    "bridge", "veth", "nf_tables", "nft_compat", "nft_chain_nat", "nf_conntrack_netlink",
    "xt_MASQUERADE", "xt_addrtype", "xt_conntrack", "xt_nat", "xt_tcpudp",
)  # fmt: skip


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


def _name(appliance: Appliance) -> str | None:
    return next((entry.name for entry in appliance.services if entry.use == SERVICE), None)
