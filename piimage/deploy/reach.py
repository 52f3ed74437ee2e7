"""Reaches a host in the way in which its services are kept running."""

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
    """Reach a host, by its agent or its Docker engine; errors as `linked` and `EngineHost`."""
    if host.engine is None:
        with linked(ssh, host, cancelled) as link:
            yield AgentRemote(link, ssh, cancelled)
        return
    # The engine's SDK is dear to import, and seldom wanted.
    from piimage.deploy.docker_remote import DockerRemote  # noqa: PLC0415
    from piimage.deploy.docker_ssh import EngineHost  # noqa: PLC0415

    engine = EngineHost(ssh, host)
    with engine.client() as client:
        yield DockerRemote(engine, client)
