"""What services do before a system update: ``before_update`` of the containers that run.

A hook may refuse the update, or copy data that the new version will change. It runs in the
service's container, after the other slot was written and before anything stops.
"""

from __future__ import annotations

import json
import time

from piimage_agent import services
from piimage_agent.refusal import Refused
from piimage_agent.root import Root, read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_ALL_S = 600.0  # all hooks together; the tool waits a little longer
_RUNC = "usr/sbin/runc"
_STATE = "run/containerd/runc/services.linuxkit"


class Hook:
    """The command of a service, and the seconds that it may take."""

    def __init__(self, service: str, command: list[str], timeout: int) -> None:
        self.service = service
        self.command = command
        self.timeout = timeout


def _hooks(root: Root) -> Iterator[Hook]:
    folder = f"{root.run}/containers"
    for name in services.services_in(folder):
        text = read_text(f"{folder}/services/{name}/before_update")
        if text:
            yield _read(name, text)


def _read(service: str, text: str) -> Hook:
    """Return the hook of a service; one without a command if what was deployed is not readable."""
    try:
        found = json.loads(text)
        return Hook(service, [str(word) for word in found["command"]], int(found["timeout"]))
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError):
        return Hook(service, [], 0)


def names_with_hooks(root: Root) -> list[str]:
    """Return the services that have a hook."""
    return [hook.service for hook in _hooks(root)]


def run_hooks(root: Root) -> None:
    """Run the hooks one after another; raises Refused ``before-update`` if one fails.

    A service that is not up cannot run its hook, and refuses: it may be in the middle of a change
    of its data.
    """
    up = services.names_up(root)
    end = time.monotonic() + _ALL_S
    for hook in _hooks(root):
        if hook.service not in up:
            raise _refused(hook.service, "it is not up, so that it cannot prepare for it")
        if not hook.command:
            raise _refused(hook.service, "its before_update is not readable")
        _run(root, hook, min(hook.timeout, end - time.monotonic()))


def _run(root: Root, hook: Hook, seconds: float) -> None:
    words = ["runc", "--root", root.at(_STATE), "exec", hook.service, *hook.command]
    try:
        status, output = services.run(words, root.at(_RUNC), seconds)
    except OSError as error:  # it took too long, or runc could not be started
        raise _refused(hook.service, str(error)) from None
    if status != 0:
        raise _refused(hook.service, output[-500:] or f"its hook exited with code {status}")


def _refused(service: str, reason: str) -> Refused:
    return Refused(
        "before-update", f"{service} refuses the update: {reason}",
        "the Pi runs what it ran before; the new version is in the other slot",
    )  # fmt: skip
