"""A Docker engine as the target of a deploy."""

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
    """The engine of `host`, to which `workloads` are deployed; `store` has their blobs."""

    host: EngineHost
    workloads: tuple[Workload, ...]
    store: Store

    @property
    def name(self) -> str:
        """The user's name for the machine."""
        return self.host.name

    def plan(self) -> Plan:
        """Return what `deploy` would do; raises the errors of `DockerServices.deploy`."""
        with self.host.client() as client:
            pending = DockerServices(self.name, client, self.host, self.store).pending(
                self.workloads
            )
        layers = {blob for service in pending for blob in service.layers}
        return Plan(
            sum(blob.size for blob in layers),
            len(layers),
            restart=tuple(entry.service for entry in pending if entry.restarts),
            start=tuple(entry.service for entry in pending if not entry.restarts),
        )

    def deploy(self, tell: Tell) -> Outcome:
        """Update each service; roll back the one that fails."""

        def listen(event: Event) -> None:
            if isinstance(event, Note):
                tell(event.text)

        start = time.monotonic()
        with self.host.client() as client:
            services = DockerServices(self.name, client, self.host, self.store, listen)
            changes = [change for change in services.deploy(self.workloads) if change.started]
        return Outcome(
            tuple(change.service for change in changes),
            sum(change.sent for change in changes),
            0,
            time.monotonic() - start,
            sum(change.seconds for change in changes),
        )
