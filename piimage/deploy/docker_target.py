"""A Pi with Docker as a target of a roll-out."""

from __future__ import annotations

import time
from dataclasses import dataclass

from piimage.deploy.docker_services import DockerServices
from piimage.deploy.docker_ssh import EngineHost
from piimage.deploy.target import Outcome, Plan, Tell
from piimage.deploy.workloads import Workload
from piimage.events import Event, Note
from piimage.store import Store


@dataclass(frozen=True)
class DockerTarget:
    """The engine of `host`, which is to run `workloads`; `store` has their blobs."""

    host: EngineHost
    workloads: tuple[Workload, ...]
    store: Store

    @property
    def name(self) -> str:
        """What the user calls the machine."""
        return self.host.name

    def plan(self) -> Plan:
        """Return what `deploy` would do; errors as `DockerServices.deploy`'s, before anything."""
        with self.host.client() as client:
            pending = DockerServices(self.name, client, self.host, self.store).pending(
                self.workloads
            )
        layers = {blob for one in pending for blob in one.layers}
        return Plan(
            sum(blob.size for blob in layers),
            len(layers),
            restart=tuple(one.service for one in pending if one.restarts),
            start=tuple(one.service for one in pending if not one.restarts),
        )

    def deploy(self, tell: Tell) -> Outcome:
        """Bring each service up to date, or back to what it was."""

        def listen(event: Event) -> None:
            if isinstance(event, Note):
                tell(event.text)

        began = time.monotonic()
        with self.host.client() as client:
            services = DockerServices(self.name, client, self.host, self.store, listen)
            changes = [one for one in services.deploy(self.workloads) if one.started]
        return Outcome(
            tuple(one.service for one in changes),
            sum(one.sent for one in changes),
            0,
            time.monotonic() - began,
            sum(one.seconds for one in changes),
        )
