"""`piimage status`."""

from __future__ import annotations

from collections.abc import Iterator

from piimage.cli.hosts import (
    HostNames,
    InventoryFile,
    JsonOut,
    SshConfig,
    finish,
    fleet,
    print_json,
    table,
)
from piimage.cli.options import Verbose
from piimage.cli.output import listening, say
from piimage.cli.ps import HEADINGS, duration, row, size
from piimage.deploy.status import Status
from piimage.deploy.text import printable
from piimage.run import Runner

EXAMPLE = "Example: piimage status greenhouse.local"


def status(
    host: HostNames,
    inventory: InventoryFile = None,
    ssh_config: SshConfig = None,
    verbose: Verbose = False,
    json: JsonOut = False,
) -> None:
    """Show how Pis are: board, versions, temperature, memory, disk, services."""
    with listening(verbose=verbose, as_json=False) as emit:
        results = fleet([host], inventory, ssh_config, Runner(emit)).ask(
            lambda remote: remote.status()
        )
    if json:
        print_json(results, lambda found: found[1])
    elif len(results) == 1 and results[0].outcome is not None:
        say("\n".join(_page(results[0].outcome[0])))
    elif any(result.outcome for result in results):
        heads = ["HOST", "BOARD", "RUNS", "UP", "TEMP", "MEMORY FREE", "DATA FREE", "SERVICES"]
        rows = [[one.name, *_line(one.outcome[0])] for one in results if one.outcome]
        say(table([heads, *rows]))
    finish(results, as_json=json)


def _line(one: Status) -> list[str]:
    up = sum(service.health in ("healthy", "running") for service in one.services)
    return [
        printable(one.board), printable(one.generation), duration(one.uptime), _degrees(one),
        size(one.memory[1]), size(one.data[1]), f"{up} of {len(one.services)} up",
    ]  # fmt: skip


def _degrees(one: Status) -> str:
    return "-" if one.temperature is None else f"{one.temperature:.1f} °C"


def _page(one: Status) -> Iterator[str]:
    power = "not told by this kernel"
    if one.throttled is not None:
        power = ", ".join(f"{key} {value}" for key, value in one.throttled.items())
    facts = {
        "host": one.host,
        "model": one.model,
        "board": one.board,
        "kernel": one.kernel,
        "agent": one.agent,
        "slot": f"partition {one.slot}",
        "runs": one.generation + (f" ({one.note})" if one.note else ""),
        "up": duration(one.uptime),
        "temperature": _degrees(one),
        "power": power,
        "memory": f"{size(one.memory[1])} free of {size(one.memory[0])}",
        "data": f"{size(one.data[1])} free of {size(one.data[0])}",
    }
    for key, value in facts.items():
        yield f"{key + ':':13}{printable(value)}"
    yield ""
    yield table([HEADINGS, *(row(service) for service in one.services)])
