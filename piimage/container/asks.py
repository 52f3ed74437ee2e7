"""The rights that an image's label requests beyond those of every container.

An image may set how its program is started, but not what that program may do to the Pi. Each
setting that is not known to be harmless counts as a request, so that a new field needs consent by
default.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from piimage.config.container import PROFILE_WORDS, ContainerConfig, linuxkit_defaults, merge
from piimage.container.spec import MASKED, READ_ONLY
from piimage.errors import InputError

_PLAIN: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_SHARED: Final = ("host", "root", "new", "none")

_Judge = Callable[[Any], bool]


def _always(_: Any) -> bool:  # noqa: ANN401  # a field may have any type
    return True


# The fields that an image may set without consent, and the values that it may give them. They
# affect the container only, take a right away, or repeat a default.
_HARMLESS: Final[Mapping[str, _Judge]] = {
    **dict.fromkeys(
        ("additionalGids", "after", "command", "cwd", "env", "gid", "health", "hostname", "log",
         "readonly", "required", "restart", "schedule", "stop_timeout", "system", "timeout",
         "tmpfs", "uid", "user"),
        _always,
    ),
    **dict.fromkeys(("net", "ipc", "uts", "cgroupns"), lambda value: value in _SHARED),
    "pid": lambda value: value == "new",
    "seccomp": lambda value: value == "default",
    "apparmor": lambda value: value == "default",
    "noNewPrivileges": lambda value: value is True,
    "control": lambda value: value is False,
    "oomScoreAdj": lambda value: value >= 0,
    "maskedPaths": lambda value: {*value} >= {*MASKED},
    "readonlyPaths": lambda value: {*value} >= {*READ_ONLY},
    **dict.fromkeys(
        (f"resources.{name}"
         for name in ("memory", "cpu", "pids", "blockio", "hugepageLimits", "network")),
        _always,
    ),
}  # fmt: skip
_IN_PARTS: Final = ("resources", "runtime")
# Lists that are requested as a whole: a shorter one can request more.
_WHOLE: Final = ("maskedPaths", "readonlyPaths", "resources.devices")


def asks(label: ContainerConfig, entry: ContainerConfig) -> tuple[str, ...]:
    """Return the rights that a container gets by the `label` of its image, as ``KEY: VALUE``.

    Settings that the `entry` in the file has as well, or overrides, are not the label's. Raises
    InputError ``oci.label-path`` if the label names a file of the build host.
    """
    for key in ("seccomp", "apparmor"):
        file = getattr(label, key)
        if getattr(entry, key) is None and file not in PROFILE_WORDS:
            raise InputError(
                "oci.label-path",
                f"the image's label names a file of this computer: {key}: {shown(file)}",
                hint=f"set {key}: in the entry to default, unconfined, or your own profile",
            )
    own = {*_requests(merge(linuxkit_defaults(), entry))}
    both = _requests(merge(linuxkit_defaults(), label, entry))
    return tuple(dict.fromkeys(request for request in both if request not in own))


def _requests(config: ContainerConfig) -> Iterator[str]:
    """Yield the settings of `config` that are not harmless, one for each item of a list."""
    fields = config.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    for key, value in fields.items():
        parts = {f"{key}.{name}": part for name, part in value.items()} if key in _IN_PARTS else {}
        for name, part in (parts or {key: value}).items():
            if not _HARMLESS.get(name, _is_empty)(part):
                yield from (f"{name}: {shown(item)}" for item in _items(name, part))


def _is_empty(value: object) -> bool:
    return value in ([], {}, None)


def _items(name: str, value: Any) -> list[Any]:  # noqa: ANN401  # JSON
    if name in _WHOLE or not isinstance(value, list | dict):
        return [value]
    return [f"{key}={item}" for key, item in value.items()] if isinstance(value, dict) else value


def shown(value: object) -> str:
    """Return `value` as one line without control characters."""
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    return json.dumps(value, sort_keys=True)
