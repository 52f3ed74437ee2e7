"""The versions in the two slots, for people: what the running one says, and what the journal knows.

The slot that does not run is not mounted, and not read. What is in it, the journal says: the update
before either wrote it, or started from it.
"""

from __future__ import annotations

from piimage_agent import places
from piimage_agent.journal import RECEIVING, UNDONE, Journal
from piimage_agent.order import Order, order_of
from piimage_agent.root import Root
from piimage_agent.status import manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PARTIAL = "partial"
"""What a slot has that was not written to its end."""


def line(order: Order, name: str) -> str:
    """Return a version as the journal has it."""
    return f"{order[0]} {order[1]} {name}"


def running(root: Root) -> str:
    """Return the version that runs; empty if its manifest cannot be read."""
    found = manifest(root)
    try:
        return line(order_of(found.get("order")), str(found["name"]))
    except (KeyError, ValueError):
        return ""


def of_slots(root: Root, now: Journal) -> dict[str, dict[str, Any]]:
    """Return the version of each slot of which one is known: its name and its place."""
    other = places.other(root)
    found = {places.booted(root): _parsed(running(root))}
    if other:
        found[other] = {PARTIAL: True} if _is_partial(now, other) else _parsed(_noted(now, other))
    return {slot: version for slot, version in found.items() if version}


def _noted(now: Journal, slot: str) -> str:
    if slot == now.target:
        return now.target_version
    return now.source_version if slot == now.source else ""


def _is_partial(now: Journal, slot: str) -> bool:
    """Return whether the last update began to write `slot`, and did not come to its end."""
    never_tried = now.state == UNDONE and not now.tries
    return slot == now.target and (now.state == RECEIVING or never_tried)


def _parsed(text: str) -> dict[str, Any]:
    number, _, rest = text.partition(" ")
    second, _, name = rest.partition(" ")
    if not (number.isdigit() and second.isdigit()):
        return {}
    return {"name": name, "order": [int(number), int(second)]}
