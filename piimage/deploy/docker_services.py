"""Services on any Pi that has Docker: the same images, limits and checks, through its engine.

The old container is kept, stopped, under NAME.previous until the next deploy: to go back is to
start it again. Between the two a service is away for one restart.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import docker

from piimage import events
from piimage.config.container import Health
from piimage.container.seccomp import ARCHITECTURES
from piimage.deploy.docker_containers import (
    DEPLOY_LABEL,
    NEXT,
    PREVIOUS,
    SETTINGS_LABEL,
    Containers,
)
from piimage.deploy.docker_images import Engine, image_name
from piimage.deploy.docker_settings import cannot, create_body
from piimage.deploy.text import printable
from piimage.deploy.workloads import Workload
from piimage.errors import PiimageError, raise_all
from piimage.store import Blob, Store

_SETTLE: Final = 3.0  # seconds that a service without a health check has to live
_GRACE: Final = 10.0  # seconds for what neither the program nor its checks account for
_TAIL: Final = 12


class FarSide(Protocol):
    """The machine of the engine, as far as it is not reached through the engine."""

    def device_group(self, path: str) -> int | None:
        """Return the group that owns a device node; None when it is not there."""
        ...

    def answers(self, health: Health) -> bool:
        """Try an http or tcp health check from there."""
        ...


@dataclass(frozen=True)
class Change:
    """What became of a service: whether it was started anew, and what that took."""

    service: str
    started: bool
    sent: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Pending:
    """A service that a deploy would start anew: the layers to send, and whether it is there now."""

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
        """Return what a deploy would do; nothing is changed."""
        self._check(workloads)
        engine = Engine(self.client, self.store)
        chains = engine.chains()
        changed = [one for one in workloads if self._changed(one, self._body(one))]
        return tuple(
            Pending(
                one.name,
                engine.missing(one.image, chains),
                self._containers.find(one.name) is not None,
            )
            for one in changed
        )

    def deploy(self, workloads: tuple[Workload, ...]) -> Iterator[Change]:
        """Bring each service up to date, one after another.

        Raises PiimageError ``deploy.rolled-back`` when a new container did not become healthy: the
        old one runs again then; ``deploy.foreign-container`` when the name is somebody else's.
        """
        self._check(workloads)
        number = self._containers.newest() + 1
        for workload in workloads:
            yield self._deploy(workload, number)

    # --- one service

    def _deploy(self, workload: Workload, number: int) -> Change:
        body, began = self._body(workload), self.clock()
        self._containers.mend(workload.name)
        if not self._changed(workload, body):
            return Change(workload.name, started=False)
        with self._containers.asking():
            sent = Engine(self.client, self.store).load(workload.image, body["Image"])
            labels = {**body["Labels"], DEPLOY_LABEL: str(number)}
            self._switch(workload, {**body, "Labels": labels})
        self._remove_old_images(workload)
        return Change(workload.name, True, sent, self.clock() - began)

    def _switch(self, workload: Workload, body: Mapping[str, Any]) -> None:
        name = workload.name
        # Made before the old one is stopped: what the engine refuses costs no service a second.
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
            self._go_back(name, error)
            raise

    def _go_back(self, name: str, error: BaseException) -> None:
        self._containers.discard(name + NEXT)
        old = self._containers.find(name + PREVIOUS)
        if old is not None:
            self._containers.discard(name)
            old.rename(name)
            old.start()
            self.emit(events.Note(f"{self.host}: {name} runs its earlier version again ({error})"))

    def _wait(self, workload: Workload) -> None:
        """Return when the new container is healthy; raise ``deploy.rolled-back`` when it is not."""
        health, began = workload.config.health, self.clock()
        allowed = _GRACE + (health.start + health.retries * health.every if health else _SETTLE)
        while self.clock() - began < allowed:
            state = self.client.api.inspect_container(workload.name)
            if not state["State"]["Running"]:
                raise self._failed(workload, f"exited with code {state['State']['ExitCode']}")
            if state["RestartCount"]:
                raise self._failed(workload, "ended and was started again")
            if self._healthy(health, state["State"], self.clock() - began):
                return
            self.sleep(0.5)
        raise self._failed(workload, f"was not healthy within {allowed:.0f} s")

    def _healthy(self, health: Health | None, state: Mapping[str, Any], age: float) -> bool:
        if health is None:
            return age >= _SETTLE
        if health.command is not None:
            return bool((state.get("Health") or {}).get("Status") == "healthy")
        return self.far_side.answers(health)

    def _failed(self, workload: Workload, how: str) -> PiimageError:
        said = self.client.api.logs(workload.name, tail=_TAIL).decode(errors="replace")
        lines = [printable(line) for line in said.splitlines()]
        return PiimageError(
            "deploy.rolled-back",
            "\n  ".join([f"{workload.name} {how}; it said:", *(lines or ["nothing"])]),
            place=self.host,
            hint="the version before it runs, if there was one; mend the service and deploy again",
        )

    # --- what is there

    def _check(self, workloads: tuple[Workload, ...]) -> None:
        raise_all(error for one in workloads for error in cannot(one))
        raise_all(error for one in workloads for error in self._foreign(one))

    def _foreign(self, workload: Workload) -> Iterator[PiimageError]:
        found = self._containers.find(workload.name)
        if found is not None and SETTINGS_LABEL not in found.labels:
            yield PiimageError(
                "deploy.foreign-container",
                f"there is a container {workload.name} that piimage did not make",
                place=self.host,
                hint="rename the service, or remove that container yourself",
            )

    def _body(self, workload: Workload) -> dict[str, Any]:
        found = (self.far_side.device_group(one.path) for one in workload.config.devices or ())
        groups = sorted({one for one in found if one})
        body = create_body(
            workload, image_name(workload.name, workload.image), groups, self._architecture()
        )
        text = json.dumps(body, sort_keys=True).encode()
        return body | {"Labels": {SETTINGS_LABEL: hashlib.sha256(text).hexdigest()}}

    def _architecture(self) -> str:
        """Return the engine's own architecture: seccomp filters its system calls."""
        with self._containers.asking():
            said = str(self.client.info()["Architecture"])
        name = {"x86_64": "amd64", "aarch64": "arm64"}.get(said, said)
        if name not in ARCHITECTURES:
            raise PiimageError(
                "deploy.engine-architecture",
                f"the engine runs on {printable(said)}, and the containers are for arm64",
                place=self.host,
                hint="install a 64-bit system on that Pi (arm64)",
            )
        return name

    def _changed(self, workload: Workload, body: Mapping[str, Any]) -> bool:
        found = self._containers.find(workload.name)
        same = (
            found is not None and found.labels.get(SETTINGS_LABEL) == body["Labels"][SETTINGS_LABEL]
        )
        return not same or found is None or found.status != "running"

    def _remove_old_images(self, workload: Workload) -> None:
        """Remove the service's images that neither it nor its previous container uses."""
        name, _, _ = image_name(workload.name, workload.image).rpartition(":")
        kept = {one.attrs["Image"] for one in self.client.containers.list(all=True)}
        for image in self.client.images.list(name):
            if image.id and image.id not in kept:
                self.client.images.remove(image.id, force=True)
