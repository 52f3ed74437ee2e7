"""`piimage deploy`."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from piimage.build import Project, plan
from piimage.card.hostkey import read_host_key
from piimage.cli.hosts import InventoryFile, SshConfig, finish, hosts, ssh
from piimage.cli.options import Files, Json, Origin, Sets, Verbose, fetching
from piimage.cli.output import put
from piimage.cli.session import project, sources
from piimage.deploy.docker_ssh import EngineHost
from piimage.deploy.docker_target import DockerTarget
from piimage.deploy.hosts import Host
from piimage.deploy.kubernetes import Cluster, render
from piimage.deploy.pi import PiTarget, Wish
from piimage.deploy.release import Release, release_of, require_services
from piimage.deploy.rollout import Policy, Result, roll_out
from piimage.deploy.ssh import Ssh
from piimage.deploy.target import Outcome, Plan, Target
from piimage.deploy.text import printable
from piimage.deploy.workloads import build_workloads
from piimage.errors import InputError, PiimageError
from piimage.events import Listener, Note, Warning
from piimage.locking.fetching import make
from piimage.locking.inputs import Inputs

KUBERNETES = "kubernetes"
EXAMPLE = "Example: piimage deploy pi4.yml --to greenhouse.local"


@fetching
def deploy(
    files: Files,
    to: Annotated[
        list[str],
        typer.Option(
            "--to",
            metavar="HOST",
            help="[USER@]HOST[:PORT]; docker+ssh://… for a Docker engine; kubernetes for "
            "manifests; may be repeated.",
        ),
    ] = [],
    inventory: InventoryFile = None,
    limit: Annotated[
        list[str], typer.Option("--limit", help="Only these hosts or groups of the inventory.")
    ] = [],
    service: Annotated[
        list[str], typer.Option("--service", help="Only this service; may be repeated.")
    ] = [],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would travel and restart.")
    ] = False,
    canary: Annotated[int, typer.Option(min=0, help="So many hosts first, the rest if well.")] = 0,
    parallel: Annotated[int, typer.Option(min=1, help="So many hosts at once.")] = 8,
    max_failures: Annotated[
        int, typer.Option(min=0, help="Begin no more hosts once more than so many have failed.")
    ] = 0,
    wait: Annotated[int, typer.Option(min=1, max=3600, help="Seconds to become healthy.")] = 60,
    containers_only: Annotated[
        bool, typer.Option("--containers-only", help="Also where the system is not the file's.")
    ] = False,
    registry: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="kubernetes: what image names begin with."),
    ] = None,
    device_plugin: Annotated[
        str | None,
        typer.Option(metavar="DOMAIN", help="kubernetes: who gives devices, such as squat.ai."),
    ] = None,
    ssh_config: SshConfig = None,
    sets: Sets = [],
    *,
    origin: Origin,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Bring what changed to Pis that are running; whatever is not healthy is undone."""
    if limit and inventory is None:
        raise InputError("deploy.no-hosts", "--limit without --inventory", hint="use --to HOST")
    cluster = KUBERNETES in to
    if cluster:
        _require_manifests_alone(to, registry, dry_run=dry_run)
    found = () if cluster else hosts([*to, *limit], inventory)
    with sources(origin, verbose=verbose, as_json=json) as reached:
        opened = project(files, sets, reached)
        require_services([one.name for one in opened.appliance.services], service)
        if cluster:
            _print_manifests(opened, reached, service, registry or "", device_plugin)
            return
        cancelled = threading.Event()
        makers = _Makers(opened, reached, tuple(service), containers_only, wait, cancelled)
        found = _pinned(found, opened.appliance.ssh.host_key)
        targets = makers.targets(found, ssh(found, ssh_config, reached.runner))
        if dry_run:
            planned = roll_out(
                targets, lambda one: one.plan(), Policy(0, parallel, None), cancelled,
                lambda result: _show_plan(result, reached.emit),
            )  # fmt: skip
            finish(planned)
            return
        results = roll_out(
            targets, lambda one: _one(one, reached.emit), Policy(canary, parallel, max_failures),
            cancelled, lambda result: _show(result, reached.emit),
        )  # fmt: skip
        _conclude(results)


