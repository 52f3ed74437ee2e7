"""What an image's label asks for beyond what every container may have.

An image says for itself how its program is started; it does not say what that program may do to the
Pi. Whatever is not known to be harmless counts as asked for, so a new field is closed at first.
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


def _always(_: Any) -> bool:  # noqa: ANN401  # a judge takes whatever the field holds
    return True


# Fields that an image may set by itself, and with which values. What they say concerns the
# container alone, takes something away, or is what holds anyway.
_HARMLESS: Final[Mapping[str, _Judge]] = {
    **dict.fromkeys(
        ("additionalGids", "after", "command", "cwd", "env", "gid", "health", "hostname", "log",
         "readonly", "required", "restart", "stop_timeout", "system", "timeout", "tmpfs", "uid",
         "user"),
        _always,
    ),
    **dict.fromkeys(("net", "ipc", "uts"), lambda value: value in _SHARED),
    "pid": lambda value: value == "new",
    "seccomp": lambda value: value == "default",
    "noNewPrivileges": lambda value: value is True,
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
# Lists that mean something as a whole only: one that became shorter may ask for more.
_WHOLE: Final = ("maskedPaths", "readonlyPaths", "resources.devices")


def asks(label: ContainerConfig, entry: ContainerConfig) -> tuple[str, ...]:
    """Return what a container gets because the `label` of its image says so, as ``KEY: VALUE``.

    What the `entry` in the file says itself, or says otherwise, is not the label's. Raises
    InputError ``oci.label-path`` for a label that names a file of the build host.
    """
    if entry.seccomp is None and label.seccomp not in PROFILE_WORDS:
        raise InputError(
            "oci.label-path",
            f"the image's label names a file of this computer: seccomp: {shown(label.seccomp)}",
            hint="write seccomp: in the entry: default, unconfined, or a profile of your own",
        )
    own = {*_beyond(merge(linuxkit_defaults(), entry))}
    both = _beyond(merge(linuxkit_defaults(), label, entry))
    return tuple(dict.fromkeys(one for one in both if one not in own))


def _beyond(config: ContainerConfig) -> Iterator[str]:
    """Give all that `config` says and that is not harmless, an item of a list each."""
    said = config.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    for key, value in said.items():
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
    """Return `value` as one line without anything that a terminal would obey."""
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    return json.dumps(value, sort_keys=True)
