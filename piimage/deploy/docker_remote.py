"""The deployed services of a Docker engine, and the operations on them."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import docker

from piimage.deploy.answers import Service
from piimage.deploy.docker_containers import Containers, deploy_number, service_of
from piimage.deploy.docker_ssh import EngineHost
from piimage.deploy.remote import Extract, Return, Show, not_up
from piimage.deploy.status import Status, parse
from piimage.deploy.text import printable
from piimage.doctor.examine import Examination
from piimage.errors import InputError, PiimageError

_SETTLE_S: Final = 3.0  # for which a service has to run
_UP_S: Final = 120.0
_PAUSE_S: Final = 0.5
_STATES: Final = {"restarting": "back-off", "created": "stopped", "dead": "exited"}
# Facts of the kernel: a section for each fact, empty if its file is missing.
_FACTS: Final = """for fact in model uptime memory; do
  echo "== $fact"
  case $fact in
  model) tr -d '\\0' </proc/device-tree/model ;;
  uptime) head -n 1 /proc/uptime ;;
  memory) grep -E '^Mem(Total|Available):' /proc/meminfo ;;
  esac 2>/dev/null
  echo
done
echo "== temperature"; cat /sys/class/thermal/thermal_zone*/temp 2>/dev/null
echo "== data"; stat -f -c '%S %b %a' /var/lib/docker 2>/dev/null || stat -f -c '%S %b %a' /"""


@dataclass(frozen=True)
class DockerRemote:
    """A host with a Docker engine that runs the services."""

    host: EngineHost
    client: docker.DockerClient

    @property
    def name(self) -> str:
        """The user's name for the host."""
        return self.host.name

    def services(self) -> tuple[Service, ...]:
        """Return the state of each service."""
        with self._containers.asking():
            return tuple(self._row(container) for container in self._containers.current().values())

    def control(self, operation: str, service: str) -> Service:
        """Start, stop or restart a service, and wait until it is up."""
        with self._containers.asking():
            container = self._require(service)
            getattr(container, operation)()
            if operation != "stop":
                self._wait(container)
            return self._row(container)

    def log(self, service: str, extract: Extract, show: Show) -> None:
        """Show the log that the engine keeps."""
        with self._containers.asking():
            tail = "all" if extract.lines is None else extract.lines
            pieces = self._require(service).logs(
                stream=True,
                follow=extract.follow,
                tail=tail,
                since=self._before(extract.age),
                until=self._before(extract.until),
            )
            for piece in pieces:
                show(piece)

    def roll_back(self) -> Return:
        """Swap the containers of the last deploy with their predecessors.

        Raises PiimageError ``deploy.no-previous``.
        """
        containers = self._containers
        for name in {service_of(container) for container in containers.all()}:
            containers.mend(name)
        last = containers.last_deploy()
        if not last:
            raise PiimageError(
                "deploy.no-previous", "there is no earlier version", place=self.name,
                hint="deploy a file with the version that you want",
            )  # fmt: skip
        for name, _, _ in last:
            containers.swap(name)
        number = max(map(deploy_number, containers.current().values()), default=0)
        with containers.asking():
            for name, _, previous in last:
                if previous is not None:
                    self._wait(self._require(name))
        return Return(f"deploy {number}", tuple(name for name, _, _ in last))

    def roll_back_system(self) -> str:
        """Raise PiimageError ``deploy.cannot``: an engine's host has no slots."""
        raise PiimageError(
            "deploy.cannot", "only a Pi with piimage's system has slots", place=self.name,
            hint="piimage rollback without --system swaps the containers",
        )  # fmt: skip

    def status(self) -> tuple[Status, Mapping[str, Any]]:
        """Return the status, from the engine and its kernel."""
        with self._containers.asking():
            info, version = self.client.info(), self.client.version()
            numbers = list(map(deploy_number, self._containers.current().values()))
        facts = _sections(self.host.output_of(_FACTS))
        size, blocks, free = (int(word) for word in (facts["data"] or "0 0 0").split()[:3])
        memory = dict(re.findall(r"Mem(Total|Available): +(\d+)", facts["memory"]))
        document = {
            "host": str(info["Name"]),
            "model": facts["model"] or str(info["OperatingSystem"]),
            "board": "-",
            "kernel": str(info["KernelVersion"]),
            "agent": f"Docker {version['Version']}",
            "slot": {"partition": "-", "prefix": ""},
            "generation": {"id": f"deploy {max(numbers, default=0)}", "note": ""},
            "uptime": float((facts["uptime"] or "0").split()[0]),
            "temperature": max(map(_degrees, facts["temperature"].split()), default=None),
            "throttled": None,
            "memory": {
                "total": int(memory.get("Total", 0)) * 1024,
                "available": int(memory.get("Available", 0)) * 1024,
            },
            "data": {"total": size * blocks, "free": size * free},
            "services": [
                {**vars(service), "missing": [*service.missing]} for service in self.services()
            ],
        }
        return parse(document), document

    def examine(self, now: float) -> Examination:  # nobody is asked
        """Refuse: an engine knows containers and no hardware."""
        raise InputError(
            "doctor.no-agent", "a report needs piimage's agent, and this is a Docker engine",
            place=self.name, hint="boot a card of piimage's on that Pi",
        )  # fmt: skip

    @property
    def _containers(self) -> Containers:
        return Containers(self.client, self.name)

    def _require(self, service: str) -> Any:  # noqa: ANN401  # the SDK's containers have no types
        containers = self._containers.current()
        if service not in containers:
            raise PiimageError(
                "deploy.refused", f"the host has no service {printable(service)!r}",
                place=self.name, hint=f"its services: {', '.join(containers)}",
            )  # fmt: skip
        return containers[service]

    def _row(self, container: Any) -> Service:  # noqa: ANN401  # likewise
        container.reload()
        state = container.attrs["State"]
        up = bool(state["Running"]) and not state["Restarting"]
        health = _health(state)
        word = str(state["Status"])
        return Service(
            str(container.name),
            _STATES.get(word, word),
            (health or "running") if up else "",
            int(container.attrs["RestartCount"]),
            None if up else int(state["ExitCode"]),
            int(state["Pid"]) if up else None,
            self._seconds(str(state["StartedAt"])) if up else None,
            self._memory(container) if up else None,
        )

    def _seconds(self, started: str) -> float:
        """Return the age of a process by the engine's own clock."""
        return round(max(0.0, (self._now() - _moment(started)).total_seconds()), 1)

    def _now(self) -> datetime:
        """Return the time by the engine's clock."""
        return _moment(str(self.client.info()["SystemTime"]))

    def _before(self, age: int | None) -> float | None:
        """Return the time `age` seconds ago by the engine's clock."""
        return None if age is None else self._now().timestamp() - age

    def _memory(self, container: Any) -> int | None:  # noqa: ANN401  # likewise
        used = self.client.api.stats(container.id, stream=False, one_shot=True)["memory_stats"]
        return int(used["usage"]) if "usage" in used else None

    def _wait(self, container: Any) -> None:  # noqa: ANN401  # likewise
        """Wait until a container has lived for a while and, if the engine checks it, is healthy."""
        began = time.monotonic()
        while True:
            container.reload()
            state = container.attrs["State"]
            age = time.monotonic() - began
            health = _health(state)
            if not state["Running"] or state["Restarting"]:
                raise not_up(self.name, container.name, f"it exited with code {state['ExitCode']}")
            if health == "unhealthy" or age > _UP_S:
                raise not_up(self.name, container.name, "it is not healthy")
            if age >= _SETTLE_S and health in (None, "healthy"):
                return
            time.sleep(_PAUSE_S)


def _health(state: Mapping[str, Any]) -> str | None:
    """Return the result of the engine's own health check; None if the container has none.

    Podman has an empty word for that.
    """
    return (state.get("Health") or {}).get("Status") or None


def _moment(text: str) -> datetime:
    """Return a moment as engines write it (RFC 3339, with nanoseconds)."""
    return datetime.fromisoformat(re.sub(r"\.\d+", "", text).replace("Z", "+00:00"))


def _sections(text: str) -> dict[str, str]:
    """Return what `_FACTS` printed, by fact."""
    parts = re.split(r"^== (\w+)$", text, flags=re.MULTILINE)
    return {name: body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def _degrees(text: str) -> float:
    return int(text) / 1000