def _require_manifests_alone(to: list[str], registry: str | None, *, dry_run: bool) -> None:
    if len(to) > 1 or not dry_run or registry is None:
        raise InputError(
            "deploy.manifests",
            "manifests are written, not applied, and name their images in a registry",
            place="--to kubernetes",
            hint="piimage deploy FILE --to kubernetes --dry-run --registry HOST/NAME >pods.yml; "
            "push the images with `piimage pkg push`, then kubectl apply -f pods.yml",
        )


def _print_manifests(
    opened: Project, origin: Inputs, services: list[str], registry: str, plugin: str | None
) -> None:
    cluster = Cluster(opened.appliance.board, opened.appliance.hostname, registry, plugin)
    found = build_workloads(opened, origin, services)
    put(render(found, cluster, [one.name for one in opened.appliance.services]))


@dataclass(frozen=True)
class _Makers:
    """Makes the target of each host: what it needs is built once, and only if a host needs it."""

    opened: Project
    origin: Inputs
    services: tuple[str, ...]
    containers_only: bool
    wait: int
    cancelled: threading.Event

    def targets(self, found: tuple[Host, ...], how: Ssh) -> list[Target]:
        engines = [EngineHost(how, one) for one in found if one.engine]
        pis = [one for one in found if not one.engine]
        targets: list[Target] = []
        if pis:
            release = _release(self.opened, self.origin, self.services)
            wish = Wish(release, self.services, self.containers_only, self.wait)
            store, runner = self.origin.store, self.origin.runner
            targets += [PiTarget(one, wish, how, store, runner, self.cancelled) for one in pis]
        if engines:
            wanted = build_workloads(self.opened, self.origin, self.services)
            targets += [DockerTarget(one, wanted, self.origin.store) for one in engines]
        return targets


def _release(opened: Project, origin: Inputs, services: tuple[str, ...]) -> Release:
    version = plan(opened, origin)
    job = make(version.steps(), opened.lock, origin)
    return release_of(version, job, f"{opened.name}.yml")


def _pinned(found: tuple[Host, ...], key: str | None) -> tuple[Host, ...]:
    """Return the hosts with the file's host key for those that have none of their own."""
    if key is None or not Path(key).exists():
        return found
    public = read_host_key(Path(key)).public
    return tuple(one if one.host_key else replace(one, host_key=public) for one in found)


def _one(target: Target, emit: Listener) -> Outcome:
    return target.deploy(lambda line: emit(Note(f"{target.name}: {line}")))


def _show_plan(result: Result[Plan], emit: Listener) -> None:
    if (made := result.outcome) is None:
        return
    if made.nothing:
        emit(Note(f"{result.name}: nothing to do"))
    words = {"restarts": made.restart, "starts": made.start, "stops": made.stop}
    told = "; ".join(f"{verb} {', '.join(names)}" for verb, names in words.items() if names)
    if not made.nothing:
        emit(Note(f"{result.name}: sends {made.layers} layers, {made.bytes} bytes; {told}"))
    for note in made.notes:
        emit(Warning(f"{result.name}: {note}"))


def _show(result: Result[Outcome], emit: Listener) -> None:
    if (made := result.outcome) is None:
        return
    what = printable(", ".join(made.changed)) or "nothing changed"
    emit(
        Note(
            f"{result.name}: {what}; {made.sent} bytes sent, {made.received} received, "
            f"{made.seconds:.1f} s (switch {made.switched:.1f} s)"
        )
    )
    for note in made.notes:
        emit(Warning(f"{result.name}: {note}"))


def _conclude(results: tuple[Result[Outcome], ...]) -> None:
    skipped = [result.name for result in results if result.skipped]
    if not skipped:
        finish(results)
        return
    said = PiimageError(
        "deploy.stopped",
        f"the roll-out was stopped; not begun: {', '.join(skipped)}",
        hint="they run what they ran before",
    )
    finish([*results, Result("roll-out", error=said)])
