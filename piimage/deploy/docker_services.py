"""Deploys services to a Docker engine, with the same images, limits and health checks.

The old container is kept, stopped, as NAME.previous until the next deploy; a rollback starts it
again. A deploy interrupts a service for one restart.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Protocol

import docker

from piimage import events
from piimage.config.container import Health
from piimage.container.mounts import shares
from piimage.container.seccomp import ARCHITECTURES
from piimage.deploy.docker_containers import (
    DEPLOY_LABEL,
    NEXT,
    PREVIOUS,
    SETTINGS_LABEL,
    Containers,
)
from piimage.deploy.docker_images import Engine, image_name
from piimage.deploy.docker_kind import EngineKind, ask_kind
from piimage.deploy.docker_settings import create_body, seccomp_profile, unsupported
from piimage.deploy.text import printable
from piimage.deploy.workloads import Workload
from piimage.errors import PiimageError, raise_all
from piimage.store import Blob, Store

_SETTLE: Final = 3.0  # seconds for which a service without a health check has to run
_GRACE: Final = 10.0  # seconds of tolerance beside the times of the health check
_TAIL: Final = 12
_APART: Final = (
    "the engine is a user's own (rootless): its containers reach the network, but what they listen "
    "on is not reached from outside"
)


class FarSide(Protocol):
    """The machine of the engine, for requests that do not go through the engine."""

    def device_group(self, path: str) -> int | None:
        """Return the group that owns a device node; None if there is no such node."""
        ...

    def answers(self, health: Health, within: int | None = None) -> bool:
        """Try an http or tcp health check from the machine, or in the network of a process."""
        ...

    def profile_path(self, profile: str) -> str:
        """Return where the machine keeps the seccomp profile `profile`."""
        ...

    def keep_profile(self, profile: str) -> None:
        """Write the seccomp profile `profile` there."""
        ...


@dataclass(frozen=True)
class Change:
    """The result for a service: whether it was restarted, the bytes sent, and the seconds."""

    service: str
    started: bool
    sent: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Pending:
    """A service that a deploy would start: the layers to send, and whether it exists already."""

    service: str
    layers: tuple[Blob, ...]
    restarts: bool


@dataclass(frozen=True)
class DockerServices:
    """One engine; `host` names it in messages."""

    host: str
    client: docker.DockerClient
    far_side: FarSide
    store: Store
    emit: events.Listener = events.ignore
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    @property
    def _containers(self) -> Containers:
        return Containers(self.client, self.host)

    def pending(self, workloads: tuple[Workload, ...]) -> tuple[Pending, ...]:
        """Return what a deploy would do; change nothing."""
        self._check(workloads)
        engine = Engine(self.client, self.store)
        chains = engine.chains()
        changed = [
            workload for workload in workloads if self._changed(workload, self._body(workload))
        ]
        return tuple(
            Pending(
                workload.name,
                engine.missing(workload.image, chains),
                self._containers.find(workload.name) is not None,
            )
            for workload in changed
        )

    def deploy(self, workloads: tuple[Workload, ...]) -> Iterator[Change]:
        """Update the services one after another.

        Raises PiimageError ``deploy.rolled-back`` if a new container does not become healthy (the
        old one then runs again), ``deploy.foreign-container`` if piimage did not create a container
        of that name.
        """
        self._check(workloads)
        if self._kind.has_own_network and any(shares(w.config.net, "host") for w in workloads):
            self.emit(events.Note(f"{self.host}: {_APART}"))
        number = self._containers.newest() + 1
        for workload in workloads:
            yield self._deploy(workload, number)

    # --- one service

    def _deploy(self, workload: Workload, number: int) -> Change:
        body, start = self._body(workload), self.clock()
        self._containers.mend(workload.name)
        if not self._changed(workload, body):
            return Change(workload.name, started=False)
        with self._containers.asking():
            sent = Engine(self.client, self.store).load(workload.image, body["Image"])
            self._keep_profile(workload)
            labels = {**body["Labels"], DEPLOY_LABEL: str(number)}
            self._switch(workload, {**body, "Labels": labels})
        self._remove_old_images(workload)
        return Change(workload.name, True, sent, self.clock() - start)

    def _switch(self, workload: Workload, body: Mapping[str, Any]) -> None:
        name = workload.name
        # Created before the old one is stopped, so that a refusal of the engine interrupts nothing.
        new = self.client.api.create_container_from_config(  # type: ignore[no-untyped-call]  # SDK
            dict(body), name + NEXT, platform="linux/arm64"
        )["Id"]
        old = self._containers.find(name)
        self._containers.discard(name + PREVIOUS)
        try:
            if old is not None:
                old.stop()
                old.rename(name + PREVIOUS)
            self.client.api.rename(new, name)
            self.client.api.start(new)
            self._wait(workload)
        except BaseException as error:
            self._roll_back(name, error)
            raise

    def _roll_back(self, name: str, error: BaseException) -> None:
        self._containers.discard(name + NEXT)
        old = self._containers.find(name + PREVIOUS)
        if old is not None:
            self._containers.discard(name)
            old.rename(name)
            old.start()
            self.emit(
                events.Note(f"{self.host}: rolled {name} back to its previous version ({error})")
            )

    def _wait(self, workload: Workload) -> None:
        """Wait until the new container is healthy; raise ``deploy.rolled-back`` if it fails."""
        health, start = workload.config.health, self.clock()
        allowed = _GRACE + (health.start + health.retries * health.every if health else _SETTLE)
        while self.clock() - start < allowed:
            state = self.client.api.inspect_container(workload.name)
            if not state["State"]["Running"]:
                raise self._failed(workload, f"exited with code {state['State']['ExitCode']}")
            if state["RestartCount"]:
                raise self._failed(workload, "exited and was restarted")
            if self._healthy(workload, state["State"], self.clock() - start):
                return
            self.sleep(0.5)
        raise self._failed(workload, f"was not healthy within {allowed:.0f} s")

    def _healthy(self, workload: Workload, state: Mapping[str, Any], age: float) -> bool:
        health = workload.config.health
        if health is None:
            return age >= _SETTLE
        if health.command is not None:
            return bool((state.get("Health") or {}).get("Status") == "healthy")
        within = int(state["Pid"]) if self._kind.has_own_network else None
        return self.far_side.answers(health, within)

    def _keep_profile(self, workload: Workload) -> None:
        """Write the profile of `workload` to the machine, if the engine reads it from a file."""
        profile = seccomp_profile(workload, self._architecture)
        if profile is not None and self._kind.reads_profiles:
            self.far_side.keep_profile(profile)

    def _failed(self, workload: Workload, reason: str) -> PiimageError:
        output = self.client.api.logs(workload.name, tail=_TAIL).decode(errors="replace")
        lines = [printable(line) for line in output.splitlines()]
        return PiimageError(
            "deploy.rolled-back",
            "\n  ".join([f"{workload.name} {reason}; its output:", *(lines or ["(none)"])]),
            place=self.host,
            hint="the previous version runs, if there is one; correct the service and deploy again",
        )

    # --- the present state

    def _check(self, workloads: tuple[Workload, ...]) -> None:
        raise_all(error for workload in workloads for error in unsupported(workload))
        raise_all(error for workload in workloads for error in self._foreign(workload))

    def _foreign(self, workload: Workload) -> Iterator[PiimageError]:
        container = self._containers.find(workload.name)
        if container is not None and SETTINGS_LABEL not in container.labels:
            yield PiimageError(
                "deploy.foreign-container",
                f"a container {workload.name} exists that piimage did not create",
                place=self.host,
                hint="rename the service, or remove that container yourself",
            )

    def _body(self, workload: Workload) -> dict[str, Any]:
        devices = workload.config.devices or ()
        owners = (self.far_side.device_group(device.path) for device in devices)
        groups = sorted({group for group in owners if group})
        profile = seccomp_profile(workload, self._architecture)
        if profile is not None and self._kind.reads_profiles:
            profile = self.far_side.profile_path(profile)
        image = image_name(workload.name, workload.image)
        body = create_body(workload, image, groups, profile)
        text = json.dumps(body, sort_keys=True).encode()
        return body | {"Labels": {SETTINGS_LABEL: hashlib.sha256(text).hexdigest()}}

    @cached_property
    def _kind(self) -> EngineKind:
        with self._containers.asking():
            return ask_kind(self.client)

    @property
    def _architecture(self) -> str:
        """The engine's architecture, whose system calls seccomp filters."""
        machine = self._kind.machine
        name = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
        if name not in ARCHITECTURES:
            raise PiimageError(
                "deploy.engine-architecture",
                f"the engine runs on {printable(machine)}, but the containers are for arm64",
                place=self.host,
                hint="install a 64-bit system on that Pi (arm64)",
            )
        return name

    def _changed(self, workload: Workload, body: Mapping[str, Any]) -> bool:
        container = self._containers.find(workload.name)
        if container is None or container.status != "running":
            return True
        return bool(container.labels.get(SETTINGS_LABEL) != body["Labels"][SETTINGS_LABEL])

    def _remove_old_images(self, workload: Workload) -> None:
        """Remove the service's images that neither it nor its previous container uses."""
        name, _, _ = image_name(workload.name, workload.image).rpartition(":")
        kept = {container.attrs["Image"] for container in self.client.containers.list(all=True)}
        for image in self.client.images.list(name):
            if image.id and image.id not in kept:
                self.client.images.remove(image.id, force=True)
