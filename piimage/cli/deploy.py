"""`piimage deploy`."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from piimage.build import Project, plan
from piimage.cli.clusters import Doing, cluster_kind, deploy_to_cluster
from piimage.cli.hosts import InventoryFile, SshConfig, finish, hosts, ssh
from piimage.cli.options import Files, Json, Origin, Sets, Verbose, with_groups
from piimage.cli.pins import with_host_key
from piimage.cli.session import open_inputs, read_project
from piimage.deploy.cluster import Cluster
from piimage.deploy.docker_ssh import EngineHost
from piimage.deploy.docker_target import DockerTarget
from piimage.deploy.hosts import Host
from piimage.deploy.pi import PiTarget, Wish
from piimage.deploy.release import release_of, require_services
from piimage.deploy.rollout import Policy, Result, roll_out
from piimage.deploy.ssh import Ssh
from piimage.deploy.system import Consent, system_of
from piimage.deploy.target import Outcome, Plan, Target
from piimage.deploy.text import printable
from piimage.deploy.workloads import build_workloads
from piimage.errors import InputError, PiimageError
from piimage.events import Listener, Note, Warning
from piimage.locking.fetching import make
from piimage.locking.inputs import Inputs

EXAMPLE = "Example: piimage deploy pi4.yml --to greenhouse.local"


@with_groups
def deploy(
    files: Files,
    to: Annotated[
        list[str],
        typer.Option(
            "--to",
            metavar="HOST",
            help="[USER@]HOST[:PORT], or docker+ssh://… for a Docker engine, or kubernetes or "
            "swarm to push the images and print manifests; repeatable.",
        ),
    ] = [],
    inventory: InventoryFile = None,
    limit: Annotated[
        list[str],
        typer.Option("--limit", help="Only this host or group of the inventory; repeatable."),
    ] = [],
    service: Annotated[
        list[str], typer.Option("--service", help="Only this service; repeatable.")
    ] = [],
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show what would be sent and restarted; change nothing."),
    ] = False,
    canary: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="Deploy to N hosts first; continue only if they are healthy."
        ),
    ] = 0,
    parallel: Annotated[
        int, typer.Option(min=1, metavar="N", help="Deploy to at most N hosts at a time.")
    ] = 8,
    max_failures: Annotated[
        int, typer.Option(min=0, metavar="N", help="Stop after more than N hosts have failed.")
    ] = 0,
    wait: Annotated[
        int,
        typer.Option(
            min=1,
            max=3600,
            metavar="SECONDS",
            help="Roll back if the services are not healthy after SECONDS.",
        ),
    ] = 60,
    containers_only: Annotated[
        bool,
        typer.Option(
            "--containers-only",
            help="Deploy the containers even if the host runs another system version.",
        ),
    ] = False,
    allow_downgrade: Annotated[
        bool,
        typer.Option(
            "--allow-downgrade",
            help="Update the system even if it is older than one that the host has kept.",
        ),
    ] = False,
    keep_boot_firmware: Annotated[
        bool,
        typer.Option(
            "--keep-boot-firmware",
            help="Update the system of a Pi 3 or Zero 2 W even if it comes with another boot "
            "firmware; the card keeps its own.",
        ),
    ] = False,
    registry: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Registry prefix of the image names (for a cluster)."),
    ] = None,
    apply: Annotated[
        bool,
        typer.Option(
            "--apply",
            help="Apply the manifests by kubectl, and undo them if a service is not ready in time "
            "(for --to kubernetes).",
        ),
    ] = False,
    device_plugin: Annotated[
        str | None,
        typer.Option(
            metavar="DOMAIN",
            help="Device plugin that provides devices, such as squat.ai (for --to kubernetes).",
        ),
    ] = None,
    kustomize: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            readable=False,
            help="Write a base for Kustomize into DIR instead of printing (for --to kubernetes).",
        ),
    ] = None,
    ssh_config: SshConfig = None,
    sets: Sets = [],
    *,
    origin: Origin,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Send changes to running Pis; roll a host back if a service does not become healthy."""
    if limit and inventory is None:
        raise InputError(
            "deploy.no-hosts", "--limit needs --inventory", hint="or name the hosts with --to HOST"
        )
    kind = cluster_kind(to, registry, apply=apply, dry_run=dry_run, base=kustomize)
    chosen = () if kind else hosts([*to, *limit], inventory)
    with open_inputs(origin, verbose=verbose, as_json=json) as inputs:
        project = read_project(files, sets, inputs)
        require_services([entry.name for entry in project.appliance.services], service)
        if kind:
            target = Cluster(
                project.appliance.board, project.appliance.hostname, registry or "", device_plugin
            )
            doing = Doing(
                kind, tuple(service), push=not dry_run, apply=apply, wait=wait, base=kustomize
            )
            deploy_to_cluster(project, target, doing, inputs)
            return
        cancelled = threading.Event()
        consent = Consent(allow_downgrade, keep_boot_firmware)
        choices = _Choices(tuple(service), containers_only, wait, consent)
        makers = _TargetMaker(project, inputs, choices, cancelled)
        chosen = with_host_key(chosen, project.appliance)
        targets = makers.targets(chosen, ssh(chosen, ssh_config, inputs.runner))
        if dry_run:
            planned = roll_out(
                targets, lambda target: target.plan(), Policy(0, parallel, None), cancelled,
                lambda result: _show_plan(result, inputs.emit),
            )  # fmt: skip
            finish(planned)
            return
        results = roll_out(
            targets, lambda target: _deploy(target, inputs.emit),
            Policy(canary, parallel, max_failures), cancelled,
            lambda result: _show(result, inputs.emit),
        )  # fmt: skip
        _conclude(results)


