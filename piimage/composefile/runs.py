"""Converts the program of a Compose service, its order and its health check.

Source: the Compose specification, "Services top-level elements".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from piimage.composefile.service import Converter, Service, beside, ignored, simple
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
        service.note(f"build: {context} is not fetched; name a folder that has a copy")
    service.entry["build"] = (
        context if service.folder is None else beside(service.folder / context, service)
    )
    for key in build:
        if key != "context" and not (key == "dockerfile" and build[key] == "Dockerfile"):
            service.note(f"build.{key}: ignored; a folder is built from its unchanged Dockerfile")


def _image(value: Any, service: Service) -> None:  # noqa: ANN401
    if "build" not in service.entry:
        service.entry["image"] = as_written(value)


def _command(value: Any, service: Service) -> None:  # noqa: ANN401
    service.entry["command"] = words(value)


def program(service: Service, entrypoint: object, command: object) -> None:
    """Convert the program: piimage's `command` is the whole command line."""
    if entrypoint is not None:
        service.entry["command"] = [*words(entrypoint), *(words(command) if command else ())]
    elif command is not None:
        service.entry["command"] = words(command)
        service.note(
            "command: also replaces the image's ENTRYPOINT; if the image has one, write it in front"
        )


def _restart(value: Any, service: Service) -> None:  # noqa: ANN401
    policy, _, count = as_written(value).partition(":")
    service.entry["restart"] = {"unless-stopped": "always", "false": "no"}.get(policy, policy)
    if count:
        service.note(f"restart: piimage restarts a service without limit, not {count} times")


def _depends_on(value: Any, service: Service) -> None:  # noqa: ANN401
    service.add("after", *(str(name) for name in value))
    for name, options in value.items() if isinstance(value, Mapping) else ():
        if options and options.get("condition") == "service_completed_successfully":
            service.note(f"depends_on: to wait until {name} has ended, move it to onboot:")


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
        service.note(f"healthcheck: the timeout is the interval of {every} s, not {timeout} s")
    service.entry["health"] = health


CONVERTERS: Final[Mapping[str, Converter]] = {
    "build": _build,
    "command": _command,
    "depends_on": _depends_on,
    "entrypoint": _command,
    "healthcheck": _healthcheck,
    "image": _image,
    "pull_policy": ignored,
    "restart": _restart,
    "stdin_open": ignored,
    "tty": ignored,
    "working_dir": simple("cwd", as_written),
}
"""The converters by key."""
