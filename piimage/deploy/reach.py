"""Connects to a host, through its agent or its Docker engine."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from piimage.deploy.agent_remote import AgentRemote
from piimage.deploy.hosts import Host
from piimage.deploy.link import linked
from piimage.deploy.remote import Remote
from piimage.deploy.ssh import Ssh


@contextlib.contextmanager
def reached(ssh: Ssh, host: Host, cancelled: threading.Event) -> Iterator[Remote]:
    """Connect to a host and yield its services; raises the errors of `linked` and `EngineHost`."""
    if host.engine is None:
        with linked(ssh, host, cancelled) as link:
            yield AgentRemote(link, ssh, cancelled)
        return
    # The engine's SDK is slow to import and rarely needed.
    from piimage.deploy.docker_remote import DockerRemote  # noqa: PLC0415
    from piimage.deploy.docker_ssh import EngineHost  # noqa: PLC0415

    engine = EngineHost(ssh, host)
    with engine.client() as client:
        yield DockerRemote(engine, client)
