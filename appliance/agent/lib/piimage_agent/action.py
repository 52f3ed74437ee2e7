"""What a Pi remembers of the last action of its update server, under /data: how far it came.

It is written when a try begins, when the action has ended, and when the server knows that. So a Pi
that only polls writes nothing to its card, and a lost report is sent again after a restart.
"""

from __future__ import annotations

import json

from piimage_agent import generations, journal
from piimage_agent.install import slot_version
from piimage_agent.root import Root, make_folders, read_text, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TRYING, SUCCESS, FAILURE = "trying", "success", "failure"
_KEYS = (
    "action", "version", "state", "recipe", "cause", "reported", "attributes", "containers",
    "containers_version", "confirm", "answered",
)  # fmt: skip


class Action:
    """The last action.

    `action`: its number on the server. `version`: of the bundle. `state`: ``trying``, ``success``,
    ``failure``, or empty if there was none. `recipe`: the SHA-256 of what is on trial. `cause`: why
    it failed. `reported`: ``yes`` once the server knows the end. `attributes`: a digest of what the
    server knows of this Pi. `containers`: the containers layer of the last bundle that replaced
    containers alone, with that bundle's version in `containers_version`. `confirm`: the setting
    that the server was told. `answered`: the last action that was answered, and how.
    """

    def __init__(self, values: dict[str, str]) -> None:
        self._values = {key: values.get(key, "") for key in _KEYS}

    def __getitem__(self, key: str) -> str:
        return self._values[key]

    def changed(self, **values: str) -> Action:
        """Return the action with other values."""
        return Action({**self._values, **values})

    def write(self, root: Root) -> None:
        """Make it durable, if it differs from what is there."""
        data = json.dumps(self._values).encode()
        if read_text(_path(root)).encode() != data:
            make_folders(f"{root.store}/updates")
            write_file(_path(root), data)

    @property
    def is_unreported(self) -> bool:
        """Whether the server does not know the end yet."""
        return self["state"] in (SUCCESS, FAILURE) and not self["reported"]


def _path(root: Root) -> str:
    return f"{root.store}/updates/action"


def load(root: Root) -> Action:
    """Return the last action; an empty one if there was none."""
    try:
        found: Any = json.loads(read_text(_path(root)) or "{}")
    except (ValueError, RecursionError):
        found = {}
    values = found.items() if isinstance(found, dict) else ()
    return Action({key: value for key, value in values if isinstance(value, str)})


def settled(root: Root, found: Action) -> Action:
    """Return the action after a look at the journal: a try may have ended meanwhile."""
    if found["state"] != TRYING:
        return found
    now = journal.load(root)
    if now.id != found["recipe"]:
        return found.changed(state=FAILURE, cause="another update took the place of this one")
    if now.state == journal.KEPT:
        return found.changed(state=SUCCESS, cause="")
    if now.is_trial:
        return found
    cause = now.cause or "the restart into the new version did not happen"
    return found.changed(state=FAILURE, cause=cause)


def running_version(root: Root, found: Action) -> str:
    """Return the version that runs, as the server compares it with those of bundles."""
    version, running = slot_version(root), generations.running(root)
    if running == generations.slot_containers(root):
        return version
    if running == found["containers"]:
        return found["containers_version"]
    return f"{version}.{running[:12]}"
