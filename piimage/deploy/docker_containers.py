"""The containers of deploys in a Docker engine: their names, labels and life cycle.

A container has the name of its service. The container that it replaced is kept, stopped, as
NAME.previous. Containers without the label of deploys do not belong to piimage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import docker
from docker.errors import APIError, DockerException, NotFound

from piimage.deploy.text import printable
from piimage.errors import PiimageError

SETTINGS_LABEL: Final = "piimage.settings"
"""The digest of a container's settings."""
DEPLOY_LABEL: Final = "piimage.deploy"
"""The number of the deploy that created the container."""
NEXT: Final = ".next"
PREVIOUS: Final = ".previous"
_SET_ASIDE: Final = ".set-aside"
_SUFFIXES: Final = (NEXT, PREVIOUS, _SET_ASIDE)


@dataclass(frozen=True)
class Containers:
    """The containers of one engine; `host` names it in messages. All raise ``deploy.engine``."""

    client: docker.DockerClient
    host: str

    def find(self, name: str) -> Any:  # noqa: ANN401  # the SDK's containers have no types
        """Return the container of this name, whoever created it; None if there is none."""
        with self.asking():
            try:
                return self.client.containers.get(name)
            except NotFound:
                return None

    def discard(self, name: str) -> None:
        """Remove a container if it exists."""
        if (container := self.find(name)) is not None:
            with self.asking():
                container.remove(force=True)

    def all(self) -> dict[str, Any]:
        """Return piimage's containers by name."""
        with self.asking():
            containers = self.client.containers.list(all=True, filters={"label": SETTINGS_LABEL})
        return dict(sorted((str(container.name), container) for container in containers))

    def current(self) -> dict[str, Any]:
        """Return the containers that run the services, by the name of the service."""
        return {n: container for n, container in self.all().items() if not n.endswith(_SUFFIXES)}

    def newest(self) -> int:
        """Return the number of the last deploy; 0 if there is none."""
        return max(map(deploy_number, self.all().values()), default=0)

    def last_deploy(self) -> list[tuple[str, Any, Any]]:
        """Return the services that the last deploy changed, with current and previous container.

        One of the two has the number of that deploy: a rollback swaps them, and a second rollback
        swaps them back. A service that the deploy added has no previous container. The list is
        empty if there is no earlier deploy.
        """
        containers = self.all()
        numbers = {deploy_number(container) for container in containers.values()}
        if len(numbers) < 2:
            return []
        services = sorted({service_of(name) for name in containers})
        pairs = ((name, containers.get(name), containers.get(name + PREVIOUS)) for name in services)
        newest = max(numbers)
        return [pair for pair in pairs if newest in {deploy_number(o) for o in pair[1:] if o}]

    def swap(self, service: str) -> None:
        """Stop the current container and start the previous one in its place."""
        current, previous = self.find(service), self.find(service + PREVIOUS)
        with self.asking():
            if current is not None:
                current.stop()
                current.rename(service + _SET_ASIDE)
            if previous is not None:
                previous.rename(service)
            if current is not None:
                current.rename(service + PREVIOUS)
            if previous is not None:
                previous.start()

    def mend(self, service: str) -> None:
        """Repair the containers of a service after an interrupted deploy or rollback.

        A missing current container alone does not show an interruption: a rollback also removes the
        container of a service that the last deploy added.
        """
        aside, started = self.find(service + _SET_ASIDE), self.find(service + NEXT)
        with self.asking():
            if aside is not None:
                aside.rename(service if self.find(service) is None else service + PREVIOUS)
            if started is not None and self.find(service) is None:
                self._restore(service)
        self.discard(service + NEXT)

    def _restore(self, service: str) -> None:
        if (old := self.find(service + PREVIOUS)) is not None:
            old.rename(service)
            old.start()

    def asking(self) -> Asking:
        """Return a context that turns the engine's errors into ``deploy.engine``."""
        return Asking(self.host)


def deploy_number(container: Any) -> int:  # noqa: ANN401  # the SDK's containers have no types
    """Return the number of the deploy that created a container; 0 if it has no number."""
    text = str(container.labels.get(DEPLOY_LABEL, ""))
    return int(text) if text.isascii() and text.isdigit() else 0


def service_of(name: str) -> str:
    """Return the service of one of piimage's containers."""
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name


@dataclass(frozen=True)
class Asking:
    """Turns the SDK's exceptions into ``deploy.engine``."""

    host: str

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Raise ``deploy.engine`` with the message of the engine."""
        if isinstance(error, APIError | DockerException):
            reason = getattr(error, "explanation", None) or str(error)
            raise PiimageError(
                "deploy.engine",
                f"the Docker engine refused the request: {printable(str(reason))}",
                place=self.host,
                hint="see the log of the engine on the host: journalctl -u docker",
            ) from error
