"""What a Compose service runs, in which order, and how it is checked.

Source: the Compose specification, "Services top-level elements".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from piimage.composefile.service import Service, Word, beside, nothing, simple
from piimage.composefile.values import (
    as_written,
    health_command,
    seconds,
    words,
)


def _build(value: Any, service: Service) -> None:  # noqa: ANN401
    build = value if isinstance(value, Mapping) else {"context": value}
    service.entry.pop("image", None)
    context = as_written(build.get("context", "."))
    if re.match(r"[a-z+]+://|git@", context):
        service.note(f"build: {context} is not fetched: name a folder that has a copy")
    service.entry["build"] = (
        context if service.folder is None else beside(service.folder / context, service)
    )
    for key in build:
        if key != "context" and not (key == "dockerfile" and build[key] == "Dockerfile"):
            service.note(f"build.{key}: a folder is built from its Dockerfile, as it is")


def _image(value: Any, service: Service) -> None:  # noqa: ANN401
    if "build" not in service.entry:
        service.entry["image"] = as_written(value)


def _command(value: Any, service: Service) -> None:  # noqa: ANN401
    service.entry["command"] = words(value)


def program(service: Service, entrypoint: object, command: object) -> None:
    """Carry over what runs: piimage's `command` is the whole of it."""
    if entrypoint is not None:
        service.entry["command"] = [*words(entrypoint), *(words(command) if command else ())]
    elif command is not None:
        service.entry["command"] = words(command)
        service.note(
            "command: replaces the image's ENTRYPOINT as well: write that before it, if it has one"
        )


def _restart(value: Any, service: Service) -> None:  # noqa: ANN401
    policy, _, count = as_written(value).partition(":")
    service.entry["restart"] = {"unless-stopped": "always", "false": "no"}.get(policy, policy)
    if count:
        service.note(f"restart: a service is tried again without end, not {count} times")


def _depends_on(value: Any, service: Service) -> None:  # noqa: ANN401
    service.more("after", *(str(name) for name in value))
    for name, how in value.items() if isinstance(value, Mapping) else ():
        if how and how.get("condition") == "service_completed_successfully":
            service.note(f"depends_on: {name} is not waited for until it ends; move it to onboot:")


def _healthcheck(value: Any, service: Service) -> None:  # noqa: ANN401
    test = value.get("test")
    if value.get("disable") or test in (["NONE"], "NONE", None):
        return
    health: dict[str, Any] = {"command": health_command(test)}
    every = max(1, seconds(value.get("interval", "30s")))
    timeout = max(1, seconds(value.get("timeout", "30s")))
    health |= {"every": f"{every}s", "timeout": f"{min(timeout, every)}s"}
    health["retries"] = value.get("retries", 3)
    health["start"] = f"{seconds(value.get('start_period', '0s'))}s"
    if timeout > every:
        service.note(f"healthcheck: a check gets {every} s, the time between two, not {timeout} s")
    service.entry["health"] = health


WORDS: Final[Mapping[str, Word]] = {
    "build": _build,
    "command": _command,
    "depends_on": _depends_on,
    "entrypoint": _command,
    "healthcheck": _healthcheck,
    "image": _image,
    "pull_policy": nothing,
    "restart": _restart,
    "stdin_open": nothing,
    "tty": nothing,
    "working_dir": simple("cwd", as_written),
}
"""The words that are carried over here."""
