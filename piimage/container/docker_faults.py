"""Faults of the ready-made service that runs Docker, which the file can take away what it needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from piimage.config.container import ContainerConfig
from piimage.config.disks import MEDIA
from piimage.config.models import Appliance
from piimage.config.values import quoted
from piimage.container.bridge import forwards, is_bridged
from piimage.container.capabilities import capabilities_of
from piimage.container.fault import Fault
from piimage.container.merged import Placed
from piimage.container.mounts import has_user_namespace, shares

SERVICE: Final = "docker"
"""The ready-made folder with Docker."""
_CODE: Final = "oci.docker"
_STATE: Final = "/var/lib/docker"
_NEEDED: Final = ("CAP_NET_ADMIN", "CAP_SYS_ADMIN")
_BIND: Final = "/data/docker:/var/lib/docker"


def docker_faults(
    containers: Sequence[Placed], appliance: Appliance
) -> Iterator[tuple[Placed, Fault]]:
    """Yield what keeps Docker from running, or its containers from the network."""
    found = [each for each in containers if each.use == SERVICE]
    for each in found:
        if each.section != "services":
            message = f"use: {SERVICE} has no effect in {each.section}"
            yield each, Fault(_CODE, ("use",), message, "the entry under services:")
    for each in found[1:]:
        message = f"{quoted(found[0].name)} has Docker already, and the Pi has one"
        yield each, Fault(_CODE, ("use",), message, "one service with use: docker")
    for each in found:
        yield from ((each, fault) for fault in _of_container(each.config, appliance))
        yield from ((each, fault) for fault in _of_network(each, containers, appliance))


def _of_container(config: ContainerConfig, appliance: Appliance) -> Iterator[Fault]:
    if has_user_namespace(config):
        yield Fault(_CODE, ("userns",), "Docker with a user namespace of its own",
                    "no userns: here; --userns-remap=… in DOCKERD_OPTIONS does it for Docker's "
                    "containers")  # fmt: skip
    granted = capabilities_of(config.capabilities)
    missing = [name for name in _NEEDED if name not in granted]
    if missing:
        yield Fault(_CODE, ("capabilities",), f"Docker does not start without {missing[0]}",
                    "no capabilities: here, so that the service has its own")  # fmt: skip
    yield from _of_state(config, appliance)


def _of_state(config: ContainerConfig, appliance: Appliance) -> Iterator[Fault]:
    """Yield why Docker's images and volumes would not outlast a restart of the Pi."""
    kept = ("/data", appliance.data.mount, MEDIA)
    sources = [text.split(":")[0] for text in config.binds or ()
               if text.split(":")[1].rstrip("/") == _STATE]  # fmt: skip
    sources += [mount.source or "" for mount in config.mounts or ()
                if (mount.destination or "").rstrip("/") == _STATE]  # fmt: skip
    if not sources:
        yield Fault(_CODE, ("binds",), f"nothing is mounted at {_STATE}, where Docker keeps images",
                    f"binds.add: […], or binds: [{_BIND}, …]")  # fmt: skip
    for source in sources:
        if not any(f"{source}/".startswith(f"{folder}/") for folder in kept):
            message = f"{quoted(source)} is lost at a restart, and Docker's images with it"
            yield Fault(_CODE, ("binds",), message, f"a folder of /data: binds: [{_BIND}, …]")


def _of_network(
    docker: Placed, containers: Sequence[Placed], appliance: Appliance
) -> Iterator[Fault]:
    """Yield what the rules of the bridge would do to Docker's own bridge on the Pi's network."""
    others = [each.name for each in containers if is_bridged(each.config)]
    if others and shares(docker.config.net, "host") and not forwards(appliance.sysctl):
        yield Fault(
            _CODE, ("net",),
            f"with net: host, the rules for {quoted(others[0])} on the bridge keep the containers "
            "of Docker from the network",
            'net: bridge with ports: (the default), or sysctl: { net.ipv4.ip_forward: "1" } '
            "in the file",
        )  # fmt: skip
