"""What the manifests of every kind of cluster have in common: names, and images in a registry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from piimage.config.container import ContainerConfig
from piimage.container.mounts import complete_mount
from piimage.deploy.workloads import Workload
from piimage.errors import InputError
from piimage.oci.reference import Reference, parse

BOARD_LABEL: Final = "piimage.board"


@dataclass(frozen=True)
class Cluster:
    """The cluster that the manifests are for.

    `registry` is the prefix of image names, such as ``registry.local:5000/greenhouse``.
    `device_plugin` is the domain of a device plugin of Kubernetes (``DOMAIN/i2c-1: 1``); without
    one, a container with devices has to be privileged there, because the kubelet opens no device by
    itself.
    """

    board: str
    appliance: str
    registry: str
    device_plugin: str | None = None


def image_name(workload: Workload, cluster: Cluster) -> str:
    """Return the image's name in the registry, with its digest."""
    return f"{_repository(workload, cluster)}@{workload.image.descriptor.digest}"


def push_reference(workload: Workload, cluster: Cluster) -> Reference:
    """Return the name under which the image is pushed: registries delete what has no tag."""
    tag = workload.image.descriptor.blob.sha256[:16]
    return parse(f"{_repository(workload, cluster)}:{tag}", "--registry")


def _repository(workload: Workload, cluster: Cluster) -> str:
    return f"{cluster.registry.rstrip('/')}/{dns_name(workload.name)}"


def dns_name(name: str) -> str:
    """Return `name` as a DNS label (RFC 1123), as clusters require."""
    return name.lower().replace("_", "-").replace(".", "-").strip("-")[:63]


def same_names(
    workloads: Sequence[Workload], existing: Iterable[str], target: str
) -> Iterator[InputError]:
    """Yield an error for each service whose name in the cluster is that of another service."""
    known: dict[str, str] = {}
    for name in existing:
        known.setdefault(dns_name(name), name)
    for workload in workloads:
        name = workload.name
        other = known.setdefault(dns_name(name), name)
        if other != name:
            yield same(workload, f"the services {other} and {name}", dns_name(name), target)


def same(workload: Workload, subjects: str, name: str, target: str) -> InputError:
    """Return the error for two subjects with one name."""
    return InputError(
        "deploy.same-name",
        f"{subjects} would both have the name {name} in {target}",
        place=workload.container.place,
        hint=f"rename one of them: {target} allows only lower-case letters, digits and '-'",
    )


def binds(config: ContainerConfig) -> Iterator[tuple[str, str, bool]]:
    """Yield target, source, and whether it is read-only, of each bind."""
    for text in config.binds or ():
        source, target, *options = text.split(":")
        yield target, source, bool(options) and "ro" in options[0].split(",")
    for mount in map(complete_mount, config.mounts or ()):
        if mount["type"] == "bind":
            yield mount["destination"], mount["source"], "ro" in mount.get("options", ())


def in_memory(config: ContainerConfig) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the target and the options of each file system in memory."""
    for text in config.tmpfs or ():
        target, _, options = text.partition(":")
        yield target, options.split(",") if options else ()
    for mount in map(complete_mount, config.mounts or ()):
        if mount["type"] == "tmpfs":
            yield mount["destination"], tuple(mount.get("options", ()))