@dataclass(frozen=True)
class _Choices:
    """What the user chose; see `Wish`."""

    services: tuple[str, ...]
    containers_only: bool
    wait: int
    consent: Consent


@dataclass(frozen=True)
class _TargetMaker:
    """Makes the target of each host; builds the release and the workloads at most once each."""

    project: Project
    inputs: Inputs
    choices: _Choices
    cancelled: threading.Event

    def targets(self, hosts: tuple[Host, ...], ssh: Ssh) -> list[Target]:
        engines = [EngineHost(ssh, host) for host in hosts if host.engine]
        pis = [host for host in hosts if not host.engine]
        targets: list[Target] = []
        if pis:
            wish = self._wish()
            store, runner = self.inputs.store, self.inputs.runner
            targets += [PiTarget(pi, wish, ssh, store, runner, self.cancelled) for pi in pis]
        if engines:
            workloads = build_workloads(self.project, self.inputs, self.choices.services)
            targets += [DockerTarget(host, workloads, self.inputs.store) for host in engines]
        return targets

    def _wish(self) -> Wish:
        version = plan(self.project, self.inputs)
        job = make(version.steps(), self.project.lock, self.inputs)
        release = release_of(version, job, f"{self.project.name}.yml")
        system = system_of(version, job, release, self.inputs)
        chosen = self.choices
        return Wish(
            release, chosen.services, chosen.containers_only, chosen.wait, system, chosen.consent
        )


def _deploy(target: Target, emit: Listener) -> Outcome:
    return target.deploy(lambda line: emit(Note(f"{target.name}: {line}")))


def _show_plan(result: Result[Plan], emit: Listener) -> None:
    if (plan := result.outcome) is None:
        return
    if plan.nothing:
        emit(Note(f"{result.name}: nothing to do"))
    actions = {"restarts": plan.restart, "starts": plan.start, "stops": plan.stop}
    listed = "; ".join(f"{verb} {', '.join(names)}" for verb, names in actions.items() if names)
    if plan.system:
        emit(
            Note(
                f"{result.name}: the system changes: sends {plan.layers} files, {plan.bytes} "
                f"bytes; writes the other slot; {_before(plan)}restarts the Pi"
            )
        )
    elif not plan.nothing:
        emit(Note(f"{result.name}: sends {plan.layers} layers, {plan.bytes} bytes; {listed}"))
    for note in plan.notes:
        emit(Warning(f"{result.name}: {note}"))


def _before(plan: Plan) -> str:
    """Return what services do before the system changes."""
    return f"runs before_update of {', '.join(plan.hooks)}; " if plan.hooks else ""


def _show(result: Result[Outcome], emit: Listener) -> None:
    if (outcome := result.outcome) is None:
        return
    changed = printable(", ".join(outcome.changed)) or "nothing changed"
    amount = f"{outcome.sent} bytes sent, {outcome.received} received, {outcome.seconds:.1f} s"
    if outcome.system:
        emit(Note(f"{result.name}: runs the new version of the system, and keeps it; {amount}"))
    else:
        emit(Note(f"{result.name}: {changed}; {amount} (switch {outcome.switched:.1f} s)"))
    for note in outcome.notes:
        emit(Warning(f"{result.name}: {note}"))


def _conclude(results: tuple[Result[Outcome], ...]) -> None:
    skipped = [result.name for result in results if result.skipped]
    if not skipped:
        finish(results)
        return
    stopped = PiimageError(
        "deploy.stopped",
        f"the roll-out was stopped; skipped hosts: {', '.join(skipped)}",
        hint="the skipped hosts were not changed",
    )
    finish([*results, Result("roll-out", error=stopped)])
