"""When a service without a health check counts as started: it has lived for a while.

One that waits for something after a second has started. One that still computes then, as Python
does while it imports modules on a small Pi, gets the whole time: it fails late, if it does. One
that has passed its rehearsal has lived for a second there.
"""

from __future__ import annotations

import time

from piimage_agent.root import Root, read_text

WHOLE_S = 3.0
LEAST_S = 1.0
LEAST_REHEARSED_S = 0.5
_SPAN_S = 0.5
_BUSY = 0.1
"""The share of a processor below which a service waits."""


class Settling:
    """The services of a change that have not settled yet."""

    def __init__(self, root: Root, names: list[str], rehearsed: list[str]) -> None:
        self.names = names
        self._root = root
        self._least = {name: LEAST_REHEARSED_S if name in rehearsed else LEAST_S for name in names}
        self._began = time.monotonic()
        self._seen = {name: (self._began, _used(root, name)) for name in names}

    def look(self) -> None:
        """Forget the services that have settled."""
        age = time.monotonic() - self._began
        if age >= WHOLE_S:
            self.names = []
        elif age >= _SPAN_S:
            self.names = [name for name in self.names if not self._waits(name, age)]

    def _waits(self, name: str, age: float) -> bool:
        """Return whether a service is old enough, and has used hardly any time in the last span."""
        now = time.monotonic()
        moment, before = self._seen[name]
        if now - moment < _SPAN_S:
            return False
        used = _used(self._root, name)
        self._seen[name] = (now, used)
        if used is None or before is None:
            return False
        return age >= self._least[name] and used - before < _BUSY * (now - moment)


def _used(root: Root, name: str) -> float | None:
    """Return the processor seconds of a service's control group; None if nobody counts them."""
    text = read_text(root.at(f"sys/fs/cgroup/piimage/services/{name}/cpu.stat"))
    rows = dict(row.split(maxsplit=1) for row in text.splitlines() if " " in row)
    return int(rows["usage_usec"]) / 1e6 if rows.get("usage_usec", "").isdigit() else None
