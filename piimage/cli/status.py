"""`piimage status`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from piimage.cli.fleet import show_server
from piimage.cli.hosts import Query, finish, print_json, table
from piimage.cli.options import with_groups
from piimage.cli.output import say
from piimage.cli.ps import HEADINGS, duration, row, size, unset_lines
from piimage.deploy.answers import Service
from piimage.deploy.servers import is_server
from piimage.deploy.slots import State, place_of, shown
from piimage.deploy.status import Status
from piimage.deploy.text import printable

_UPDATES: Final = {
    "receiving": "the other slot is being written, or the writing was interrupted",
    "written": "it is in the other slot, and was not tried",
    "armed": "the next start tries it",
    "trying": "it is on trial",
    "kept": "it proved itself, and is kept",
    "undone": "undone",
}
"""The states of an update (docs/updates.md) in words."""
EXAMPLE = "Example: piimage status greenhouse.local"


@with_groups
def status(query: Query) -> None:
    """Show board, versions, temperature, memory, disk and services of Pis.

    With --inventory goosebit+https://HOST, or hawkbit+https://HOST, show what this update server
    knows of its devices (all, or some by name); ~/.netrc has the login.
    """
    if query.inventory is not None and is_server(query.inventory):
        show_server(query.inventory, query.host, as_json=query.json)
        return
    results = query.ask(lambda remote: remote.status())
    if query.json:
        print_json(results, lambda outcome: outcome[1])
    elif len(results) == 1 and results[0].outcome is not None:
        found = results[0].outcome[0]
        say("\n".join([*_page(found), *unset_lines(results[0].name, found.services)]))
    elif any(result.outcome for result in results):
        heads = ["HOST", "BOARD", "RUNS", "UP", "TEMP", "MEMORY FREE", "DATA FREE", "SERVICES"]
        rows = [[result.name, *_row(result.outcome[0])] for result in results if result.outcome]
        say(table([heads, *rows]))
    finish(results, as_json=query.json)


def _row(status: Status) -> list[str]:
    up = sum(map(_is_up, status.services))
    return [
        printable(status.board), printable(status.generation), duration(status.uptime),
        _degrees(status), size(status.memory[1]), size(status.data[1]),
        f"{up} of {len(status.services)} up",
    ]  # fmt: skip


def _is_up(service: Service) -> bool:
    if service.state == "scheduled":
        return not service.exit
    return service.health in ("healthy", "running")


def _update(system: State | None) -> dict[str, str]:
    """Return what a page shows of the slots and of the last update of the system."""
    if system is None or not system.update:
        return {}
    text = _UPDATES.get(system.update, system.update)
    note = f"{system.note}: " if system.note else ""
    cause = f": {system.cause}" if system.cause else ""
    return {"update": f"{note}{text}{cause}"}


def _slots(status: Status) -> dict[str, str]:
    """Return what a page shows of the slot that runs, of the other one, and of the next start."""
    system = status.system
    if system is None or not system.other:
        return {"slot": f"partition {status.slot}"}
    facts = {
        "slot": _version_in(system, system.booted),
        "other slot": _version_in(system, system.other),
    }
    if system.kept:
        facts["next start"] = place_of(system.kept)
    return facts


def _version_in(system: State, slot: str) -> str:
    version, place = system.versions.get(slot), place_of(slot)
    if version is None:
        return f"{place} (no version known)"
    if version.partial:
        return f"{place} (not written to its end; nothing starts from it)"
    return f"{place} ({version.name}, {shown(version.order)})"


def _degrees(status: Status) -> str:
    return "-" if status.temperature is None else f"{status.temperature:.1f} °C"


def _page(status: Status) -> Iterator[str]:
    power = "not reported by this kernel"
    if status.throttled is not None:
        power = ", ".join(f"{key} {value}" for key, value in status.throttled.items())
    facts = {
        "host": status.host,
        "model": status.model,
        "board": status.board,
        "kernel": status.kernel,
        "agent": status.agent,
        **_slots(status),
        **_update(status.system),
        "runs": status.generation + (f" ({status.note})" if status.note else ""),
        "up": duration(status.uptime),
        "temperature": _degrees(status),
        "power": power,
        "memory": f"{size(status.memory[1])} free of {size(status.memory[0])}",
        "data": f"{size(status.data[1])} free of {size(status.data[0])}",
    }
    for key, value in facts.items():
        yield f"{key + ':':13}{printable(value)}"
    yield ""
    yield table([HEADINGS, *(row(service) for service in status.services)])
