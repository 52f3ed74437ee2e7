"""`piimage deploy` to clusters: images to a registry, and manifests for the cluster's own tool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piimage.build import Project
from piimage.cli.output import put
from piimage.deploy import kubernetes, swarm
from piimage.deploy.cluster import Cluster, push_reference
from piimage.deploy.kubectl import Kubectl
from piimage.deploy.workloads import Workload, build_workloads
from piimage.durable import output_folder, write_chunks
from piimage.errors import InputError
from piimage.events import Note, Warning
from piimage.locking.inputs import Inputs
from piimage.oci.registry import Registry

KUBERNETES: Final = "kubernetes"
SWARM: Final = "swarm"
_BY_HAND: Final = {
    KUBERNETES: ("pods.yml", "kubectl apply -f pods.yml"),
    SWARM: ("stack.yml", "docker stack deploy --compose-file stack.yml NAME"),
}


@dataclass(frozen=True)
class Doing:
    """What to do for a cluster: `wait` are the seconds in which a service has to be ready."""

    kind: str
    services: tuple[str, ...]
    push: bool
    apply: bool
    wait: int
    base: Path | None = None
    """The folder for a base of Kustomize, which is then written instead of printed manifests."""


def cluster_kind(
    to: Sequence[str], registry: str | None, *, apply: bool, dry_run: bool, base: Path | None
) -> str:
    """Return which kind of cluster `to` names; empty if it names hosts.

    Raises InputError ``deploy.manifests`` if the other options do not fit.
    """
    kind = next((name for name in (KUBERNETES, SWARM) if name in to), "")
    if kind and (len(to) > 1 or registry is None):
        file, command = _BY_HAND[kind]
        raise InputError(
            "deploy.manifests",
            f"manifests for {kind} need --registry, and no other --to",
            place=f"--to {kind}",
            hint=f"piimage deploy FILE --to {kind} --registry HOST/NAME >{file}; then {command}",
        )
    if apply and (kind != KUBERNETES or dry_run):
        raise InputError(
            "deploy.manifests",
            "--apply is for --to kubernetes, and not for --dry-run",
            place="--apply",
            hint="without --apply the manifests are printed",
        )
    if base is not None and (kind != KUBERNETES or apply):
        raise InputError(
            "deploy.manifests",
            "--kustomize is for --to kubernetes, and not for --apply",
            place="--kustomize",
            hint="apply the base, or an overlay of it, with kubectl apply -k DIR",
        )
    return kind


def deploy_to_cluster(project: Project, cluster: Cluster, doing: Doing, inputs: Inputs) -> None:
    """Push the images, and print the manifests or apply them."""
    workloads = build_workloads(project, inputs, doing.services)
    names = [entry.name for entry in project.appliance.services]
    if doing.base is not None:
        files = kubernetes.kustomize_base(workloads, cluster, names)
        with output_folder(doing.base):
            if doing.push:
                _push_images(workloads, cluster, inputs)
            for name, text in files.items():
                write_chunks(doing.base / name, [text.encode()])
        inputs.emit(Note(f"{doing.base}: a base for kubectl apply -k"))
        return
    manifests = _manifests(workloads, cluster, doing, names, inputs)
    if doing.push:
        _push_images(workloads, cluster, inputs)
    if not doing.apply:
        put(manifests)
        return
    changed = Kubectl(inputs.runner).apply(
        manifests, doing.wait, lambda line: inputs.emit(Note(line))
    )
    inputs.emit(Note(f"{', '.join(changed) or 'nothing'} changed in the cluster"))


def _manifests(
    workloads: Sequence[Workload], cluster: Cluster, doing: Doing, names: Sequence[str],
    inputs: Inputs,
) -> str:  # fmt: skip
    if doing.kind == KUBERNETES:
        return kubernetes.render(workloads, cluster, names)
    found = swarm.render(workloads, cluster, names)
    for line in swarm.limits_that_are_missing(workloads):
        inputs.emit(Warning(line))
    return found


def _push_images(workloads: Sequence[Workload], cluster: Cluster, inputs: Inputs) -> None:
    registry = Registry(inputs.layout, inputs.runner, inputs.access)
    for workload in workloads:
        reference = push_reference(workload, cluster)
        inputs.emit(Note(f"pushed {registry.push(reference, workload.image.descriptor)}"))
