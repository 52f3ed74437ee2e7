"""What is asked of an engine, by a stand-in for one: its clock is not this computer's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

import docker

from piimage.deploy.docker_remote import DockerRemote
from piimage.deploy.docker_ssh import EngineHost
from piimage.deploy.hosts import Host
from piimage.deploy.remote import Extract
from piimage.deploy.ssh import Ssh
from piimage.run import Runner


class EngineOf2001:
    """An engine whose clock was never set, as far as it is asked."""

    def __init__(self) -> None:
        self.since: object = "not asked"

    @property
    def containers(self) -> EngineOf2001:
        return self

    def info(self) -> dict[str, str]:
        return {"SystemTime": "2001-02-03T04:05:06.123456789Z"}

    def list(self, **options: object) -> Sequence[EngineOf2001]:
        return [self]

    name = "web"

    def logs(self, *, since: object, until: object, **options: Any) -> list[bytes]:
        self.since, self.until = since, until
        return []


def test_a_span_of_a_log_counts_by_the_clock_of_the_engine() -> None:
    engine = EngineOf2001()
    host = EngineHost(Ssh(Runner()), Host("shed", "shed", engine="/run/docker.sock"))
    remote = DockerRemote(host, cast("docker.DockerClient", engine))
    remote.log("web", Extract(age=6, until=4), lambda data: None)
    expected = datetime(2001, 2, 3, 4, 5, 0, tzinfo=UTC).timestamp()
    assert (engine.since, engine.until) == (expected, expected + 2)
    remote.log("web", Extract(), lambda data: None)
    assert (engine.since, engine.until) == (None, None)
