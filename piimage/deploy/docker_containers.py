"""The containers that deploys left with a Docker engine: their names, labels and life.

A service's container has the service's name; the one that it replaced is kept beside it, stopped,
as NAME.previous. Containers without the label of deploys are somebody else's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import docker
from docker.errors import APIError, DockerException, NotFound

from piimage.deploy.text import printable
from piimage.errors import PiimageError

SETTINGS_LABEL: Final = "piimage.settings"
"""The digest of what a container was made with."""
DEPLOY_LABEL: Final = "piimage.deploy"
"""The number of the deploy that made it."""
NEXT: Final = ".next"
PREVIOUS: Final = ".previous"
_SET_ASIDE: Final = ".set-aside"
_SUFFIXES: Final = (NEXT, PREVIOUS, _SET_ASIDE)


@dataclass(frozen=True)
class Containers:
    """Those of one engine; `host` names it in messages. All methods raise ``deploy.engine``."""

    client: docker.DockerClient
    host: str

    def find(self, name: str) -> Any:  # noqa: ANN401  # the SDK's containers have no types
        """Return the container of this name, ours or not; None if there is none."""
        with self.asking():
            try:
                return self.client.containers.get(name)
            except NotFound:
                return None

    def discard(self, name: str) -> None:
        """Remove a container, if it is there."""
        if (found := self.find(name)) is not None:
            with self.asking():
                found.remove(force=True)

    def all(self) -> dict[str, Any]:
        """Return ours by name."""
        with self.asking():
            found = self.client.containers.list(all=True, filters={"label": SETTINGS_LABEL})
        return {str(one.name): one for one in sorted(found, key=lambda one: str(one.name))}

    def current(self) -> dict[str, Any]:
        """Return those that run the services, by the services' names."""
        return {k: one for k, one in self.all().items() if not k.endswith(_SUFFIXES)}

    def newest(self) -> int:
        """Return the number of the last deploy; 0 if there was none."""
        return max(map(deploy_number, self.all().values()), default=0)

    def last_deploy(self) -> list[tuple[str, Any, Any]]:
        """Return what the last deploy changed: services, their current and previous containers.

        One of the two carries its number: a rollback swaps them, and a second one swaps them back.
        A service that it brought has no previous one. Empty if there is nothing before it.
        """
        found = self.all()
        numbers = {deploy_number(one) for one in found.values()}
        if len(numbers) < 2:
            return []
        services = sorted({service_of(name) for name in found})
        pairs = ((name, found.get(name), found.get(name + PREVIOUS)) for name in services)
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
        """Finish what a deploy or rollback that was cut off left.

        A service without a current container is only taken for that beside what such a one leaves:
        a rollback ends so for what the last deploy brought.
        """
        aside, begun = self.find(service + _SET_ASIDE), self.find(service + NEXT)
        with self.asking():
            if aside is not None:
                aside.rename(service if self.find(service) is None else service + PREVIOUS)
            if begun is not None and self.find(service) is None:
                self._take_back(service)
        self.discard(service + NEXT)

    def _take_back(self, service: str) -> None:
        if (old := self.find(service + PREVIOUS)) is not None:
            old.rename(service)
            old.start()

    def asking(self) -> Asking:
        """Give a context in which the engine's refusals become errors of ours."""
        return Asking(self.host)


def deploy_number(container: Any) -> int:  # noqa: ANN401  # the SDK's containers have no types
    """Return the number of the deploy that made a container; 0 if it does not say."""
    text = str(container.labels.get(DEPLOY_LABEL, ""))
    return int(text) if text.isascii() and text.isdigit() else 0


def service_of(name: str) -> str:
    """Return the service that a container of ours belongs to."""
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
        """Raise the engine's own words as an error of ours."""
        if isinstance(error, APIError | DockerException):
            said = getattr(error, "explanation", None) or str(error)
            raise PiimageError(
                "deploy.engine",
                f"the Docker engine refused: {printable(str(said))}",
                place=self.host,
                hint="see its log there: journalctl -u docker",
            ) from error
